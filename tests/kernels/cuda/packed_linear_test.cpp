#include "kernels/packed_matrix.h"
#include "kernels/thread_pool.h"
#include "tests/kernels/cuda/cuda_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

constexpr DType kPacked[] = {DType::int8, DType::int4};

// Quantised as on the CPU, then laid out for the card in exactly sized arrays.
struct Layer {
  std::vector<std::byte> packed;
  MatrixView view;
  std::vector<uint4> codes;
  std::vector<std::uint16_t> scales;
  cuda::PackedRows rows;
  std::vector<float> bias;

  Layer(std::int64_t height, std::int64_t cols, DType dtype, std::uint32_t seed)
      : packed(asSize(packedBytes(dtype, height, cols))),
        view{packed.data(), dtype, height, cols},
        codes(asSize(height * cuda::packedRowBytes(dtype, cols) / 16)),
        scales(asSize(height * cuda::packedRowGroups(dtype, cols))),
        rows{codes.data(), scales.data(), dtype, height, cols},
        bias(randomVector(height, seed + 1)) {
    reference::pack(randomMatrix(height, cols, DType::f32, seed).view, dtype, packed.data());
    ThreadPool pool(2);
    cuda::toRows(view, reinterpret_cast<std::byte*>(codes.data()), scales.data(), pool);
  }
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  std::vector<float> expected(const std::vector<float>& x, std::int64_t T) const {
    std::vector<float> out(asSize(T * view.rows));
    reference::linear({x.data(), view, bias.data(), T, out.data()});
    return out;
  }
};

std::vector<float> projected(const Layer& layer, const std::vector<float>& x, std::int64_t T,
                             const float* normWeight = nullptr) {
  std::vector<float> out(asSize(T * layer.view.rows), NAN);
  cuda::PackedProjectionArgs args;
  args.x = x.data();
  args.normWeight = normWeight;
  args.T = T;
  args.outputs[0] = {layer.rows, layer.bias.data(), out.data()};
  cuda::packedProjections(args, nullptr);
  return out;
}

std::string nameOf(const std::string& order, DType dtype, std::int64_t cols) {
  return order + " " + dtypeName(dtype) + ", cols " + std::to_string(cols);
}

}  // namespace

class CudaPackedLinearTest : public QObject {
  Q_OBJECT

 private slots:
  void matchesReferenceForEveryShape();
  void warpsTakeSeveralPairsAndRowsSeveralLoads();
  void severalMatricesReadTheSameNormedInput();
  void gatedPairMatchesItsParts();
  void oneTokenAndManyGiveTheSameBits();
  void upToFourTokensReadTheWeightsOnce();
  void largestSumsDoNotOverflow();
  void notFiniteInputsSpoilTheirTokenOnly();
  void toleranceRejectsActivationsOfEightBits();
};

void CudaPackedLinearTest::matchesReferenceForEveryShape() {
  forEachOrder([](const std::string& order) {
    for (const DType dtype : kPacked) {
      for (const std::int64_t cols : {1, 7, 16, 33, 256, 1100}) {
        const std::int64_t T = 1 + cols % 7;
        const Layer layer(1 + cols % 71, cols, dtype, 1);
        const std::vector<float> x = randomVector(T * cols, 3);
        EYRIE_VERIFY_CLOSE(projected(layer, x, T), layer.expected(x, T), toleranceFor("packedLinear", cols),
                           nameOf(order, dtype, cols));
      }
    }
  });
}

// The emulator's card has few multiprocessors, so that 300 rows are several pairs a warp.
void CudaPackedLinearTest::warpsTakeSeveralPairsAndRowsSeveralLoads() {
  for (const DType dtype : kPacked) {
    for (const auto& [rows, cols] : {std::pair{301, 70}, std::pair{3, 5001}}) {
      const Layer layer(rows, cols, dtype, 71);
      const std::vector<float> x = randomVector(cols, 73);
      EYRIE_VERIFY_CLOSE(projected(layer, x, 1), layer.expected(x, 1), toleranceFor("packedLinear", cols),
                         nameOf("forward", dtype, cols));
    }
  }
}

void CudaPackedLinearTest::severalMatricesReadTheSameNormedInput() {
  forEachOrder([](const std::string& order) {
    for (const DType dtype : kPacked) {
      const std::int64_t cols = 90;
      const Layer a(9, cols, dtype, 11), b(70, cols, dtype, 13);
      const std::vector<float> x = randomVector(3 * cols, 15, 5.0F);
      const std::vector<float> w = randomVector(cols, 16, 0.3F);
      std::vector<float> normed(x.size()), outA = randomVector(27, 17), outB(210, 0.0F);
      reference::rmsNorm({x.data(), w.data(), 1e-6F, 3, cols, normed.data()});
      std::vector<float> expectedA = a.expected(normed, 3);
      for (std::size_t i = 0; i < expectedA.size(); ++i) expectedA[i] += outA[i];
      cuda::PackedProjectionArgs args;
      args.x = x.data();
      args.normWeight = w.data();
      args.T = 3;
      args.outputs[0] = {a.rows, a.bias.data(), outA.data()};
      args.outputs[1] = {b.rows, b.bias.data(), outB.data()};
      args.accumulate = true;
      cuda::packedProjections(args, nullptr);
      EYRIE_VERIFY_CLOSE(outA, expectedA, toleranceFor("packedLinear", cols), nameOf(order, dtype, cols));
      EYRIE_VERIFY_CLOSE(outB, b.expected(normed, 3), toleranceFor("packedLinear", cols), order + " second");
    }
  });
}

