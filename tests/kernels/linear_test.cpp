#include "kernels/linear.h"

#include "tests/kernels/kernel_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

std::vector<double> exactLinear(const std::vector<float>& x, const std::vector<float>& w,
                                const std::vector<float>* bias, std::int64_t T, std::int64_t rows,
                                std::int64_t cols) {
  std::vector<double> out(asSize(T * rows));
  for (std::int64_t t = 0; t < T; ++t) {
    for (std::int64_t r = 0; r < rows; ++r) {
      double sum = bias == nullptr ? 0.0 : (*bias)[asSize(r)];
      for (std::int64_t c = 0; c < cols; ++c)
        sum += double{x[asSize(t * cols + c)]} * w[asSize(r * cols + c)];
      out[asSize(t * rows + r)] = sum;
    }
  }
  return out;
}

std::vector<double> exactBlocks(const std::vector<float>& x, const std::vector<float>& w,
                                const std::vector<float>* bias, std::int64_t T, std::int64_t G,
                                std::int64_t B, std::int64_t N, bool transposed = false) {
  std::vector<double> out(asSize(T * G * N));
  for (std::int64_t at = 0; at < T * G * N; ++at) {
    const std::int64_t j = at % N;
    const std::int64_t row = at / N;
    const std::int64_t g = row % G;
    double sum = bias == nullptr ? 0.0 : (*bias)[asSize(g * N + j)];
    for (std::int64_t k = 0; k < B; ++k) {
      const std::int64_t cell = transposed ? j * B + k : k * N + j;
      sum += double{x[asSize(row * B + k)]} * w[asSize(g * B * N + cell)];
    }
    out[asSize(at)] = sum;
  }
  return out;
}

constexpr DType kDtypes[] = {DType::f32, DType::f16, DType::bf16};

}  // namespace

class LinearTest : public QObject {
  Q_OBJECT

 private slots:
  void linearMatchesDoubleAtEveryTail();
  void linearMatchesDoubleForEveryTokenCount();
  void manyTokensMatchDoubleAtEveryTail();
  void manyTokensHaveTheirBitsInAnyCompany();
  void longSumsStayAccurateAndRejectHalfPrecision();
  void samePoolSizeGivesTheSameBits();
  void rowsHaveTheirBitsAlone();
  void blockLinearMatchesDoubleAtEveryTail();
  void blocksHaveTheirBitsAlone();
  void blockLinearMatchesDoubleForManyTokens();
  void blocksMayHaveFewerOutputsThanInputs();
  void trap2ContractsOverTheFirstIndex();
  void nothingHappensForNoTokens();
};

void LinearTest::linearMatchesDoubleAtEveryTail() {
  forEachSetup([](ThreadPool& pool, const std::string& setup) {
    for (const DType dtype : kDtypes) {
      for (const std::int64_t cols : tailLengths()) {
        const std::int64_t rows = 1 + cols % 19;
        const std::int64_t T = 1 + cols % 6;
        const StoredMatrix w = randomMatrix(rows, cols, dtype, 21, cols % 4);
        const std::vector<float> bias = randomVector(rows, 22);
        const std::vector<float> x = randomVector(T * cols, 23);
        OffsetArray in(x, cols % 3);
        OffsetArray out(std::vector<float>(asSize(T * rows)), 1);
        const LinearArgs args{in.data(), w.view, bias.data(), T, out.data()};
        const std::string name = setup + " " + dtypeName(dtype) + ", cols " + std::to_string(cols);
        const std::vector<double> expected = exactLinear(x, w.values, &bias, T, rows, cols);
        cpu::linear(args, pool);
        EYRIE_VERIFY_CLOSE(out.values(), expected, toleranceFor("linear", cols), name);
        reference::linear(args);
        EYRIE_VERIFY_CLOSE(out.values(), expected, toleranceFor("linear", cols), "reference " + name);
      }
    }
  });
}

