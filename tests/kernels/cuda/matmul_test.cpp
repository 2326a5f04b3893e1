#include "kernels/cuda/matmul.h"

#include <bit>

#include "tests/cuda_emulator/blas.h"
#include "tests/kernels/cuda/cuda_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

constexpr DType kDtypes[] = {DType::f32, DType::f16, DType::bf16};
constexpr DType kPacked[] = {DType::int8, DType::int4};

// The emulated cuBLAS, and none: then our own kernel computes.
struct Products {
  Products() : workspace(256), blas(workspace.data()) {}
  cuda::Blas* of(bool library) { return library ? &blas : nullptr; }

  std::vector<std::byte> workspace;
  cuda::Blas blas;
};

// x as an operand, and the f32 values it stands for.
struct Operand {
  StoredMatrix stored;
  Operand(const std::vector<float>& x, std::int64_t T, DType dtype, std::int64_t offset = 0)
      : stored(storeMatrix(x, T, static_cast<std::int64_t>(x.size()) / T, dtype, offset)) {}
  const void* data() const { return stored.view.data; }
  const std::vector<float>& values() const { return stored.values; }
};

std::vector<float> expectedOf(const std::vector<float>& x, const MatrixView& weight, const float* bias,
                              std::int64_t T) {
  std::vector<float> out(asSize(T * weight.rows));
  reference::linear({x.data(), weight, bias, T, out.data()});
  return out;
}

std::string nameOf(const std::string& order, DType dtype, std::int64_t cols, std::int64_t T, bool library) {
  return order + " " + dtypeName(dtype) + ", cols " + std::to_string(cols) + ", T " + std::to_string(T) +
         (library ? " by cuBLAS" : " by ourselves");
}

// Quantised as on the CPU, then laid out for the card; `rounded`: what the product may use of them.
struct PackedLayer {
  std::vector<std::byte> packed;
  MatrixView view;
  std::vector<uint4> codes;
  std::vector<std::uint16_t> scales;
  cuda::PackedRows rows;
  std::vector<float> bias;
  std::vector<float> rounded;

  PackedLayer(std::int64_t height, std::int64_t cols, DType dtype, std::uint32_t seed)
      : packed(asSize(packedBytes(dtype, height, cols))),
        view{packed.data(), dtype, height, cols},
        codes(asSize(height * cuda::packedRowBytes(dtype, cols) / 16)),
        scales(asSize(height * cuda::packedRowGroups(dtype, cols))),
        rows{codes.data(), scales.data(), dtype, height, cols},
        bias(randomVector(height, seed + 1)) {
    reference::pack(randomMatrix(height, cols, DType::f32, seed).view, dtype, packed.data());
    ThreadPool pool(2);
    cuda::toRows(view, reinterpret_cast<std::byte*>(codes.data()), scales.data(), pool);
    for (std::int64_t i = 0; i < height * cols; ++i)
      rounded.push_back(bf16ToFloat(floatToBf16(matrixElement(view, i / cols, i % cols))));
  }
  PackedLayer(const PackedLayer&) = delete;
  PackedLayer& operator=(const PackedLayer&) = delete;
};

// A matrix of results of either type, in an exactly sized array.
struct Results {
  DType dtype;
  std::vector<unsigned char> bytes;
  Results(std::int64_t count, DType of) : dtype(of), bytes(asSize(count) * dtypeSize(of), 0xff) {}
  void* data() { return bytes.data(); }
  std::vector<float> values() const {
    std::vector<float> all(bytes.size() / dtypeSize(dtype));
    widen(bytes.data(), dtype, all.size(), all.data());
    return all;
  }
};

std::vector<float> product(const PackedLayer& layer, const Operand& x, std::int64_t T, cuda::Blas* blas,
                           DType outType = DType::f32) {
  Results out(T * layer.rows.rows, outType);
  std::vector<uint4> workspace(
      asSize((cuda::packedMatmulWorkspace(layer.rows.rows, layer.rows.cols) + 15) / 16));
  cuda::packedMatmul(
      {x.data(), layer.rows, layer.bias.data(), T, out.data(), false, outType, workspace.data()}, blas,
      nullptr);
  return out.values();
}

}  // namespace

class CudaMatmulTest : public QObject {
  Q_OBJECT

