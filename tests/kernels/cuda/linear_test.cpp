#include "tests/kernels/cuda/cuda_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

constexpr DType kDtypes[] = {DType::f32, DType::f16, DType::bf16};

// Whether rows can be read 16 bytes at a time depends on cols and the offset; both happen here.
struct Layer {
  StoredMatrix weight;
  std::vector<float> bias;

  Layer(std::int64_t rows, std::int64_t cols, DType dtype, std::uint32_t seed, std::int64_t offset = 0)
      : weight(randomMatrix(rows, cols, dtype, seed, offset)), bias(randomVector(rows, seed + 1)) {}

  std::vector<float> expected(const std::vector<float>& x, std::int64_t T) const {
    std::vector<float> out(asSize(T * weight.view.rows));
    reference::linear({x.data(), weight.view, bias.data(), T, out.data()});
    return out;
  }
};

std::vector<float> normed(const std::vector<float>& x, const std::vector<float>& w, std::int64_t T) {
  std::vector<float> out(x.size());
  reference::rmsNorm({x.data(), w.data(), 1e-6F, T, static_cast<std::int64_t>(w.size()), out.data()});
  return out;
}

std::string nameOf(const std::string& order, DType dtype, std::int64_t cols, std::int64_t T) {
  return order + " " + dtypeName(dtype) + ", cols " + std::to_string(cols) + ", T " + std::to_string(T);
}

}  // namespace

class CudaLinearTest : public QObject {
  Q_OBJECT

 private slots:
  void matchesReferenceForEveryShape();
  void severalMatricesReadTheSameNormedInput();
  void accumulatesOntoTheResidualStream();
  void gatedPairMatchesItsParts();
  void oneTokenAndManyGiveTheSameBits();
  void upToEightTokensReadTheWeightsOnce();
  void toleranceRejectsBrokenVariants();
  void blockLinearMatchesReference();
  void trap2ContractsOverTheFirstIndex();
};

void CudaLinearTest::matchesReferenceForEveryShape() {
  forEachOrder([](const std::string& order) {
    for (const DType dtype : kDtypes) {
      for (const std::int64_t cols : {1, 5, 8, 33, 64, 1100, 1104, 1500}) {
        const std::int64_t rows = 1 + cols % 19;
        const std::int64_t T = cols == 64 ? 15 : 1 + cols % 4;
        const Layer layer(rows, cols, dtype, 21, cols == 64 ? 0 : cols % 2);
        const std::vector<float> x = randomVector(T * cols, 23);
        std::vector<float> out(asSize(T * rows), NAN);
        cuda::linear({x.data(), layer.weight.view, layer.bias.data(), T, out.data()}, nullptr);
        EYRIE_VERIFY_CLOSE(out, layer.expected(x, T), toleranceFor("linear", cols),
                           nameOf(order, dtype, cols, T));
      }
    }
  });
}

void CudaLinearTest::severalMatricesReadTheSameNormedInput() {
  forEachOrder([](const std::string& order) {
    for (const std::int64_t cols : {48, 49}) {
      const std::int64_t T = 3;
      const Layer a(9, cols, DType::bf16, 31), b(1, cols, DType::bf16, 33), c(16, cols, DType::bf16, 35);
      const std::vector<float> x = randomVector(T * cols, 37, 3.0F);
      const std::vector<float> w = randomVector(cols, 38, 0.3F);
      std::vector<float> outA(27, NAN), outB(3, NAN), outC(48, NAN);
      cuda::ProjectionArgs args;
      args.x = x.data();
      args.normWeight = w.data();
      args.T = T;
      args.outputs = {{{a.weight.view, a.bias.data(), outA.data()},
                       {b.weight.view, b.bias.data(), outB.data()},
                       {c.weight.view, c.bias.data(), outC.data()}}};
      cuda::projections(args, nullptr);
      const std::vector<float> n = normed(x, w, T);
      EYRIE_VERIFY_CLOSE(outA, a.expected(n, T), toleranceFor("linear", cols), order + " first");
      EYRIE_VERIFY_CLOSE(outB, b.expected(n, T), toleranceFor("linear", cols), order + " second");
      EYRIE_VERIFY_CLOSE(outC, c.expected(n, T), toleranceFor("linear", cols), order + " third");
    }
  });
}

