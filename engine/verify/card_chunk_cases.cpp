// Ops of chunks of many rows.
#include <fmt/core.h>

#include <algorithm>
#include <numeric>

#include "engine/verify/card_cases.h"

namespace eyrie::engine::verify {
namespace {

namespace cuda = kernels::cuda;
namespace reference = kernels::reference;
using cuda::Stream;
using kernels::DType;

CardCase rmsNormCase(CardMemory& m, const CardShape& s, bool broken) {
  const auto x = m.normals(s.T * s.D, 1e-3F);
  const auto weight = m.normals(s.D, 0.1F);
  const auto out = m.room(x.count);
  const kernels::RmsNormArgs args{x.card, weight.card, broken ? 1e-5F : kNormEps, s.T, s.D, out.card};
  return {"norm (trap 16)",
          kOpSum,
          [=](Stream stream) { cuda::rmsNorm(args, stream); },
          reader({out}),
          [=] { return normed(x, weight, s.T); },
          opCost(args)};
}

CardCase activationCase(CardMemory& m, const CardShape& s, kernels::Activation kind, bool broken) {
  const auto gate = m.normals(s.T * s.E, 3);
  const auto up = m.normals(gate.count);
  const auto out = m.room(gate.count);
  const kernels::GatedActivationArgs args{broken ? up.card : gate.card, broken ? gate.card : up.card,
                                          gate.count, kind, out.card};
  const auto expected = [=] {
    Values all(asSize(out.count));
    reference::gatedActivation({gate.host, up.host, gate.count, kind, all.data()});
    return all;
  };
  return {fmt::format("gated activation, kind {} (trap 14)", static_cast<int>(kind)),
          kOpElementwise,
          [=](Stream stream) { cuda::gatedActivation(args, stream); },
          reader({out}),
          expected,
          opCost(args)};
}

// Rows of two sequences: a third of them from position 0 on, the others from `position` on.
struct TwoSequences {
  std::int64_t second;  // first row of it
  cuda::SequenceRows rows;