 private slots:
  void matchesReferenceForEveryShape();
  void accumulatesOntoTheResidualStream();
  void resultsMayBeRoundedToBf16();
  void whatCublasDoesNotKnowWeComputeOurselves();
  void blocksMatchReference();
  void trap2BlocksContractOverTheFirstIndex();
  void packedWeightsMatchReference();
  void packedSlicesJoin();
  void operandsAreTheNormRoundedOnce();
  void operandsOfHalvesSaturate();
  void gatedOperandsMatchReference();
  void tolerancesRejectBrokenVariants();
  void cublasWithoutWorkspaceIsAnError();
};

void CudaMatmulTest::matchesReferenceForEveryShape() {
  Products products;
  forEachOrder([&](const std::string& order) {
    for (const DType dtype : kDtypes) {
      for (const std::int64_t cols : {1, 7, 32, 65, 104}) {
        // A block and less, several of them, and rows that cannot be read 16 bytes at a time.
        const std::int64_t T = cols == 65 ? 130 : cols == 32 ? 9 : 20;
        const std::int64_t rows = cols == 104 ? 70 : 1 + cols % 19;
        const std::int64_t offset = cols == 32 ? 1 : 0;
        const StoredMatrix weight = randomMatrix(rows, cols, dtype, 1, offset);
        const std::vector<float> bias = randomVector(rows, 2);
        const Operand x(randomVector(T * cols, 3), T, dtype, offset);
        const std::vector<float> expected = expectedOf(x.values(), weight.view, bias.data(), T);
        for (const bool library : {true, false}) {
          std::vector<float> out(expected.size(), NAN);
          cuda::matmul({x.data(), weight.view, bias.data(), T, out.data()}, products.of(library), nullptr);
          EYRIE_VERIFY_CLOSE(out, expected, toleranceFor("matmul", cols),
                             nameOf(order, dtype, cols, T, library));
        }
      }
    }
  });
}

void CudaMatmulTest::accumulatesOntoTheResidualStream() {
  Products products;
  for (const bool library : {true, false}) {
    const StoredMatrix weight = randomMatrix(33, 48, DType::bf16, 11);
    const std::vector<float> bias = randomVector(33, 12);
    const Operand x(randomVector(11 * 48, 13), 11, DType::bf16);
    std::vector<float> hidden = randomVector(11 * 33, 14);
    std::vector<float> expected = expectedOf(x.values(), weight.view, bias.data(), 11);
    for (std::size_t i = 0; i < hidden.size(); ++i) expected[i] += hidden[i];
    cuda::matmul({x.data(), weight.view, bias.data(), 11, hidden.data(), true}, products.of(library),
                 nullptr);
    EYRIE_VERIFY_CLOSE(hidden, expected, toleranceFor("matmul", 48),
                       nameOf("", DType::bf16, 48, 11, library));
  }
}

void CudaMatmulTest::resultsMayBeRoundedToBf16() {
  Products products;
  const std::int64_t T = 11, rows = 35, cols = 40;
  const StoredMatrix weight = randomMatrix(rows, cols, DType::bf16, 15);
  const std::vector<float> bias = randomVector(rows, 16);
  const Operand x(randomVector(T * cols, 17), T, DType::bf16);
  const PackedLayer layer(rows, cols, DType::int8, 18);
  for (const bool library : {true, false}) {
    std::vector<float> whole(asSize(T * rows));
    Results halves(T * rows, DType::bf16);
    cuda::matmul({x.data(), weight.view, bias.data(), T, whole.data()}, products.of(library), nullptr);
    cuda::matmul({x.data(), weight.view, bias.data(), T, halves.data(), false, DType::bf16},
                 products.of(library), nullptr);
    QCOMPARE(halves.values(), storeMatrix(whole, T, rows, DType::bf16).values);
    const std::vector<float> ofPacked = product(layer, x, T, products.of(library));
    QCOMPARE(product(layer, x, T, products.of(library), DType::bf16),
             storeMatrix(ofPacked, T, rows, DType::bf16).values);
  }
}

