// Products with weights: of a few rows at once, and of many.
#include <fmt/core.h>

#include <type_traits>

#include "engine/verify/card_cases.h"
#include "kernels/cuda/matmul.h"

namespace eyrie::engine::verify {
namespace {

namespace cuda = kernels::cuda;
namespace reference = kernels::reference;
using cuda::Stream;
using kernels::DType;

kernels::OpCost costOf(const kernels::MatrixView& weight, const Twin<float>& bias, std::int64_t T) {
  return opCost(kernels::LinearArgs{nullptr, weight, bias.host, T, nullptr});
}

// Two matrices that read the same normed rows, added to what was there.
CardCase projectionsCase(CardMemory& m, const CardShape& s, DType dtype, bool broken) {
  const auto x = m.normals(s.N * s.D, 5);
  const auto norm = m.normals(s.D, 0.3F);
  const MatrixTwin a = m.matrix(s.R, s.D, dtype);
  const MatrixTwin b = m.matrix(s.E, s.D, dtype);
  const auto biasA = m.normals(s.R);
  const auto biasB = m.normals(s.E);
  const auto outA = m.normals(s.N * s.R);
  const auto outB = m.normals(s.N * s.E);
  cuda::ProjectionArgs args{x.card, norm.card, kNormEps, s.N, {}, true};
  args.outputs[0] = {a.card, broken ? nullptr : biasA.card, outA.card};
  args.outputs[1] = {b.card, biasB.card, outB.card};
  const auto expected = [=] {
    const Values in = normed(x, norm, s.N);
    Values all =
        joined({product(in.data(), a.host, biasA.host, s.N), product(in.data(), b.host, biasB.host, s.N)});
    for (std::int64_t i = 0; i < outA.count; ++i) all[asSize(i)] += outA.host[i];
    for (std::int64_t i = 0; i < outB.count; ++i) all[asSize(outA.count + i)] += outB.host[i];
    return all;
  };
  return {fmt::format("norm, projections, {}", kernels::dtypeName(dtype)),
          kOpSum,
          [=](Stream stream) { cuda::projections(args, stream); },
          reader({outA, outB}),
          expected,
          sum({costOf(a.host, biasA, s.N), costOf(b.host, biasB, s.N)})};
}

// `Weight`: MatrixTwin or PackedTwin, of which `launch` takes what is on the card. Without a norm `norm` is
// empty.
template <class Weight, class Args>
CardCase gatedCase(CardMemory& m, const CardShape& s, DType dtype, void (*launch)(const Args&, Stream),
                   const Twin<float>& x, const Twin<float>& norm, bool broken) {
  const auto weight = [&] {
    if constexpr (std::is_same_v<Weight, PackedTwin>) {
      return m.packed(s.E, s.D, dtype);
    } else {
      return m.matrix(s.E, s.D, dtype);
    }
  };
  const Weight gate = weight();
  const Weight up = weight();
  const auto gateBias = m.normals(s.E);
  const auto upBias = m.normals(s.E);
  const auto out = m.room(s.N * s.E);
  const Args args{x.card,
                  norm.card,
                  kNormEps,
                  s.N,
                  broken ? up.card : gate.card,
                  broken ? gate.card : up.card,
                  gateBias.card,
                  upBias.card,
                  kernels::Activation::geluTanh,
                  out.card};
  const auto expected = [=] {
    const Values in = norm.count == 0 ? Values(x.host, x.host + x.count) : normed(x, norm, s.N);
    const Values gated = product(in.data(), gate.host, gateBias.host, s.N);
    Values result = product(in.data(), up.host, upBias.host, s.N);
    reference::gatedActivation(
        {gated.data(), result.data(), out.count, kernels::Activation::geluTanh, result.data()});
    return result;
  };
  return {fmt::format("gate, up, GeGLU, {}", kernels::dtypeName(dtype)),
          kernels::isPacked(dtype) ? kOpPacked : kOpSum,
          [=](Stream stream) { launch(args, stream); },
          reader({out}),
          expected,
          sum({costOf(gate.host, gateBias, s.N), costOf(up.host, upBias, s.N)})};
}

CardCase gatedProjectionCase(CardMemory& m, const CardShape& s, DType dtype, bool broken) {
  const auto x = m.normals(s.N * s.D, 5);
  const auto norm = m.normals(s.D, 0.3F);
  CardCase made = gatedCase<MatrixTwin>(m, s, dtype, cuda::gatedProjection, x, norm, broken);
  made.name = "norm, " + made.name + " (trap 14)";
  return made;
}

CardCase packedGatedCase(CardMemory& m, const CardShape& s, DType dtype, bool broken) {
  return gatedCase<PackedTwin>(m, s, dtype, cuda::packedGatedProjection, m.normals(s.N * s.D), {}, broken);
}

CardCase packedProjectionsCase(CardMemory& m, const CardShape& s, DType dtype, bool broken) {
  const auto x = m.normals(s.N * s.D, 5);
  const auto norm = m.normals(s.D, 0.3F);
  const PackedTwin weight = m.packed(s.E, s.D, dtype);
  const auto bias = m.normals(s.E);
  const auto out = m.room(s.N * s.E);
  cuda::PackedProjectionArgs args{x.card, norm.card, kNormEps, s.N, {}, false};
  args.outputs[0] = {weight.card, broken ? nullptr : bias.card, out.card};
  const auto expected = [=] { return product(normed(x, norm, s.N).data(), weight.host, bias.host, s.N); };
  return {fmt::format("norm, projections, {}", kernels::dtypeName(dtype)),
          kOpPacked,
          [=](Stream stream) { cuda::packedProjections(args, stream); },
          reader({out}),
          expected,
          costOf(weight.host, bias, s.N)};
}

CardCase blockLinearCase(CardMemory& m, const CardShape& s, DType dtype, bool broken) {
  const std::int64_t B = s.R / s.G;
  const auto x = m.normals(s.T * s.R);
  const MatrixTwin weight = m.matrix(s.R, B, dtype);
  const auto bias = m.normals(s.R);
  const auto out = m.room(x.count);
  const kernels::BlockLinearArgs args{x.card, weight.card, broken ? x.card : bias.card, s.T, s.G,
                                      B,      out.card};
  const auto expected = [=] {
    Values all(asSize(out.count));
    reference::blockLinear({x.host, weight.host, bias.host, s.T, s.G, B, all.data()});
    return all;
  };
  return {fmt::format("gates' blocks, {} (trap 2)", kernels::dtypeName(dtype)),
          kOpSum,
          [=](Stream stream) { cuda::blockLinear(args, stream); },
          reader({out}),
          expected,
          opCost(args)};
}

// f32, so that nothing is rounded.
CardCase operandCase(CardMemory& m, const CardShape& s, bool broken) {
  const auto x = m.normals(s.T * s.D, 5);
  const auto weight = m.normals(s.D, 0.3F);
  const auto out = m.room(x.count);
  const cuda::OperandArgs args{x.card,  broken ? nullptr : weight.card, kNormEps, s.T, s.D, DType::f32,
                               out.card};
  return {"norm as an operand",
          kOpSum,
          [=](Stream stream) { cuda::operand(args, stream); },
          reader({out}),
          [=] { return normed(x, weight, s.T); },
          opCost(kernels::RmsNormArgs{nullptr, nullptr, kNormEps, s.T, s.D, nullptr})};
}

CardCase gatedOperandCase(CardMemory& m, const CardShape& s, bool broken) {
  const auto gate = m.normals(s.T * s.E);
  const auto up = m.normals(gate.count);
  const auto gateBias = m.normals(s.E);
  const auto upBias = m.normals(s.E);
  const auto out = m.room(gate.count);
  cuda::GatedOperandArgs args;
  args.gate = gate.card;
  args.up = up.card;
  args.gateBias = gateBias.card;
  args.upBias = broken ? nullptr : upBias.card;
  args.T = s.T;
  args.E = s.E;
  args.out = out.card;
  const auto expected = [=] {
    Values a(gate.host, gate.host + gate.count);
    Values b(up.host, up.host + up.count);
    for (std::size_t i = 0; i < a.size(); ++i) {
      a[i] += gateBias.host[static_cast<std::int64_t>(i) % s.E];
      b[i] += upBias.host[static_cast<std::int64_t>(i) % s.E];
    }
    reference::gatedActivation({a.data(), b.data(), gate.count, args.activation, b.data()});
    return b;
  };
  return {"GeGLU as an operand",
          kOpElementwise,
          [=](Stream stream) { cuda::gatedOperand(args, stream); },
          reader({out}),
          expected,
          opCost(kernels::GatedActivationArgs{nullptr, nullptr, gate.count, args.activation, nullptr})};
}

// x rounded as the product rounds it, which the reference is given too.
struct OperandTwins {
  MatrixTwin stored;
  Values values;