// Matrix-vector and matrix-product paths, with threads that really split (large enough to pass the grain).
void LinearTest::linearMatchesDoubleForEveryTokenCount() {
  const std::int64_t rows = 517;
  const std::int64_t cols = 203;
  for (const DType dtype : kDtypes) {
    const StoredMatrix w = randomMatrix(rows, cols, dtype, 24, 1);
    for (const std::int64_t T : {1, 2, 3, 4, 5, 7, 8, 9, 16, 33, 64, 65}) {
      const std::vector<float> x = randomVector(T * cols, 25);
      const std::vector<double> expected = exactLinear(x, w.values, nullptr, T, rows, cols);
      for (const int threads : {1, 2, 3}) {
        ThreadPool pool(threads);
        std::vector<float> out(asSize(T * rows), NAN);
        cpu::linear({x.data(), w.view, nullptr, T, out.data()}, pool);
        EYRIE_VERIFY_CLOSE(out, expected, toleranceFor("linear", cols),
                           std::string(dtypeName(dtype)) + ", T " + std::to_string(T));
      }
    }
  }
}

// Columns of one part and of several, rows of one panel, of part of one and of several blocks.
void LinearTest::manyTokensMatchDoubleAtEveryTail() {
  const std::int64_t T = 65;
  forEachSetup([&](ThreadPool& pool, const std::string& setup) {
    for (const DType dtype : kDtypes) {
      for (const std::int64_t cols : {1, 7, 33, 320, 341, 700}) {
        for (const std::int64_t rows : {1, 6, 29, 300}) {
          const StoredMatrix w = randomMatrix(rows, cols, dtype, 21, cols % 4);
          const std::vector<float> bias = randomVector(rows, 22);
          const std::vector<float> x = randomVector(T * cols, 23);
          OffsetArray in(x, cols % 3);
          OffsetArray out(std::vector<float>(asSize(T * rows), NAN), 1);
          cpu::linear({in.data(), w.view, bias.data(), T, out.data()}, pool);
          EYRIE_VERIFY_CLOSE(
              out.values(), exactLinear(x, w.values, &bias, T, rows, cols), toleranceFor("linear", cols),
              setup + " " + dtypeName(dtype) + ", " + std::to_string(rows) + " x " + std::to_string(cols));
        }
      }
    }
  });
}

void LinearTest::manyTokensHaveTheirBitsInAnyCompany() {
  const std::int64_t rows = 700;
  const std::int64_t cols = 1603;
  const std::int64_t most = 150;
  const std::vector<float> x = randomVector(most * cols, 25);
  for (const DType dtype : kDtypes) {
    const StoredMatrix w = randomMatrix(rows, cols, dtype, 24, 1);
    std::vector<float> all;
    for (const std::int64_t T : {most, std::int64_t{64}, std::int64_t{71}}) {
      for (const int threads : {1, 2, 3}) {
        ThreadPool pool(threads);
        std::vector<float> out(asSize(T * rows));
        cpu::linear({x.data(), w.view, nullptr, T, out.data()}, pool);
        if (all.empty()) all = out;
        QVERIFY2(std::equal(out.begin(), out.end(), all.begin()), dtypeName(dtype));
      }
    }
  }
}

void LinearTest::longSumsStayAccurateAndRejectHalfPrecision() {
  const std::int64_t rows = 40;
  const std::int64_t cols = 12288;
  const StoredMatrix w = randomMatrix(rows, cols, DType::bf16, 26);
  ThreadPool pool(2);
  for (const std::int64_t T : {1, 12, 70}) {
    const std::vector<float> x = randomVector(T * cols, 27);
    const std::vector<double> expected = exactLinear(x, w.values, nullptr, T, rows, cols);
    std::vector<float> out(asSize(T * rows));
    cpu::linear({x.data(), w.view, nullptr, T, out.data()}, pool);
    EYRIE_VERIFY_CLOSE(out, expected, toleranceFor("linear", cols), "cols 12288");
    std::vector<float> rounded = x;
    for (float& value : rounded) value = bf16ToFloat(floatToBf16(value));
    EYRIE_VERIFY_REJECTS(exactLinear(rounded, w.values, nullptr, T, rows, cols), expected,
                         toleranceFor("linear", cols), "activations rounded to bf16");
    std::vector<float> missingLast = x;
    missingLast[asSize(cols - 1)] = 0;
    EYRIE_VERIFY_REJECTS(exactLinear(missingLast, w.values, nullptr, T, rows, cols), expected,
                         toleranceFor("linear", cols), "last column dropped");
  }
}