void CudaLinearTest::accumulatesOntoTheResidualStream() {
  forEachOrder([](const std::string& order) {
    const Layer layer(21, 40, DType::f16, 41);
    const std::vector<float> x = randomVector(5 * 40, 42);
    std::vector<float> hidden = randomVector(5 * 21, 43);
    std::vector<float> expected = layer.expected(x, 5);
    for (std::size_t i = 0; i < hidden.size(); ++i) expected[i] += hidden[i];
    cuda::ProjectionArgs args;
    args.x = x.data();
    args.T = 5;
    args.outputs[0] = {layer.weight.view, layer.bias.data(), hidden.data()};
    args.accumulate = true;
    cuda::projections(args, nullptr);
    EYRIE_VERIFY_CLOSE(hidden, expected, toleranceFor("linear", 40), order);
  });
}

void CudaLinearTest::gatedPairMatchesItsParts() {
  forEachOrder([](const std::string& order) {
    for (const DType dtype : kDtypes) {
      for (const std::int64_t T : {1, 2, 7}) {
        const std::int64_t cols = T == 7 ? 37 : 72;
        const Layer gate(13, cols, dtype, 51), up(13, cols, dtype, 53);
        const std::vector<float> x = randomVector(T * cols, 55);
        const std::vector<float> w = randomVector(cols, 56, 0.3F);
        const std::vector<float> n = normed(x, w, T);
        const std::vector<float> gates = gate.expected(n, T), ups = up.expected(n, T);
        std::vector<float> expected(gates.size()), out(gates.size(), NAN);
        reference::gatedActivation({gates.data(), ups.data(), T * 13, Activation::geluTanh, expected.data()});
        cuda::GatedProjectionArgs args;
        args.x = x.data();
        args.normWeight = w.data();
        args.T = T;
        args.gate = gate.weight.view;
        args.up = up.weight.view;
        args.gateBias = gate.bias.data();
        args.upBias = up.bias.data();
        args.out = out.data();
        cuda::gatedProjection(args, nullptr);
        EYRIE_VERIFY_CLOSE(out, expected, toleranceFor("linear", cols), nameOf(order, dtype, cols, T));
      }
    }
  });
}

void CudaLinearTest::oneTokenAndManyGiveTheSameBits() {
  const Layer layer(10, 328, DType::bf16, 61);
  const std::vector<float> x = randomVector(15 * 328, 62);
  std::vector<float> together(150), alone(10);
  cuda::linear({x.data(), layer.weight.view, layer.bias.data(), 15, together.data()}, nullptr);
  for (std::int64_t t = 0; t < 15; ++t) {
    cuda::linear({x.data() + t * 328, layer.weight.view, layer.bias.data(), 1, alone.data()}, nullptr);
    QVERIFY(std::equal(alone.begin(), alone.end(), together.begin() + t * 10));
  }
}

// In one launch, which writes no row of a token that is not there.
void CudaLinearTest::upToEightTokensReadTheWeightsOnce() {
  for (const DType dtype : kDtypes) {
    const Layer layer(10, 328, dtype, 63), up(10, 328, dtype, 65);
    const std::vector<float> x = randomVector(17 * 328, 67);
    std::vector<float> alone(170), gatedAlone(170);
    const auto project = [&](const float* from, std::int64_t T, float* out) {
      cuda::linear({from, layer.weight.view, layer.bias.data(), T, out}, nullptr);
    };
    const auto gate = [&](const float* from, std::int64_t T, float* out) {
      cuda::gatedProjection({from, nullptr, 1e-6F, T, layer.weight.view, up.weight.view, layer.bias.data(),
                             up.bias.data(), Activation::geluTanh, out},
                            nullptr);
    };
    for (std::int64_t t = 0; t < 17; ++t) {
      project(x.data() + t * 328, 1, alone.data() + t * 10);
      gate(x.data() + t * 328, 1, gatedAlone.data() + t * 10);
    }
    for (std::int64_t T = 1; T <= 17; ++T) {
      const std::vector<float> exactly(x.begin(), x.begin() + T * 328);
      std::vector<float> out(170, -1.0F), gated(170, -1.0F);
      const std::uint64_t before = eyrie::emulator::launches();
      project(exactly.data(), T, out.data());
      gate(exactly.data(), T, gated.data());
      QCOMPARE(eyrie::emulator::launches() - before, static_cast<std::uint64_t>(2 * ((T + 7) / 8)));
      for (std::int64_t i = 0; i < 170; ++i) {
        QCOMPARE(out[asSize(i)], i < 10 * T ? alone[asSize(i)] : -1.0F);
        QCOMPARE(gated[asSize(i)], i < 10 * T ? gatedAlone[asSize(i)] : -1.0F);
      }
    }
  }
}

