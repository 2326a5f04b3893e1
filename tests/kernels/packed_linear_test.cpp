#include <limits>

#include "kernels/cpu/packed_blocks.h"
#include "kernels/linear.h"
#include "kernels/packed_matrix.h"
#include "tests/kernels/kernel_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

constexpr DType kPacked[] = {DType::int8, DType::int4};

struct PackedMatrix {
  std::vector<std::byte> bytes;
  MatrixView view;
  std::vector<float> values;  // what it stands for
};

PackedMatrix packed(const MatrixView& from, DType to) {
  PackedMatrix matrix;
  matrix.bytes.resize(asSize(packedBytes(to, from.rows, from.cols)));
  reference::pack(from, to, matrix.bytes.data());
  matrix.view = {matrix.bytes.data(), to, from.rows, from.cols};
  for (std::int64_t i = 0; i < from.rows * from.cols; ++i) {
    matrix.values.push_back(matrixElement(matrix.view, i / from.cols, i % from.cols));
  }
  return matrix;
}

// visit(first weight, count) for each part of a row that shares a scale.
template <class Visit>
void forEachGroup(const StoredMatrix& w, DType dtype, const Visit& visit) {
  for (std::int64_t row = 0; row < w.view.rows; ++row) {
    for (std::int64_t col = 0; col < w.view.cols; col += packedGroup(dtype)) {
      visit(asSize(row * w.view.cols + col), asSize(std::min(packedGroup(dtype), w.view.cols - col)));
    }
  }
}

std::vector<double> exactLinear(const std::vector<float>& x, const PackedMatrix& w, const float* bias,
                                std::int64_t T) {
  const std::int64_t rows = w.view.rows;
  const std::int64_t cols = w.view.cols;
  std::vector<double> out(asSize(T * rows));
  for (std::int64_t t = 0; t < T; ++t) {
    for (std::int64_t r = 0; r < rows; ++r) {
      double sum = bias == nullptr ? 0.0 : bias[r];
      for (std::int64_t c = 0; c < cols; ++c)
        sum += double{x[asSize(t * cols + c)]} * w.values[asSize(r * cols + c)];
      out[asSize(t * rows + r)] = sum;
    }
  }
  return out;
}

// So many tokens are multiplied as bytes.
constexpr std::int64_t kManyTokens = 64;

// Values of many sizes, so that scales differ, and some parts of zeros.
std::vector<float> spreadVector(std::int64_t n, std::uint32_t seed) {
  std::vector<float> values = randomVector(n, seed);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] *= i / 32 % 5 == 0 ? 0.0F : std::exp2(static_cast<float>(i / 32 % 7));
  return values;
}

// x as cpu/packed_blocks.h rounds it.
std::vector<float> asBytes(std::vector<float> x, std::int64_t cols, DType dtype) {
  const std::int64_t scaled = dtype == DType::int8 ? 32 : 256;
  const float most = dtype == DType::int8 ? 63.0F : 127.0F;
  for (std::size_t row = 0; row < x.size(); row += asSize(cols)) {
    for (std::int64_t c = 0; c < cols; c += scaled) {
      const auto begin = x.begin() + static_cast<std::ptrdiff_t>(row) + c;
      const auto end = begin + std::min(scaled, cols - c);
      float scale = 0;
      for (auto value = begin; value != end; ++value) scale = std::max(scale, std::abs(*value) / most);
      for (auto value = begin; value != end; ++value)
        *value = scale > 0 ? std::nearbyint(*value * (1.0F / scale)) * scale : 0.0F;
    }
  }
  return x;
}

std::string nameOf(DType dtype, std::int64_t rows, std::int64_t cols) {
  return std::string(dtypeName(dtype)) + ", " + std::to_string(rows) + " x " + std::to_string(cols);
}

}  // namespace

class PackedLinearTest : public QObject {
  Q_OBJECT

