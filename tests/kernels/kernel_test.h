// What every kernel test needs: reproducible data in exactly sized arrays (so that the address sanitizer sees
// each overrun), stored matrices of every type, normalised errors, and a walk over every instruction set and
// several thread counts.
#pragma once

#include <QString>
#include <QTest>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu/instruction_set.h"
#include "kernels/tensor_view.h"
#include "kernels/thread_pool.h"
#include "tests/kernels/tolerances.h"

namespace eyrie::kernels::test {

inline std::size_t asSize(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

inline std::vector<float> randomVector(std::int64_t n, std::uint32_t seed, float scale = 1.0F) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0F, scale);
  std::vector<float> values(asSize(n));
  for (float& value : values) value = normal(engine);
  return values;
}

// An array whose first element lies `offset` floats past an aligned address.
class OffsetArray {
 public:
  OffsetArray(const std::vector<float>& values, std::int64_t offset)
      : storage_(values.size() + asSize(offset)) {
    offset_ = asSize(offset);
    std::copy(values.begin(), values.end(), storage_.begin() + offset);
  }
  float* data() { return storage_.data() + offset_; }
  std::vector<float> values() const {
    return {storage_.begin() + static_cast<std::ptrdiff_t>(offset_), storage_.end()};
  }

 private:
  std::vector<float> storage_;
  std::size_t offset_ = 0;
};

// A matrix in stored type with the f32 values it stands for; `offset` elements past an aligned address.
struct StoredMatrix {
  std::vector<unsigned char> bytes;
  std::vector<float> values;
  MatrixView view;
};

inline StoredMatrix storeMatrix(const std::vector<float>& source, std::int64_t rows, std::int64_t cols,
                                DType dtype, std::int64_t offset = 0) {
  StoredMatrix matrix;
  const std::size_t size = dtypeSize(dtype);
  matrix.bytes.resize((source.size() + asSize(offset)) * size);
  unsigned char* start = matrix.bytes.data() + asSize(offset) * size;
  for (std::size_t i = 0; i < source.size(); ++i) {
    const std::uint16_t half = dtype == DType::f16 ? floatToF16(source[i]) : floatToBf16(source[i]);
    const void* from = dtype == DType::f32 ? static_cast<const void*>(&source[i]) : &half;
    std::memcpy(start + i * size, from, size);
    matrix.values.push_back(loadAsFloat(start, dtype, i));
  }
  matrix.view = {start, dtype, rows, cols};
  return matrix;
}

inline StoredMatrix randomMatrix(std::int64_t rows, std::int64_t cols, DType dtype, std::uint32_t seed,
                                 std::int64_t offset = 0) {
  const auto scale =
      static_cast<float>(1.0 / std::sqrt(static_cast<double>(std::max<std::int64_t>(cols, 1))));
  return storeMatrix(randomVector(rows * cols, seed, scale), rows, cols, dtype, offset);
}

struct Mismatch {
  double error = 0;  // largest |actual - expected| / largest |expected|
  std::size_t index = 0;
  double expected = 0;
  double actual = 0;
};

template <class Actual, class Expected>
Mismatch worstMismatch(const Actual& actual, const Expected& expected) {
  double scale = 1e-30;
  for (const double value : expected) scale = std::max(scale, std::abs(value));
  Mismatch worst;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    double error = std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i])) / scale;
    if (!std::isfinite(static_cast<double>(actual[i]))) error = INFINITY;
    if (error > worst.error) worst = {error, i, expected[i], actual[i]};
  }
  return worst;
}

inline QString describe(const Mismatch& worst, double tolerance, const std::string& setup) {
  return QStringLiteral("%1: element %2 expected %3, found %4, error %5, tolerance %6")
      .arg(QString::fromStdString(setup))
      .arg(worst.index)
      .arg(worst.expected, 0, 'g', 9)
      .arg(worst.actual, 0, 'g', 9)
      .arg(worst.error)
      .arg(tolerance);
}

// Runs body(pool, setup) for every instruction set of this machine with 1, 2 and 3 threads.
template <class Body>
void forEachSetup(Body body) {
  for (const std::string& set : cpu::instructionSets()) {
    cpu::useInstructionSet(set);
    for (const int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      body(pool, set + ", " + std::to_string(threads) + " threads");
    }
  }
  cpu::useInstructionSet({});
}

// 0 to twice the widest vector and beyond: every tail there is.
inline std::vector<std::int64_t> tailLengths() {
  std::vector<std::int64_t> lengths;
  for (std::int64_t n = 0; n <= 35; ++n) lengths.push_back(n);
  return lengths;
}

inline const char* dtypeLabel(DType dtype) {
  return dtypeName(dtype);
}

}  // namespace eyrie::kernels::test

// Fails the test function with the worst element, unless the normalised error is within the tolerance.
#define EYRIE_VERIFY_CLOSE(actual, expected, tolerance, setup)                                 \
  do {                                                                                         \
    const double eyrieTolerance = (tolerance);                                                 \
    const auto eyrieWorst = eyrie::kernels::test::worstMismatch((actual), (expected));         \
    QVERIFY2(eyrieWorst.error <= eyrieTolerance,                                               \
             qPrintable(eyrie::kernels::test::describe(eyrieWorst, eyrieTolerance, (setup)))); \
  } while (false)

// Fails the test function where a broken variant would have passed.
#define EYRIE_VERIFY_REJECTS(broken, expected, tolerance, what)                           \
  QVERIFY2(eyrie::kernels::test::worstMismatch((broken), (expected)).error > (tolerance), \
           "the tolerance accepts a broken variant: " what)