void CudaMatmulTest::whatCublasDoesNotKnowWeComputeOurselves() {
  Products products;
  const StoredMatrix weight = randomMatrix(20, 40, DType::bf16, 21);
  const Operand x(randomVector(10 * 40, 22), 10, DType::bf16);
  const std::vector<float> expected = expectedOf(x.values(), weight.view, nullptr, 10);
  std::vector<float> out(expected.size(), NAN);
  const std::uint64_t before = eyrie::emulator::blasProducts();
  eyrie::emulator::letBlasKnow(false);
  cuda::matmul({x.data(), weight.view, nullptr, 10, out.data()}, &products.blas, nullptr);
  eyrie::emulator::letBlasKnow(true);
  EYRIE_VERIFY_CLOSE(out, expected, toleranceFor("matmul", 40), "without an algorithm");
  QCOMPARE(eyrie::emulator::blasProducts(), before);
  cuda::matmul({x.data(), weight.view, nullptr, 10, out.data()}, &products.blas, nullptr);
  QCOMPARE(eyrie::emulator::blasProducts(), before + 1);
}

void CudaMatmulTest::blocksMatchReference() {
  Products products;
  forEachOrder([&](const std::string& order) {
    for (const DType dtype : kDtypes) {
      for (const std::int64_t B : {32, 33}) {
        const std::int64_t G = 3, N = B == 32 ? 72 : 5, T = 17;
        const StoredMatrix weight = randomMatrix(G * B, N, dtype, 31);
        const std::vector<float> bias = randomVector(G * N, 32);
        const Operand x(randomVector(T * G * B, 33), T, dtype);
        std::vector<float> expected(asSize(T * G * N));
        reference::blockLinear({x.values().data(), weight.view, bias.data(), T, G, B, expected.data()});
        for (const bool library : {true, false}) {
          std::vector<float> out(expected.size(), NAN);
          cuda::blockMatmul({x.data(), weight.view, bias.data(), T, G, B, out.data()}, products.of(library),
                            nullptr);
          EYRIE_VERIFY_CLOSE(out, expected, toleranceFor("matmul", B), nameOf(order, dtype, B, T, library));
        }
      }
    }
  });
}

void CudaMatmulTest::trap2BlocksContractOverTheFirstIndex() {
  Products products;
  const std::int64_t B = 16, T = 9;
  const std::vector<float> values = randomVector(B * B, 41);
  std::vector<float> turned(values.size());
  for (std::int64_t i = 0; i < B * B; ++i) turned[asSize(i % B * B + i / B)] = values[asSize(i)];
  const StoredMatrix weight = storeMatrix(values, B, B, DType::f32);
  const StoredMatrix transposed = storeMatrix(turned, B, B, DType::f32);
  const std::vector<float> x = randomVector(T * B, 42);
  std::vector<float> expected(asSize(T * B)), out(expected.size());
  reference::blockLinear({x.data(), weight.view, nullptr, T, 1, B, expected.data()});
  for (const bool library : {true, false}) {
    cuda::blockMatmul({x.data(), transposed.view, nullptr, T, 1, B, out.data()}, products.of(library),
                      nullptr);
    EYRIE_VERIFY_REJECTS(out, expected, toleranceFor("matmul", B), "transposed");
  }
}

void CudaMatmulTest::packedWeightsMatchReference() {
  Products products;
  forEachOrder([&](const std::string& order) {
    for (const DType dtype : kPacked) {
      for (const std::int64_t cols : {1, 40, 77, 264}) {
        const std::int64_t T = cols == 77 ? 130 : 12;
        const PackedLayer layer(cols == 40 ? 67 : 5, cols, dtype, 51);
        const std::vector<float> x = randomVector(T * cols, 53);
        const Operand operand(x, T, DType::bf16);
        const StoredMatrix rounded = storeMatrix(layer.rounded, layer.rows.rows, cols, DType::f32);
        const std::vector<float> expected = expectedOf(operand.values(), rounded.view, layer.bias.data(), T);
        const std::vector<float> exact = expectedOf(x, layer.view, layer.bias.data(), T);
        for (const bool library : {true, false}) {
          const std::vector<float> out = product(layer, operand, T, products.of(library));
          EYRIE_VERIFY_CLOSE(out, expected, toleranceFor("matmul", cols),
                             nameOf(order, dtype, cols, T, library));
          EYRIE_VERIFY_CLOSE(out, exact, toleranceFor("roundedMatmul", cols), "from what was not rounded");
        }
      }
    }
  });
}