 private slots:
  void eightBitsKeepEachWeightWithinHalfAStep();
  void fourBitsErrLessThanOnThePlainScale();
  void everySetPacksTheSpecifiedBytes();
  void notFiniteWeightsSpoilTheirRowOnly();
  void tinyWeightsAreZero();
  void matchesDoubleAtEveryTail();
  void matchesDoubleForEveryTokenCount();
  void largestSumsDoNotOverflow();
  void oneTokenAndManyGiveTheSameBits();
  void notFiniteInputsSpoilTheirTokenOnly();
  void trap38_rejectsActivationsOfEightBits();
  void manyTokensMatchTheirBytesAtEveryTail();
  void largestSumsOfBytesDoNotOverflow();
  void manyTokensGiveTheSameBitsWhateverTheirNumber();
  void manyTokensAloneHaveTheBitsOfOne();
  void notFiniteInputsAmongManySpoilTheirTokenOnly();
};

void PackedLinearTest::eightBitsKeepEachWeightWithinHalfAStep() {
  const StoredMatrix w = randomMatrix(21, 301, DType::bf16, 1);
  const PackedMatrix q = packed(w.view, DType::int8);
  forEachGroup(w, DType::int8, [&](std::size_t first, std::size_t count) {
    float largest = 0;
    for (std::size_t i = first; i < first + count; ++i) largest = std::max(largest, std::abs(w.values[i]));
    const float step = largest / 127.0F * 1.008F;  // bf16 steps are up to 1/128 longer
    for (std::size_t i = first; i < first + count; ++i) {
      QVERIFY2(std::abs(q.values[i] - w.values[i]) <= 0.5F * step,
               qPrintable(QStringLiteral("weight %1: %2 became %3")
                              .arg(i)
                              .arg(double{w.values[i]})
                              .arg(double{q.values[i]})));
    }
  });
}

void PackedLinearTest::fourBitsErrLessThanOnThePlainScale() {
  const StoredMatrix w = randomMatrix(64, 333, DType::bf16, 1);
  const PackedMatrix q = packed(w.view, DType::int4);
  double all = 0;
  double allPlain = 0;
  forEachGroup(w, DType::int4, [&](std::size_t first, std::size_t count) {
    float extreme = 0;
    for (std::size_t i = first; i < first + count; ++i)
      if (std::abs(w.values[i]) > std::abs(extreme)) extreme = w.values[i];
    double error = 0;
    double plain = 0;
    for (std::size_t i = first; i < first + count; ++i) {
      const float code = std::clamp(std::round(w.values[i] / extreme * -8.0F), -8.0F, 7.0F);
      plain += std::pow(double{w.values[i]} - double{code * extreme / -8.0F}, 2);
      error += std::pow(double{w.values[i]} - double{q.values[i]}, 2);
    }
    // The scale that is kept has 8 bits.
    QVERIFY2(error <= 1.02 * plain,
             qPrintable(
                 QStringLiteral("group at %1: squared error %2, plain %3").arg(first).arg(error).arg(plain)));
    all += error;
    allPlain += plain;
  });
  QVERIFY2(all < 0.98 * allPlain,
           qPrintable(QStringLiteral("squared error %1, plain %2").arg(all).arg(allPlain)));
}

void PackedLinearTest::everySetPacksTheSpecifiedBytes() {
  forEachSetup([](ThreadPool& pool, const std::string& setup) {
    for (const DType to : kPacked) {
      for (const DType from : {DType::f32, DType::f16, DType::bf16}) {
        for (const std::int64_t cols : {1, 7, 8, 31, 32, 33, 255, 256, 257, 300}) {
          const std::int64_t rows = 1 + cols % 37;
          const StoredMatrix w = randomMatrix(rows, cols, from, 2, cols % 3);
          const PackedMatrix expected = packed(w.view, to);
          std::vector<std::byte> bytes(expected.bytes.size(), std::byte{0xee});
          cpu::pack(w.view, to, bytes.data(), pool);
          QVERIFY2(bytes == expected.bytes, (setup + ", " + nameOf(to, rows, cols)).c_str());
        }
      }
    }
  });
}