void CudaLinearTest::toleranceRejectsBrokenVariants() {
  const Layer layer(8, 1024, DType::bf16, 71);
  std::vector<float> x = randomVector(1024, 72);
  const std::vector<float> expected = layer.expected(x, 1);
  std::vector<float> out(8);
  const double bound = toleranceFor("linear", 1024);
  cuda::linear({x.data(), layer.weight.view, nullptr, 1, out.data()}, nullptr);
  EYRIE_VERIFY_REJECTS(out, expected, bound, "no bias (trap 13)");
  const float last = std::exchange(x.back(), 0.0F);
  cuda::linear({x.data(), layer.weight.view, layer.bias.data(), 1, out.data()}, nullptr);
  EYRIE_VERIFY_REJECTS(out, expected, bound, "last column left out");
  x.back() = last;
  for (float& value : x) value = bf16ToFloat(floatToBf16(value));
  cuda::linear({x.data(), layer.weight.view, layer.bias.data(), 1, out.data()}, nullptr);
  EYRIE_VERIFY_REJECTS(out, expected, bound, "x rounded to bf16");
}

void CudaLinearTest::blockLinearMatchesReference() {
  forEachOrder([](const std::string& order) {
    for (const DType dtype : kDtypes) {
      for (const std::int64_t T : {1, 16, 19}) {
        const std::int64_t G = 3, B = T == 1 ? 70 : 33, N = T == 16 ? 65 : B;
        const StoredMatrix w = randomMatrix(G * B, N, dtype, 81, 1);
        const std::vector<float> bias = randomVector(G * N, 82);
        const std::vector<float> x = randomVector(T * G * B, 83);
        std::vector<float> expected(asSize(T * G * N)), out(expected.size(), NAN);
        BlockLinearArgs args{x.data(), w.view, bias.data(), T, G, B, expected.data()};
        reference::blockLinear(args);
        args.out = out.data();
        cuda::blockLinear(args, nullptr);
        EYRIE_VERIFY_CLOSE(out, expected, toleranceFor("blockLinear", B), nameOf(order, dtype, B, T));
      }
    }
  });
}

void CudaLinearTest::trap2ContractsOverTheFirstIndex() {
  const std::int64_t B = 20;
  const std::vector<float> values = randomVector(B * B, 91);
  const StoredMatrix w = storeMatrix(values, B, B, DType::f32);
  std::vector<float> turned(values.size());
  for (std::int64_t i = 0; i < B * B; ++i) turned[asSize(i % B * B + i / B)] = values[asSize(i)];
  const StoredMatrix transposed = storeMatrix(turned, B, B, DType::f32);
  const std::vector<float> x = randomVector(B, 92);
  std::vector<float> expected(asSize(B)), out(asSize(B));
  reference::blockLinear({x.data(), w.view, nullptr, 1, 1, B, expected.data()});
  cuda::blockLinear({x.data(), w.view, nullptr, 1, 1, B, out.data()}, nullptr);
  EYRIE_VERIFY_CLOSE(out, expected, toleranceFor("blockLinear", B), "one block");
  cuda::blockLinear({x.data(), transposed.view, nullptr, 1, 1, B, out.data()}, nullptr);
  EYRIE_VERIFY_REJECTS(out, expected, toleranceFor("blockLinear", B), "transposed");
}

QTEST_APPLESS_MAIN(CudaLinearTest)
#include "linear_test.moc"