void CudaPackedLinearTest::gatedPairMatchesItsParts() {
  forEachOrder([](const std::string& order) {
    for (const DType dtype : kPacked) {
      const std::int64_t cols = 70, T = 2;
      const Layer gate(45, cols, dtype, 21), up(45, cols, dtype, 23);
      const std::vector<float> x = randomVector(T * cols, 25);
      const std::vector<float> gates = gate.expected(x, T), ups = up.expected(x, T);
      std::vector<float> expected(gates.size()), out(gates.size(), NAN);
      reference::gatedActivation({gates.data(), ups.data(), T * 45, Activation::geluTanh, expected.data()});
      cuda::PackedGatedProjectionArgs args;
      args.x = x.data();
      args.T = T;
      args.gate = gate.rows;
      args.up = up.rows;
      args.gateBias = gate.bias.data();
      args.upBias = up.bias.data();
      args.out = out.data();
      cuda::packedGatedProjection(args, nullptr);
      EYRIE_VERIFY_CLOSE(out, expected, toleranceFor("packedLinear", cols), nameOf(order, dtype, cols));
    }
  });
}

void CudaPackedLinearTest::oneTokenAndManyGiveTheSameBits() {
  for (const DType dtype : kPacked) {
    const Layer layer(10, 300, dtype, 31);
    const std::vector<float> x = randomVector(7 * 300, 32);
    const std::vector<float> together = projected(layer, x, 7);
    for (std::int64_t t = 0; t < 7; ++t) {
      const std::vector<float> alone = projected(layer, {x.begin() + t * 300, x.begin() + (t + 1) * 300}, 1);
      QVERIFY(std::equal(alone.begin(), alone.end(), together.begin() + t * 10));
    }
  }
}

// In one launch, which writes no row of a token that is not there; up to two of long rows, up to one of the
// longest.
void CudaPackedLinearTest::upToFourTokensReadTheWeightsOnce() {
  for (const DType dtype : kPacked) {
    for (const auto& [cols, atOnce] : {std::pair{300, 4}, std::pair{5500, 2}, std::pair{11000, 1}}) {
      const Layer layer(3, cols, dtype, 35), up(3, cols, dtype, 37);
      const std::vector<float> x = randomVector(7 * cols, 39);
      for (std::int64_t T = 1; T <= 7; ++T) {
        const std::vector<float> exactly(x.begin(), x.begin() + T * cols);
        std::vector<float> gated(8 * 3, -1.0F);
        const std::uint64_t before = eyrie::emulator::launches();
        const std::vector<float> out = projected(layer, exactly, T);
        cuda::packedGatedProjection({exactly.data(), nullptr, 1e-6F, T, layer.rows, up.rows, nullptr, nullptr,
                                     Activation::geluTanh, gated.data()},
                                    nullptr);
        QCOMPARE(eyrie::emulator::launches() - before,
                 static_cast<std::uint64_t>(2 * ((T + atOnce - 1) / atOnce)));
        EYRIE_VERIFY_CLOSE(out, layer.expected(exactly, T), toleranceFor("packedLinear", cols),
                           nameOf("forward", dtype, cols));
        for (std::size_t i = 0; i < gated.size(); ++i)
          QCOMPARE(gated[i] == -1.0F, i >= 3 * static_cast<std::size_t>(T));
      }
    }
  }
}

void CudaPackedLinearTest::largestSumsDoNotOverflow() {
  for (const DType dtype : kPacked) {
    for (const float sign : {1.0F, -1.0F}) {
      Layer layer(2, 512, dtype, 41);
      ThreadPool pool(1);
      reference::pack(storeMatrix(std::vector<float>(1024, sign), 2, 512, DType::f32).view, dtype,
                      layer.packed.data());
      cuda::toRows(layer.view, reinterpret_cast<std::byte*>(layer.codes.data()), layer.scales.data(), pool);
      const std::vector<float> x(512, 3.0F);
      EYRIE_VERIFY_CLOSE(projected(layer, x, 1), layer.expected(x, 1), toleranceFor("packedLinear", 512),
                         dtypeName(dtype));
    }
  }
}

void CudaPackedLinearTest::notFiniteInputsSpoilTheirTokenOnly() {
  for (const DType dtype : kPacked) {
    for (const float bad : {INFINITY, -INFINITY, NAN}) {
      const Layer layer(20, 50, dtype, 51);
      std::vector<float> x = randomVector(3 * 50, 52);
      x[60] = bad;
      const std::vector<float> out = projected(layer, x, 3);
      for (std::size_t i = 0; i < out.size(); ++i) QCOMPARE(std::isnan(out[i]), i / 20 == 1);
    }
    const Layer layer(20, 50, dtype, 53);
    const std::vector<float> tiny(50, 1e-42F);
    for (const float value : projected(layer, tiny, 1)) QVERIFY(std::isfinite(value));
  }
}

void CudaPackedLinearTest::toleranceRejectsActivationsOfEightBits() {
  for (const DType dtype : kPacked) {
    const Layer layer(16, 2048, dtype, 61);
    std::vector<float> x = randomVector(2048, 62);
    const std::vector<float> expected = layer.expected(x, 1);
    for (float& value : x) value = std::round(value / 4.0F * 127.0F) * 4.0F / 127.0F;
    EYRIE_VERIFY_REJECTS(projected(layer, x, 1), expected, toleranceFor("packedLinear", 2048),
                         "x of eight bits");
  }
}

QTEST_APPLESS_MAIN(CudaPackedLinearTest)
#include "packed_linear_test.moc"