void PackedLinearTest::notFiniteWeightsSpoilTheirRowOnly() {
  for (const DType to : kPacked) {
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
      std::vector<float> values = randomVector(20 * 40, 3);
      values[3 * 40 + 35] = bad;
      const StoredMatrix w = storeMatrix(values, 20, 40, DType::f32);
      ThreadPool pool(2);
      std::vector<std::byte> bytes(asSize(packedBytes(to, 20, 40)));
      cpu::pack(w.view, to, bytes.data(), pool);
      const std::vector<float> x(40, 1.0F);
      std::vector<float> out(20);
      cpu::linear({x.data(), {bytes.data(), to, 20, 40}, nullptr, 1, out.data()}, pool);
      for (std::size_t row = 0; row < 20; ++row) QCOMPARE(std::isnan(out[row]), row == 3);
    }
  }
}

void PackedLinearTest::tinyWeightsAreZero() {
  for (const DType to : kPacked) {
    std::vector<float> values(16 * 32, 1e-35F);
    values[5] = std::numeric_limits<float>::denorm_min();
    const PackedMatrix q = packed(storeMatrix(values, 16, 32, DType::f32).view, to);
    for (const float value : q.values) QCOMPARE(value, 0.0F);
  }
}

void PackedLinearTest::matchesDoubleAtEveryTail() {
  forEachSetup([](ThreadPool& pool, const std::string& setup) {
    for (const DType to : kPacked) {
      for (std::int64_t cols = 1; cols <= 300; cols += cols < 40 ? 1 : 37) {
        const std::int64_t rows = 1 + cols % 35;
        const std::int64_t T = 1 + cols % 9;
        const PackedMatrix w = packed(randomMatrix(rows, cols, DType::f32, 4).view, to);
        const std::vector<float> bias = randomVector(rows, 5);
        const std::vector<float> x = randomVector(T * cols, 6);
        OffsetArray in(x, cols % 3);
        OffsetArray out(std::vector<float>(asSize(T * rows)), 1);
        const LinearArgs args{in.data(), w.view, bias.data(), T, out.data()};
        const std::vector<double> expected = exactLinear(x, w, bias.data(), T);
        const std::string name = setup + ", " + nameOf(to, rows, cols);
        cpu::linear(args, pool);
        EYRIE_VERIFY_CLOSE(out.values(), expected, toleranceFor("packedLinear", cols), name);
        reference::linear(args);
        EYRIE_VERIFY_CLOSE(out.values(), expected, toleranceFor("linear", cols), "reference " + name);
      }
    }
  });
}

void PackedLinearTest::matchesDoubleForEveryTokenCount() {
  for (const DType to : kPacked) {
    const PackedMatrix w = packed(randomMatrix(517, 203, DType::f32, 7).view, to);
    for (const std::int64_t T : {1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 16, 24, 25, 29, 33}) {
      const std::vector<float> x = randomVector(T * 203, 8);
      const std::vector<double> expected = exactLinear(x, w, nullptr, T);
      for (const int threads : {1, 2, 3}) {
        ThreadPool pool(threads);
        std::vector<float> out(asSize(T * 517), NAN);
        cpu::linear({x.data(), w.view, nullptr, T, out.data()}, pool);
        EYRIE_VERIFY_CLOSE(out, expected, toleranceFor("packedLinear", 203), nameOf(to, 517, 203));
      }
    }
  }
}

void PackedLinearTest::largestSumsDoNotOverflow() {
  forEachSetup([](ThreadPool& pool, const std::string& setup) {
    for (const DType to : kPacked) {
      for (const float sign : {1.0F, -1.0F}) {
        const PackedMatrix w =
            packed(storeMatrix(std::vector<float>(16 * 2560, sign), 16, 2560, DType::f32).view, to);
        const std::vector<float> x(2560, 3.0F);
        std::vector<float> out(16);
        cpu::linear({x.data(), w.view, nullptr, 1, out.data()}, pool);
        EYRIE_VERIFY_CLOSE(out, exactLinear(x, w, nullptr, 1), toleranceFor("packedLinear", 2560), setup);
      }
    }
  });
}