  TwoSequences(CardMemory& m, std::int64_t T, std::int64_t position, bool firstBegins = true)
      : second(T / 3) {
    std::vector<std::int64_t> positions;
    std::vector<std::int32_t> owners;
    for (std::int64_t t = 0; t < T; ++t) {
      owners.push_back(t < second ? 0 : 1);
      positions.push_back(t < second ? t + (firstBegins ? 0 : 1) : position + t - second);
    }
    rows = {m.put(std::vector<std::int64_t>{0, second, T}).card, m.put(owners).card, m.put(positions).card,
            2};
  }
};

CardCase conv1dCase(CardMemory& m, const CardShape& s, bool broken) {
  const auto x = m.normals(s.T * s.R);
  const auto rings = m.normals(2 * s.K * s.R);
  const auto weight = m.normals(s.K * s.R);
  const auto bias = m.normals(s.R);
  const auto out = m.room(x.count);
  const TwoSequences two(m, s.T, broken ? 0 : s.position);
  const auto ringsOf = m.put(std::vector<float*>{rings.card, rings.card + s.K * s.R});
  const cuda::ConvRingArgs args{x.card, ringsOf.card, weight.card, bias.card, two.rows,
                                s.T,    s.R,          s.K,         out.card};
  const std::int64_t second = two.second;
  const auto expected = [=] {
    Values tail(asSize((s.K - 1) * s.R), 0.0F);
    Values all(asSize(out.count));
    reference::conv1d({x.host, tail.data(), weight.host, bias.host, second, s.R, s.K, all.data()});
    tail.clear();  // of the second ring, oldest first
    for (std::int64_t p = s.position - s.K + 1; p < s.position; ++p) {
      const float* const row = rings.host + (s.K + p % s.K) * s.R;
      tail.insert(tail.end(), row, row + s.R);
    }
    reference::conv1d({x.host + second * s.R, tail.data(), weight.host, bias.host, s.T - second, s.R, s.K,
                       all.data() + second * s.R});
    return all;
  };
  return {"convolution, two sequences (traps 10, 11)",
          kOpSum,
          [=](Stream stream) { cuda::conv1d(args, stream); },
          reader({out}),
          expected,
          opCost(kernels::Conv1dArgs{nullptr, nullptr, nullptr, nullptr, s.T, s.R, s.K, nullptr})};
}

CardCase rgLruCase(CardMemory& m, const CardShape& s, bool broken) {
  const auto x = m.normals(s.T * s.R);
  const auto recurrence = m.normals(x.count, 2);
  const auto input = m.normals(x.count, 2);
  const auto rate = m.decayRates(s.R);
  const auto states = m.normals(2 * s.R);
  const auto out = m.room(x.count);
  const TwoSequences two(m, s.T, 7, !broken);
  const auto statesOf = m.put(std::vector<float*>{states.card, states.card + s.R});
  cuda::RgLruBatchArgs args;
  args.rows = {x.card, recurrence.card, input.card, rate.card, nullptr, false, s.T, s.R, out.card, {}};
  args.states = statesOf.card;
  args.sequences = two.rows;
  const std::int64_t second = two.second;
  const auto expected = [=] {
    Values h(states.host, states.host + states.count);
    Values all(asSize(out.count));
    const auto scan = [&](std::int64_t first, std::int64_t end, float* state, bool starts) {
      const std::int64_t at = first * s.R;
      reference::rgLru({x.host + at,
                        recurrence.host + at,
                        input.host + at,
                        rate.host,
                        state,
                        starts,
                        end - first,
                        s.R,
                        all.data() + at,
                        {}});
    };
    scan(0, second, h.data(), true);
    scan(second, s.T, h.data() + s.R, false);
    return joined({all, h});
  };
  return {"RG-LRU, two sequences (traps 5, 7)",
          kOpScan,
          [=](Stream stream) { cuda::rgLru(args, stream); },
          reader({out, states}),
          expected,
          opCost(args.rows)};
}

CardCase complexRgLruCase(CardMemory& m, const CardShape& s, bool broken) {
  const std::int64_t C = s.R / 2;
  const auto x = m.normals(s.T * s.R);
  const auto recurrence = m.normals(s.T * C, 2);
  const auto input = m.normals(s.T * C, 2);
  const auto rate = m.decayRates(C);
  const auto angle = m.normals(C);
  const auto state = m.normals(s.R);
  const auto out = m.room(x.count);
  float* const workspace = m.room(cuda::complexRgLruWorkspace(s.T, C)).card;
  const kernels::ComplexRgLruArgs args{x.card,
                                       broken ? input.card : recurrence.card,
                                       broken ? recurrence.card : input.card,
                                       rate.card,
                                       angle.card,
                                       state.card,
                                       false,
                                       s.T,
                                       C,
                                       out.card,
                                       {}};
  const auto expected = [=] {
    Values h(state.host, state.host + state.count);
    Values all(asSize(out.count));
    reference::complexRgLru({x.host,
                             recurrence.host,
                             input.host,
                             rate.host,
                             angle.host,
                             h.data(),
                             false,
                             s.T,
                             C,
                             all.data(),
                             {}});
    return joined({all, h});
  };
  return {"RG-LRU with complex states (trap 3)",
          kOpScan,
          [=](Stream stream) { cuda::complexRgLru(args, workspace, stream); },
          reader({out, state}),
          expected,
          opCost(args)};
}

CardCase ropeCase(CardMemory& m, const CardShape& s, bool broken) {
  const std::int64_t rotary = s.rotary();
  const std::int64_t first = 100'000;
  std::vector<std::int64_t> numbers(asSize(s.T));
  std::iota(numbers.begin(), numbers.end(), broken ? first + 1 : first);
  const auto positions = m.put(numbers);
  const auto x = m.normals(s.T * s.H * s.Dh);
  const auto table = m.room(s.T * rotary);
  const auto enqueue = [=](Stream stream) {
    cuda::ropeTable({positions.card, 10000.0, s.T, rotary, table.card}, stream);
    cuda::rope({x.card, table.card, s.T, s.H, s.Dh, rotary}, stream);
  };
  const auto expected = [=] {
    Values all(x.host, x.host + x.count);
    reference::rope({all.data(), first, 10000.0, s.T, s.H, s.Dh, rotary});
    return all;
  };
  const auto n = static_cast<double>(x.count);
  return {"RoPE at 100,000 (traps 20, 21)", kOpSum, enqueue, reader({x}), expected, {8 * n, 6 * n}};
}

// A chunk behind `position` tokens that the ring holds.
struct AttentionTwins {
  Twin<float> q, k, v, keys, values, out, statistics;
  kernels::AttentionArgs host, card;