void LinearTest::samePoolSizeGivesTheSameBits() {
  const StoredMatrix w = randomMatrix(300, 257, DType::bf16, 28);
  for (const std::int64_t T : {1, 5, 40, 70}) {
    const std::vector<float> x = randomVector(T * 257, 29);
    std::vector<float> first(asSize(T * 300));
    std::vector<float> second(asSize(T * 300));
    ThreadPool a(3);
    ThreadPool b(3);
    cpu::linear({x.data(), w.view, nullptr, T, first.data()}, a);
    cpu::linear({x.data(), w.view, nullptr, T, second.data()}, b);
    QCOMPARE(first, second);
  }
}

// Several parts of columns, and a tail of the last one.
void LinearTest::rowsHaveTheirBitsAlone() {
  forEachSetup([](ThreadPool& pool, const std::string& setup) {
    for (const DType dtype : kDtypes) {
      for (const std::int64_t cols : {5, 96, 1600, 2565}) {
        const std::int64_t rows = 61;
        const StoredMatrix w = randomMatrix(rows, cols, dtype, 28, 1);
        const std::vector<float> bias = randomVector(rows, 29);
        for (const std::int64_t T : {2, 3, 4, 5, 6, 7, 17, 70}) {
          const std::vector<float> x = randomVector(T * cols, 30);
          std::vector<float> together(asSize(T * rows));
          std::vector<float> alone(asSize(T * rows));
          cpu::linear({x.data(), w.view, bias.data(), T, together.data(), true}, pool);
          for (std::int64_t t = 0; t < T; ++t)
            cpu::linear({x.data() + t * cols, w.view, bias.data(), 1, alone.data() + t * rows}, pool);
          QVERIFY2(together == alone, (setup + " " + dtypeName(dtype) + ", cols " + std::to_string(cols) +
                                       ", T " + std::to_string(T))
                                          .c_str());
        }
      }
    }
  });
}

void LinearTest::blocksHaveTheirBitsAlone() {
  const std::int64_t G = 3, B = 21, T = 40;
  ThreadPool pool(2);
  for (const DType dtype : kDtypes) {
    const StoredMatrix w = randomMatrix(G * B, B, dtype, 31, 1);
    const std::vector<float> bias = randomVector(G * B, 32);
    const std::vector<float> x = randomVector(T * G * B, 33);
    std::vector<float> together(asSize(T * G * B));
    std::vector<float> alone(asSize(T * G * B));
    cpu::blockLinear({x.data(), w.view, bias.data(), T, G, B, together.data(), true}, pool);
    for (std::int64_t t = 0; t < T; ++t)
      cpu::blockLinear({x.data() + t * G * B, w.view, bias.data(), 1, G, B, alone.data() + t * G * B}, pool);
    QVERIFY2(together == alone, dtypeName(dtype));
  }
}

void LinearTest::blockLinearMatchesDoubleAtEveryTail() {
  forEachSetup([](ThreadPool& pool, const std::string& setup) {
    for (const DType dtype : kDtypes) {
      for (const std::int64_t B : tailLengths()) {
        const std::int64_t G = 3;
        const std::int64_t T = 2;
        const StoredMatrix w = randomMatrix(G * B, B, dtype, 31, 1);
        const std::vector<float> bias = randomVector(G * B, 32);
        const std::vector<float> x = randomVector(T * G * B, 33);
        OffsetArray in(x, B % 3);
        OffsetArray out(std::vector<float>(x.size()), 1);
        const BlockLinearArgs args{in.data(), w.view, bias.data(), T, G, B, out.data()};
        const std::string name = setup + " " + dtypeName(dtype) + ", B " + std::to_string(B);
        const std::vector<double> expected = exactBlocks(x, w.values, &bias, T, G, B, B);
        cpu::blockLinear(args, pool);
        EYRIE_VERIFY_CLOSE(out.values(), expected, toleranceFor("blockLinear", B), name);
        reference::blockLinear(args);
        EYRIE_VERIFY_CLOSE(out.values(), expected, toleranceFor("blockLinear", B), "reference " + name);
      }
    }
  });
}