void PackedLinearTest::oneTokenAndManyGiveTheSameBits() {
  for (const DType to : kPacked) {
    const PackedMatrix w = packed(randomMatrix(300, 700, DType::f32, 9).view, to);
    const std::vector<float> x = randomVector(40 * 700, 10);
    ThreadPool pool(3);
    ThreadPool alone(1);
    std::vector<float> together(40 * 300);
    cpu::linear({x.data(), w.view, nullptr, 40, together.data()}, pool);
    std::vector<float> single(300);
    for (std::int64_t t = 0; t < 40; ++t) {
      cpu::linear({x.data() + t * 700, w.view, nullptr, 1, single.data()}, alone);
      QVERIFY(std::equal(single.begin(), single.end(), together.begin() + t * 300));
    }
  }
}

void PackedLinearTest::notFiniteInputsSpoilTheirTokenOnly() {
  for (const DType to : kPacked) {
    const PackedMatrix w = packed(randomMatrix(20, 50, DType::f32, 11).view, to);
    std::vector<float> x = randomVector(3 * 50, 12);
    x[60] = INFINITY;
    ThreadPool pool(1);
    std::vector<float> out(3 * 20);
    cpu::linear({x.data(), w.view, nullptr, 3, out.data()}, pool);
    for (std::size_t i = 0; i < out.size(); ++i) QCOMPARE(std::isnan(out[i]), i / 20 == 1);
  }
}

void PackedLinearTest::trap38_rejectsActivationsOfEightBits() {
  for (const DType to : kPacked) {
    const PackedMatrix w = packed(randomMatrix(40, 4096, DType::f32, 13).view, to);
    const std::vector<float> x = randomVector(4096, 14);
    const std::vector<double> expected = exactLinear(x, w, nullptr, 1);
    ThreadPool pool(2);
    std::vector<float> out(40);
    cpu::linear({x.data(), w.view, nullptr, 1, out.data()}, pool);
    EYRIE_VERIFY_CLOSE(out, expected, toleranceFor("packedLinear", 4096), nameOf(to, 40, 4096));
    float largest = 0;
    for (const float value : x) largest = std::max(largest, std::abs(value));
    std::vector<float> rounded = x;
    for (float& value : rounded) value = std::round(value / largest * 127.0F) * largest / 127.0F;
    EYRIE_VERIFY_REJECTS(exactLinear(rounded, w, nullptr, 1), expected, toleranceFor("packedLinear", 4096),
                         "activations of eight bits");
  }
}

void PackedLinearTest::manyTokensMatchTheirBytesAtEveryTail() {
  forEachSetup([](ThreadPool& pool, const std::string& setup) {
    for (const DType to : kPacked) {
      for (std::int64_t cols = 1; cols <= 560; cols += cols < 9 ? 1 : 23) {
        const std::int64_t rows = 1 + cols % 150;
        const std::int64_t T = kManyTokens + cols % 35;
        const PackedMatrix w = packed(randomMatrix(rows, cols, DType::f32, 15).view, to);
        const std::vector<float> bias = randomVector(rows, 16);
        const std::vector<float> x = spreadVector(T * cols, 17);
        OffsetArray in(x, cols % 3);
        OffsetArray out(std::vector<float>(asSize(T * rows)), 1);
        cpu::linear({in.data(), w.view, bias.data(), T, out.data()}, pool);
        const std::string name = setup + ", " + nameOf(to, rows, cols);
        if (!cpu::multipliesBytes()) {
          EYRIE_VERIFY_CLOSE(out.values(), exactLinear(x, w, bias.data(), T),
                             toleranceFor("packedLinear", cols), name);
          continue;
        }
        const std::vector<float> bytes = asBytes(x, cols, to);
        EYRIE_VERIFY_CLOSE(out.values(), exactLinear(bytes, w, bias.data(), T), toleranceFor("linear", cols),
                           name);
        if (cols < 40) continue;
        EYRIE_VERIFY_REJECTS(exactLinear(x, w, bias.data(), T), exactLinear(bytes, w, bias.data(), T),
                             toleranceFor("linear", cols), "not rounded");
      }
    }
  });
}