  // `dtype` bf16: rounded to it, as tensor cores do.
  AttentionTwins(CardMemory& m, const CardShape& s, DType dtype)
      : q(drawn(m, s.T * s.H * s.Dh, 2, dtype)),
        k(drawn(m, s.T * s.kvHeads * s.Dh, 1, dtype)),
        v(drawn(m, k.count, 1, dtype)),
        keys(drawn(m, (s.older + 1) * s.kvHeads * s.Dh, 1, dtype)),
        values(drawn(m, keys.count, 1, dtype)),
        out(m.room(q.count)),
        statistics(m.room(2 * s.T * s.H)) {
    host = {q.host,    k.host, v.host,  {keys.host, values.host, s.older + 1}, s.position, s.older, s.T, s.H,
            s.kvHeads, s.Dh,   out.host};
    card = host;
    card.q = q.card;
    card.k = k.card;
    card.v = v.card;
    card.ring = {keys.card, values.card, s.older + 1};
    card.out = out.card;
  }
  static Twin<float> drawn(CardMemory& m, std::int64_t n, float scale, DType dtype) {
    const Twin<float> all = m.normals(n, scale);
    if (dtype == DType::f32) return all;
    Values rounded(all.host, all.host + n);
    for (float& value : rounded) value = kernels::bf16ToFloat(kernels::floatToBf16(value));
    return m.put(std::move(rounded));
  }
  Values expected() const {
    reference::attention(host);
    return {out.host, out.host + out.count};
  }
};

CardCase attentionCase(CardMemory& m, const CardShape& s, bool broken) {
  const AttentionTwins t(m, s, DType::f32);
  kernels::AttentionArgs args = t.card;
  if (broken) --args.older;
  return {"attention of a chunk (traps 22, 23, 26)",
          kOpAttention,
          [=](Stream stream) { cuda::attention(args, t.statistics.card, stream); },
          reader({t.out}),
          [=] { return t.expected(); },
          opCost(args)};
}

CardCase tensorAttentionCase(CardMemory& m, const CardShape& s, bool broken) {
  const AttentionTwins t(m, s, DType::bf16);
  kernels::AttentionArgs args = t.card;
  if (broken) args.older -= 3;
  const std::int64_t positions = std::min(s.older, s.position) + s.T;
  void* const workspace = m.bytes(cuda::tensorAttentionWorkspace(positions, s.kvHeads, s.Dh));
  return {"attention of a chunk on tensor cores (trap 22)",
          kOpTensorAttention,
          [=](Stream stream) {
            cuda::tensorAttention({args, nullptr, t.statistics.card, workspace}, stream);
          },
          reader({t.out}),
          [=] { return t.expected(); },
          opCost(args)};
}

CardCase ringAppendCase(CardMemory& m, const CardShape& s, bool broken) {
  const std::int64_t capacity = s.older + 1;
  const std::int64_t row = s.kvHeads * s.Dh;
  const auto k = m.normals(s.T * row);
  const auto v = m.normals(k.count);
  const auto keys = m.normals(capacity * row);
  const auto values = m.normals(keys.count);
  const std::int64_t first = broken ? s.position + 1 : s.position;
  const kernels::RingAppendArgs args{k.card,    v.card, {keys.card, values.card, capacity}, first, s.T,
                                     s.kvHeads, s.Dh};
  const auto expected = [=] {
    Values a(keys.host, keys.host + keys.count);
    Values b(values.host, values.host + values.count);
    kernels::ringAppend({k.host, v.host, {a.data(), b.data(), capacity}, s.position, s.T, s.kvHeads, s.Dh});
    return joined({a, b});
  };
  const auto moved = static_cast<double>(std::min(s.T, capacity) * row);
  return {"ring (trap 23)",       kSameBits, [=](Stream stream) { cuda::ringAppend(args, stream); },
          reader({keys, values}), expected,  {16 * moved, 0}};
}

// Odd rows doubled, and the whole added to what was there.
CardCase editsCase(CardMemory& m, const CardShape& s, bool broken) {
  const auto rows = m.normals(s.T * s.D);
  const auto hidden = m.normals(rows.count);
  std::vector<cuda::ColumnEdit> all{{0, s.T, 3, 9, 2.5F, 0}, {1, 5, 5, s.D, -2.0F, 1}};
  const auto count = m.put(std::vector<std::int64_t>{broken ? 1 : 2});
  const auto edits = m.put(all);
  const auto enqueue = [=](Stream stream) {
    cuda::editColumns({rows.card, edits.card, count.card, s.T, s.D}, stream);
    cuda::addTo({hidden.card, rows.card, rows.count}, stream);
  };
  const auto expected = [=] {
    Values edited(rows.host, rows.host + rows.count);
    for (std::int64_t t = 0; t < s.T; ++t) {
      for (std::int64_t i = 3; i < 9; ++i) edited[asSize(t * s.D + i)] = 2.5F;
      for (std::int64_t i = 5; i < s.D && t >= 1 && t < 5; ++i) edited[asSize(t * s.D + i)] *= -2.0F;
    }
    for (std::int64_t i = 0; i < rows.count; ++i) edited[asSize(i)] += hidden.host[i];
    return edited;
  };
  return {"edits of columns, added",
          kOpElementwise,
          enqueue,
          reader({hidden}),
          expected,
          {12.0 * static_cast<double>(rows.count), static_cast<double>(rows.count)}};
}

}  // namespace

std::vector<MakeCase> cardChunkCases(bool all, bool tensorCores) {
  std::vector<MakeCase> cases{rmsNormCase, conv1dCase,    rgLruCase,     complexRgLruCase,
                              ropeCase,    attentionCase, ringAppendCase};
  if (tensorCores) cases.emplace_back(tensorAttentionCase);
  if (all) cases.emplace_back(editsCase);
  using kernels::Activation;
  for (const Activation kind : {Activation::geluTanh, Activation::silu, Activation::gelu, Activation::relu}) {
    if (!all && kind != Activation::geluTanh) continue;
    cases.emplace_back([kind](CardMemory& m, const CardShape& s, bool broken) {
      return activationCase(m, s, kind, broken);
    });
  }
  return cases;
}

}  // namespace eyrie::engine::verify