void CudaMatmulTest::packedSlicesJoin() {
  Products products;
  const std::int64_t cols = (std::int64_t{8} << 20) + 8;  // two rows are more than a slice holds
  QCOMPARE(cuda::packedMatmulWorkspace(3, cols), 2 * cols);
  QCOMPARE(cuda::packedMatmulWorkspace(3, 100), 600);
  QCOMPARE(cuda::packedMatmulWorkspace(1 << 20, 2560), std::int64_t{6528} * 2 * 2560);
  // Ones, so that the sums are whatever the order.
  std::vector<uint4> codes(asSize(3 * cuda::packedRowBytes(DType::int4, cols) / 16));
  std::vector<std::uint16_t> scales(asSize(3 * cuda::packedRowGroups(DType::int4, cols)), 0x3f80);
  for (uint4& word : codes) word = {0x88888888U, 0x88888888U, 0x88888888U, 0x88888888U};
  const auto bytesOfRow = asSize(cuda::packedRowBytes(DType::int4, cols));
  for (std::size_t row = 0; row < 3; ++row)
    reinterpret_cast<unsigned char*>(codes.data())[row * bytesOfRow] = static_cast<unsigned char>(0x89 + row);
  std::vector<std::uint16_t> x(asSize(cols), floatToBf16(1.0F));
  std::vector<float> out(3, NAN);
  std::vector<uint4> workspace(asSize(cuda::packedMatmulWorkspace(3, cols) / 16));
  cuda::packedMatmul({x.data(),
                      {codes.data(), scales.data(), DType::int4, 3, cols},
                      nullptr,
                      1,
                      out.data(),
                      false,
                      DType::f32,
                      workspace.data()},
                     &products.blas, nullptr);
  QCOMPARE(out, (std::vector<float>{1, 2, 3}));
}

void CudaMatmulTest::operandsAreTheNormRoundedOnce() {
  forEachOrder([](const std::string& order) {
    for (const DType dtype : kDtypes) {
      for (const std::int64_t D : {1, 37, 1100}) {
        const std::int64_t T = 3;
        const std::vector<float> x = randomVector(T * D, 61, 3.0F);
        const std::vector<float> w = randomVector(D, 62, 0.3F);
        std::vector<float> normed(x.size());
        reference::rmsNorm({x.data(), w.data(), 1e-6F, T, D, normed.data()});
        Operand out(std::vector<float>(x.size(), NAN), T, dtype);
        auto* const to = const_cast<void*>(out.data());
        cuda::operand({x.data(), w.data(), 1e-6F, T, D, dtype, to}, nullptr);
        const double rounding = dtype == DType::f32 ? 0.0 : dtype == DType::bf16 ? 1.0 / 256 : 1.0 / 2048;
        for (std::size_t i = 0; i < x.size(); ++i) {
          const double error = std::abs(loadAsFloat(out.data(), dtype, i) - normed[i]);
          QVERIFY2(error <= std::abs(normed[i]) * (rounding + 2e-6) + 3e-8,
                   qPrintable(QString::fromStdString(order + " " + dtypeName(dtype))));
        }
        cuda::operand({x.data(), nullptr, 1e-6F, T, D, dtype, to}, nullptr);
        const Operand expected(x, T, dtype);
        for (std::size_t i = 0; i < x.size(); ++i)
          QCOMPARE(loadAsFloat(out.data(), dtype, i), expected.values()[i]);
      }
    }
  });
}

void CudaMatmulTest::operandsOfHalvesSaturate() {
  const std::vector<float> x{70000.0F, -1e30F, 65519.0F, NAN, INFINITY};
  std::vector<std::uint16_t> out(x.size());
  cuda::operand({x.data(), nullptr, 0, 1, 5, DType::f16, out.data()}, nullptr);
  QCOMPARE(f16ToFloat(out[0]), 65504.0F);
  QCOMPARE(f16ToFloat(out[1]), -65504.0F);
  QCOMPARE(f16ToFloat(out[2]), 65504.0F);
  QVERIFY(std::isnan(f16ToFloat(out[3])));
  QCOMPARE(f16ToFloat(out[4]), 65504.0F);
}