void LinearTest::blockLinearMatchesDoubleForManyTokens() {
  for (const std::int64_t G : {1, 2, 5}) {
    for (const std::int64_t B : {11, 64, 80}) {
      for (const std::int64_t T : {1, 7, 8, 9, 50}) {
        const StoredMatrix w = randomMatrix(G * B, B, DType::bf16, 34);
        const std::vector<float> x = randomVector(T * G * B, 35);
        const std::vector<double> expected = exactBlocks(x, w.values, nullptr, T, G, B, B);
        for (const int threads : {1, 3}) {
          ThreadPool pool(threads);
          std::vector<float> out(x.size(), NAN);
          cpu::blockLinear({x.data(), w.view, nullptr, T, G, B, out.data()}, pool);
          EYRIE_VERIFY_CLOSE(out, expected, toleranceFor("blockLinear", B), "T " + std::to_string(T));
        }
      }
    }
  }
}

void LinearTest::blocksMayHaveFewerOutputsThanInputs() {
  const std::int64_t G = 3;
  forEachSetup([&](ThreadPool& pool, const std::string& setup) {
    for (const DType dtype : kDtypes) {
      for (const std::int64_t N : {1, 5, 16, 70}) {
        for (const std::int64_t T : {1, 4, 20}) {
          const std::int64_t B = 2 * N;
          const StoredMatrix w = randomMatrix(G * B, N, dtype, 38);
          const std::vector<float> bias = randomVector(G * N, 39);
          const std::vector<float> x = randomVector(T * G * B, 40);
          const std::vector<double> expected = exactBlocks(x, w.values, &bias, T, G, B, N);
          std::vector<float> out(asSize(T * G * N), NAN);
          const BlockLinearArgs args{x.data(), w.view, bias.data(), T, G, B, out.data()};
          const std::string name = setup + " " + dtypeName(dtype) + ", N " + std::to_string(N);
          cpu::blockLinear(args, pool);
          EYRIE_VERIFY_CLOSE(out, expected, toleranceFor("blockLinear", B), name);
          reference::blockLinear(args);
          EYRIE_VERIFY_CLOSE(out, expected, toleranceFor("blockLinear", B), "reference " + name);
        }
      }
    }
  });
}

void LinearTest::trap2ContractsOverTheFirstIndex() {
  const std::int64_t B = 5;
  std::vector<float> values(25);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  const StoredMatrix w = storeMatrix(values, B, B, DType::f32);
  std::vector<float> oneHot(5, 0.0F);
  oneHot[2] = 1.0F;
  std::vector<float> out(5);
  ThreadPool pool(1);
  cpu::blockLinear({oneHot.data(), w.view, nullptr, 1, 1, B, out.data()}, pool);
  QCOMPARE(out, (std::vector<float>{10, 11, 12, 13, 14}));  // row 2, not column 2
  reference::blockLinear({oneHot.data(), w.view, nullptr, 1, 1, B, out.data()});
  QCOMPARE(out, (std::vector<float>{10, 11, 12, 13, 14}));
  const std::vector<float> x = randomVector(5, 36);
  EYRIE_VERIFY_REJECTS(exactBlocks(x, values, nullptr, 1, 1, B, B, true),
                       exactBlocks(x, values, nullptr, 1, 1, B, B), toleranceFor("blockLinear", B),
                       "transposed block");
}

void LinearTest::nothingHappensForNoTokens() {
  const StoredMatrix w = randomMatrix(4, 4, DType::f32, 37);
  ThreadPool pool(2);
  cpu::linear({nullptr, w.view, nullptr, 0, nullptr}, pool);
  cpu::blockLinear({nullptr, w.view, nullptr, 0, 1, 4, nullptr}, pool);
}

QTEST_APPLESS_MAIN(LinearTest)
#include "linear_test.moc"