  OperandTwins(CardMemory& m, std::int64_t T, std::int64_t cols, DType dtype)
      : stored(m.matrix(T, cols, cuda::operandType(dtype))), values(asSize(T * cols)) {
    kernels::widen(stored.host.data, stored.host.dtype, values.size(), values.data());
  }
};

// Added to what was there, as to the residual stream.
CardCase addedProductCase(CardMemory& m, const CardShape& s, DType dtype, cuda::Blas* blas, bool broken) {
  const OperandTwins x(m, s.T, s.D, dtype);
  const MatrixTwin weight = m.matrix(s.E, s.D, dtype);
  const auto bias = m.normals(s.E);
  const auto out = m.normals(s.T * s.E);
  const cuda::MatmulArgs args{x.stored.card.data, weight.card, broken ? nullptr : bias.card, s.T,
                              out.card,           true};
  const auto expected = [=] {
    Values all = product(x.values.data(), weight.host, bias.host, s.T);
    for (std::size_t i = 0; i < all.size(); ++i) all[i] += out.host[i];
    return all;
  };
  return {
      fmt::format("product on tensor cores, {}, {}", kernels::dtypeName(dtype), blas ? "cuBLAS" : "our own"),
      kOpSum,
      [=](Stream stream) { cuda::matmul(args, blas, stream); },
      reader({out}),
      expected,
      costOf(weight.host, bias, s.T)};
}

CardCase matmulCase(CardMemory& m, const CardShape& s, DType dtype, bool broken) {
  return addedProductCase(m, s, dtype, m.blas(), broken);
}

CardCase ownMatmulCase(CardMemory& m, const CardShape& s, DType dtype, bool broken) {
  return addedProductCase(m, s, dtype, nullptr, broken);
}

CardCase blockMatmulCase(CardMemory& m, const CardShape& s, DType dtype, bool broken) {
  const std::int64_t B = s.R / s.G;
  const OperandTwins x(m, s.T, s.R, dtype);
  const MatrixTwin weight = m.matrix(s.R, B, dtype);
  const auto bias = m.normals(s.R);
  const auto out = m.room(s.T * s.R);
  cuda::Blas* const blas = m.blas();
  const cuda::BlockMatmulArgs args{
      x.stored.card.data, weight.card, broken ? nullptr : bias.card, s.T, s.G, B, out.card};
  const auto expected = [=] {
    Values all(asSize(out.count));
    reference::blockLinear({x.values.data(), weight.host, bias.host, s.T, s.G, B, all.data()});
    return all;
  };
  return {fmt::format("gates' blocks on tensor cores, {} (trap 2)", kernels::dtypeName(dtype)),
          kOpSum,
          [=](Stream stream) { cuda::blockMatmul(args, blas, stream); },
          reader({out}),
          expected,
          opCost(kernels::BlockLinearArgs{nullptr, weight.host, bias.host, s.T, s.G, B, nullptr})};
}

CardCase packedMatmulCase(CardMemory& m, const CardShape& s, DType dtype, bool broken) {
  const OperandTwins x(m, s.T, s.D, dtype);
  const PackedTwin weight = m.packed(s.E, s.D, dtype);
  const auto bias = m.normals(s.E);
  const auto out = m.room(s.T * s.E);
  void* const workspace = m.bytes(cuda::packedMatmulWorkspace(s.E, s.D));
  cuda::Blas* const blas = m.blas();
  cuda::PackedMatmulArgs args{x.stored.card.data, weight.card, broken ? nullptr : bias.card, s.T, out.card};
  args.workspace = workspace;
  const auto expected = [=] { return product(x.values.data(), weight.host, bias.host, s.T); };
  return {fmt::format("product on tensor cores, {}", kernels::dtypeName(dtype)),
          kOpRounded,
          [=](Stream stream) { cuda::packedMatmul(args, blas, stream); },
          reader({out}),
          expected,
          costOf(weight.host, bias, s.T)};
}

}  // namespace

std::vector<MakeCase> cardProductCases(bool all) {
  using Make = CardCase (*)(CardMemory&, const CardShape&, DType, bool);
  std::vector<MakeCase> cases{operandCase, gatedOperandCase};
  const auto add = [&cases](Make make, DType dtype) {
    cases.emplace_back(
        [=](CardMemory& m, const CardShape& s, bool broken) { return make(m, s, dtype, broken); });
  };
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    if (!all && dtype != DType::bf16) continue;
    for (const Make make :
         {projectionsCase, gatedProjectionCase, blockLinearCase, blockMatmulCase, matmulCase, ownMatmulCase})
      add(make, dtype);
  }
  for (const DType dtype : {DType::int8, DType::int4}) {
    for (const Make make : {packedProjectionsCase, packedGatedCase, packedMatmulCase}) add(make, dtype);
  }
  return cases;
}

}  // namespace eyrie::engine::verify