void PackedLinearTest::largestSumsOfBytesDoNotOverflow() {
  forEachSetup([](ThreadPool& pool, const std::string& setup) {
    for (const DType to : kPacked) {
      for (const float sign : {1.0F, -1.0F}) {
        const PackedMatrix w =
            packed(storeMatrix(std::vector<float>(16 * 512, sign), 16, 512, DType::f32).view, to);
        for (const float value : {3.0F, -3.0F}) {
          const std::vector<float> x(asSize(kManyTokens * 512), value);
          std::vector<float> out(asSize(kManyTokens * 16));
          cpu::linear({x.data(), w.view, nullptr, kManyTokens, out.data()}, pool);
          EYRIE_VERIFY_CLOSE(out, exactLinear(x, w, nullptr, kManyTokens), toleranceFor("packedLinear", 512),
                             setup);
        }
      }
    }
  });
}

void PackedLinearTest::manyTokensGiveTheSameBitsWhateverTheirNumber() {
  constexpr std::int64_t kMost = 3 * kManyTokens + 1;
  for (const DType to : kPacked) {
    const PackedMatrix w = packed(randomMatrix(300, 700, DType::f32, 18).view, to);
    const std::vector<float> x = randomVector(kMost * 700, 19);
    ThreadPool pool(3);
    std::vector<float> together(asSize(kMost * 300));
    cpu::linear({x.data(), w.view, nullptr, kMost, together.data()}, pool);
    for (const std::int64_t T : {kManyTokens, kManyTokens + 5}) {
      ThreadPool alone(1);
      std::vector<float> some(asSize(T * 300));
      cpu::linear({x.data() + 7 * 700, w.view, nullptr, T, some.data()}, alone);
      QVERIFY(std::equal(some.begin(), some.end(), together.begin() + 7 * 300));
    }
  }
}

void PackedLinearTest::manyTokensAloneHaveTheBitsOfOne() {
  for (const DType to : kPacked) {
    const PackedMatrix w = packed(randomMatrix(40, 90, DType::f32, 20).view, to);
    const std::vector<float> x = randomVector(kManyTokens * 90, 21);
    ThreadPool pool(2);
    std::vector<float> together(asSize(kManyTokens * 40));
    LinearArgs args{x.data(), w.view, nullptr, kManyTokens, together.data()};
    args.alone = true;
    cpu::linear(args, pool);
    std::vector<float> single(40);
    for (std::int64_t t = 0; t < kManyTokens; ++t) {
      cpu::linear({x.data() + t * 90, w.view, nullptr, 1, single.data()}, pool);
      QVERIFY(std::equal(single.begin(), single.end(), together.begin() + t * 40));
    }
  }
}

void PackedLinearTest::notFiniteInputsAmongManySpoilTheirTokenOnly() {
  for (const DType to : kPacked) {
    const PackedMatrix w = packed(randomMatrix(20, 500, DType::f32, 22).view, to);
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
      std::vector<float> x = randomVector(kManyTokens * 500, 23);
      x[5 * 500 + 499] = bad;
      ThreadPool pool(2);
      std::vector<float> out(asSize(kManyTokens * 20));
      cpu::linear({x.data(), w.view, nullptr, kManyTokens, out.data()}, pool);
      for (std::size_t i = 0; i < out.size(); ++i) QCOMPARE(std::isnan(out[i]), i / 20 == 5);
    }
  }
}

QTEST_APPLESS_MAIN(PackedLinearTest)
#include "packed_linear_test.moc"