void CudaMatmulTest::gatedOperandsMatchReference() {
  forEachOrder([](const std::string& order) {
    for (const bool biased : {true, false}) {
      for (const std::int64_t E : {5, 1032}) {
        const std::int64_t T = 3, n = T * E;
        const std::vector<float> gate = randomVector(n, 71), up = randomVector(n, 72);
        const std::vector<float> gateBias = randomVector(E, 73), upBias = randomVector(E, 74);
        std::vector<float> gates = gate, ups = up, expected(gate.size()), out(gate.size(), NAN);
        for (std::int64_t i = 0; biased && i < n; ++i) {
          gates[asSize(i)] += gateBias[asSize(i % E)];
          ups[asSize(i)] += upBias[asSize(i % E)];
        }
        reference::gatedActivation({gates.data(), ups.data(), n, Activation::geluTanh, expected.data()});
        cuda::GatedOperandArgs args;
        args.gate = gate.data();
        args.up = up.data();
        args.gateBias = biased ? gateBias.data() : nullptr;
        args.upBias = biased ? upBias.data() : nullptr;
        args.T = T;
        args.E = E;
        args.out = out.data();
        cuda::gatedOperand(args, nullptr);
        EYRIE_VERIFY_CLOSE(out, expected, toleranceFor("gatedActivation", 1), order);
        const Operand rounded(out, T, DType::bf16);
        std::vector<std::uint16_t> halves(out.size());
        args.dtype = DType::bf16;
        args.out = halves.data();
        cuda::gatedOperand(args, nullptr);
        for (std::size_t i = 0; i < halves.size(); ++i) QCOMPARE(bf16ToFloat(halves[i]), rounded.values()[i]);
        // And from bf16: as from what those stand for.
        const Operand gate16(gate, T, DType::bf16), up16(up, T, DType::bf16);
        std::vector<std::uint16_t> from16(out.size());
        args.gate = gate16.values().data();
        args.up = up16.values().data();
        cuda::gatedOperand(args, nullptr);
        args.inputType = DType::bf16;
        args.gate = gate16.data();
        args.up = up16.data();
        args.out = from16.data();
        cuda::gatedOperand(args, nullptr);
        QCOMPARE(from16, halves);
      }
    }
  });
}

void CudaMatmulTest::tolerancesRejectBrokenVariants() {
  Products products;
  const std::int64_t cols = 1024, T = 9;
  for (const bool library : {true, false}) {
    const StoredMatrix weight = randomMatrix(8, cols, DType::f32, 81);
    const std::vector<float> bias = randomVector(8, 82, 0.01F);
    std::vector<float> x = randomVector(T * cols, 83);
    const std::vector<float> expected = expectedOf(x, weight.view, bias.data(), T);
    std::vector<float> out(expected.size());
    const double bound = toleranceFor("matmul", cols);
    const auto compute = [&](const MatrixView& w, const float* b) {
      cuda::matmul({x.data(), w, b, T, out.data()}, products.of(library), nullptr);
    };
    compute(weight.view, nullptr);
    EYRIE_VERIFY_REJECTS(out, expected, bound, "no bias (trap 13)");
    // TF32 keeps ten bits of the mantissa.
    std::vector<float> tf32 = weight.values;
    for (float& value : tf32)
      value = std::bit_cast<float>((std::bit_cast<unsigned>(value) + 0x1000U) & ~0x1fffU);
    compute(storeMatrix(tf32, 8, cols, DType::f32).view, bias.data());
    EYRIE_VERIFY_REJECTS(out, expected, bound, "TF32");
    for (std::int64_t t = 0; t < T; ++t) x[asSize((t + 1) * cols - 1)] = 0;
    compute(weight.view, bias.data());
    EYRIE_VERIFY_REJECTS(out, expected, bound, "last column left out");
  }
  // Four bits more lost than bf16 loses are seen even from what was not rounded.
  const PackedLayer layer(8, cols, DType::int8, 91);
  std::vector<float> x = randomVector(T * cols, 92);
  const std::vector<float> exact = expectedOf(x, layer.view, layer.bias.data(), T);
  for (float& value : x) value = std::bit_cast<float>(std::bit_cast<unsigned>(value) & 0xfff00000U);
  EYRIE_VERIFY_REJECTS(product(layer, Operand(x, T, DType::bf16), T, &products.blas), exact,
                       toleranceFor("roundedMatmul", cols), "operand of fewer bits");
}

void CudaMatmulTest::cublasWithoutWorkspaceIsAnError() {
  QVERIFY_EXCEPTION_THROWN(cuda::Blas(nullptr), cuda::CudaError);
}

QTEST_APPLESS_MAIN(CudaMatmulTest)
#include "matmul_test.moc"
