// Ops of single tokens, most of them fused, against their parts.
#include <fmt/core.h>

#include <algorithm>

#include "engine/verify/card_cases.h"

namespace eyrie::engine::verify {
namespace {

namespace cuda = kernels::cuda;
namespace reference = kernels::reference;
using cuda::Stream;
using kernels::DType;

// What both forms of a recurrent step read. Sequence n stands at position n: the first one begins.
struct RecurrentTwins {
  CardShape s;
  std::int64_t C;  // R, or channels of two parts
  Twin<float> x, y, convWeight, convBias, inputBias, recurrenceBias, rate, rings, states, out;
  MatrixTwin input, recurrence;
  Twin<std::int64_t> positions;
  Twin<float*> ringsOf, statesOf;

  RecurrentTwins(CardMemory& m, const CardShape& shape, DType dtype, std::int64_t channels)
      : s(shape),
        C(channels),
        x(m.normals(s.N * s.R)),
        y(m.normals(s.N * s.R)),
        convWeight(m.normals(s.K * s.R)),
        convBias(m.normals(s.R)),
        inputBias(m.normals(C)),
        recurrenceBias(m.normals(C)),
        rate(m.decayRates(C)),
        rings(m.normals(s.N * s.K * s.R)),
        states(m.normals(s.N * s.R)),
        out(m.room(s.N * s.R)),
        input(m.matrix(s.R, C / s.G, dtype)),
        recurrence(m.matrix(s.R, C / s.G, dtype)) {
    std::vector<std::int64_t> numbers;
    std::vector<float*> ofRings;
    std::vector<float*> ofStates;
    for (std::int64_t n = 0; n < s.N; ++n) {
      numbers.push_back(n);
      ofRings.push_back(rings.card + n * s.K * s.R);
      ofStates.push_back(states.card + n * s.R);
    }
    positions = m.put(numbers);
    ringsOf = m.put(ofRings);
    statesOf = m.put(ofStates);
  }

  cuda::RecurrentStepArgs args(bool broken) const {
    cuda::RecurrentStepArgs args;
    args.x = x.card;
    args.y = y.card;
    args.convWeight = convWeight.card;
    args.convBias = convBias.card;
    args.inputGate = broken ? recurrence.card : input.card;
    args.recurrenceGate = broken ? input.card : recurrence.card;
    args.inputGateBias = inputBias.card;
    args.recurrenceGateBias = recurrenceBias.card;
    args.decayRate = rate.card;
    args.convRings = ringsOf.card;
    args.states = statesOf.card;
    args.positions = positions.card;
    args.N = s.N;
    args.R = s.R;
    args.G = s.G;
    args.K = s.K;
    args.out = out.card;
    return args;
  }

  // Convolution and gates' sums of sequence n, by the reference.
  struct Before {
    Values c, input, recurrence;
  };
  Before before(std::int64_t n) const {
    Before b{Values(asSize(s.R)), Values(asSize(C)), Values(asSize(C))};
    Values tail(asSize((s.K - 1) * s.R));  // inputs of positions n - K + 1 .. n - 1, zeros before position 0
    for (std::int64_t back = 1; back < s.K; ++back) {
      if (back > n) continue;
      const float* const from = rings.host + (n * s.K + (n - back) % s.K) * s.R;
      std::copy_n(from, s.R, tail.begin() + (s.K - 1 - back) * s.R);
    }
    reference::conv1d(
        {x.host + n * s.R, tail.data(), convWeight.host, convBias.host, 1, s.R, s.K, b.c.data()});
    const std::int64_t B = s.R / s.G;
    reference::blockLinear({b.c.data(), input.host, inputBias.host, 1, s.G, B, b.input.data()});
    reference::blockLinear(
        {b.c.data(), recurrence.host, recurrenceBias.host, 1, s.G, B, b.recurrence.data()});
    return b;
  }

  // Outputs of all sequences, then their states; scan(n, before, h, out) is the recurrence by the reference.
  template <class Scan>
  Values expected(const Scan& scan) const {
    Values outs;
    Values hs;
    for (std::int64_t n = 0; n < s.N; ++n) {
      Values h(states.host + n * s.R, states.host + (n + 1) * s.R);
      Values row(asSize(s.R));
      scan(n, before(n), h, row);
      reference::gatedActivation(
          {y.host + n * s.R, row.data(), s.R, kernels::Activation::geluTanh, row.data()});
      outs = joined({outs, row});
      hs = joined({hs, h});
    }
    return joined({outs, hs});
  }

  kernels::OpCost cost() const {
    const kernels::BlockLinearArgs gates{nullptr, input.host, inputBias.host, s.N, s.G, s.R / s.G, nullptr};
    const double moved = 4.0 * static_cast<double>(s.N * s.R * (s.K + 4));
    return sum({opCost(gates), opCost(gates), {moved, static_cast<double>(s.N * s.R * (2 * s.K + 20))}});
  }
};

CardCase recurrentStepCase(CardMemory& m, const CardShape& s, DType dtype, bool broken) {
  const RecurrentTwins t(m, s, dtype, s.R);
  const auto keep = m.room(s.N * s.R);
  cuda::RecurrentStepArgs args = t.args(broken);
  args.taps.keep = keep.card;
  const auto expected = [t, s] {
    Values keeps;
    const Values all = t.expected([&](std::int64_t n, const RecurrentTwins::Before& b, Values& h,
                                      Values& out) {
      Values kept(asSize(s.R));
      kernels::RgLruArgs scan{
          b.c.data(), b.recurrence.data(), b.input.data(), t.rate.host, h.data(), n == 0, 1, s.R, out.data(),
          {}};
      scan.taps.keep = kept.data();
      reference::rgLru(scan);
      keeps = joined({keeps, kept});
    });
    return joined({all, keeps});
  };
  return {fmt::format("convolution, gates, RG-LRU, output gate, {} (traps 3, 5)", kernels::dtypeName(dtype)),
          kOpScan,
          [=](Stream stream) { cuda::recurrentStep(args, stream); },
          reader({t.out, t.states, keep}),
          expected,
          t.cost()};
}

CardCase complexStepCase(CardMemory& m, const CardShape& s, DType dtype, bool broken) {
  const RecurrentTwins t(m, s, dtype, s.R / 2);
  const auto angle = m.normals(s.R / 2);
  const cuda::ComplexRecurrentStepArgs args{t.args(broken), angle.card, {}};
  const auto expected = [t, angle] {
    return t.expected([&](std::int64_t n, const RecurrentTwins::Before& b, Values& h, Values& out) {
      kernels::ComplexRgLruArgs scan;
      scan.x = b.c.data();
      scan.recurrencePre = b.recurrence.data();
      scan.inputPre = b.input.data();
      scan.decayRate = t.rate.host;
      scan.angleRate = angle.host;
      scan.state = h.data();
      scan.startsSequence = n == 0;
      scan.T = 1;
      scan.C = t.C;
      scan.out = out.data();
      reference::complexRgLru(scan);
    });
  };
  return {fmt::format("the same with complex states, {}", kernels::dtypeName(dtype)),
          kOpScan,
          [=](Stream stream) { cuda::complexRecurrentStep(args, stream); },
          reader({t.out, t.states}),
          expected,
          t.cost()};
}

// Rings of N sequences, the n-th at position + n, and what the card is told of them.
struct RingTwins {
  std::int64_t capacity;
  Twin<float> keys, values;
  Twin<std::int64_t> positions;
  Twin<float*> keysOf, valuesOf;

  RingTwins(CardMemory& m, const CardShape& s)
      : capacity(s.older + 1),
        keys(m.normals(s.N * capacity * s.kvHeads * s.Dh)),
        values(m.normals(keys.count)) {
    std::vector<std::int64_t> numbers;
    std::vector<float*> ofKeys;
    std::vector<float*> ofValues;
    for (std::int64_t n = 0; n < s.N; ++n) {
      numbers.push_back(s.position + n);
      ofKeys.push_back(keys.card + n * keys.count / s.N);
      ofValues.push_back(values.card + n * values.count / s.N);
    }
    positions = m.put(numbers);
    keysOf = m.put(ofKeys);
    valuesOf = m.put(ofValues);
  }
  cuda::KvRings onCard() const { return {keysOf.card, valuesOf.card, capacity, positions.card}; }
  kernels::KvRing of(std::int64_t n, float* allKeys, float* allValues, std::int64_t N) const {
    return {allKeys + n * keys.count / N, allValues + n * values.count / N, capacity};
  }
};

CardCase ropeAppendCase(CardMemory& m, const CardShape& s, bool broken) {
  const RingTwins rings(m, s);
  const std::int64_t row = s.kvHeads * s.Dh;
  const auto q = m.normals(s.N * s.H * s.Dh);
  const auto k = m.normals(s.N * row);
  const auto v = m.normals(s.N * row);
  const std::int64_t rotary = s.rotary();
  const auto table = m.room(s.N * rotary);
  const cuda::RopeAppendArgs args{q.card, k.card, v.card,    table.card, rings.onCard(),
                                  s.N,    s.H,    s.kvHeads, s.Dh,       broken ? rotary - 2 : rotary};
  const auto enqueue = [=](Stream stream) {
    cuda::ropeTable({rings.positions.card, 10000.0, s.N, rotary, table.card}, stream);
    cuda::ropeAppend(args, stream);
  };
  const auto expected = [=] {
    Values queries(q.host, q.host + q.count);
    Values rotated(k.host, k.host + k.count);
    Values keys(rings.keys.host, rings.keys.host + rings.keys.count);
    Values values(rings.values.host, rings.values.host + rings.values.count);
    for (std::int64_t n = 0; n < s.N; ++n) {
      const std::int64_t position = s.position + n;
      reference::rope({queries.data() + n * s.H * s.Dh, position, 10000.0, 1, s.H, s.Dh, rotary});
      reference::rope({rotated.data() + n * row, position, 10000.0, 1, s.kvHeads, s.Dh, rotary});
      kernels::ringAppend({rotated.data() + n * row, v.host + n * row,
                           rings.of(n, keys.data(), values.data(), s.N), position, 1, s.kvHeads, s.Dh});
    }
    return joined({queries, keys, values});
  };
  const double bytes = 4.0 * static_cast<double>(2 * q.count + 2 * k.count + 2 * v.count + table.count);
  return {"RoPE and ring, a token a sequence (traps 20, 21)",
          kOpSum,
          enqueue,
          reader({q, rings.keys, rings.values}),
          expected,
          {bytes, 6.0 * static_cast<double>(q.count + k.count)}};
}

CardCase decodeAttentionCase(CardMemory& m, const CardShape& s, std::int64_t splits, bool broken) {
  const RingTwins rings(m, s);
  const auto q = m.normals(s.N * s.H * s.Dh, 2);
  const auto out = m.room(q.count);
  const auto workspace = m.room(cuda::decodeAttentionWorkspace(s.N, s.H, s.Dh, splits));
  cuda::DecodeAttentionArgs args;
  args.q = q.card;
  args.rings = rings.onCard();
  args.older = broken ? s.older - 1 : s.older;
  args.N = s.N;
  args.H = s.H;
  args.kvHeads = s.kvHeads;
  args.Dh = s.Dh;
  args.splits = splits;
  args.workspace = workspace.card;
  args.out = out.card;
  const auto attend = [=](std::int64_t n, float* to) {
    const std::int64_t position = s.position + n;
    const kernels::KvRing ring = rings.of(n, rings.keys.host, rings.values.host, s.N);
    const std::int64_t own = position % rings.capacity * s.kvHeads * s.Dh;
    const kernels::AttentionArgs one{q.host + n * s.H * s.Dh,
                                     ring.keys + own,
                                     ring.values + own,
                                     ring,
                                     position,
                                     s.older,
                                     1,
                                     s.H,
                                     s.kvHeads,
                                     s.Dh,
                                     to};
    if (to != nullptr) reference::attention(one);
    return opCost(one);
  };
  const auto expected = [=] {
    Values all(asSize(q.count));
    for (std::int64_t n = 0; n < s.N; ++n) attend(n, all.data() + n * s.H * s.Dh);
    return all;
  };
  kernels::OpCost cost;
  for (std::int64_t n = 0; n < s.N; ++n) cost = sum({cost, attend(n, nullptr)});
  return {fmt::format("attention of a token a sequence, {} parts (traps 22, 23, 26)", splits),
          kOpAttention,
          [=](Stream stream) { cuda::decodeAttention(args, stream); },
          reader({out}),
          expected,
          cost};
}

CardCase embedCase(CardMemory& m, const CardShape& s, DType dtype, bool broken) {
  const MatrixTwin table = m.matrix(s.V, s.D, dtype);
  const auto tokens = m.put(m.random().tokens(s.T, s.V));
  const auto out = m.room(s.T * s.D);
  const float scale = kernels::embeddingScale(s.D);
  const kernels::EmbedArgs args{table.card, tokens.card, broken ? 1.01F * scale : scale, s.T, out.card};
  const auto expected = [=] {
    Values rows(asSize(out.count));
    reference::embed({table.host, tokens.host, scale, s.T, rows.data()});
    return rows;
  };
  return {fmt::format("embed, {} (trap 17)", kernels::dtypeName(dtype)),
          kOpElementwise,
          [=](Stream stream) { cuda::embed(args, stream); },
          reader({out}),
          expected,
          opCost(args)};
}

}  // namespace

std::vector<MakeCase> cardStepCases(bool all) {
  using Make = CardCase (*)(CardMemory&, const CardShape&, DType, bool);
  std::vector<MakeCase> cases{ropeAppendCase};
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    if (!all && dtype != DType::bf16) continue;
    for (const Make make : {embedCase, recurrentStepCase, complexStepCase}) {
      cases.emplace_back(
          [=](CardMemory& m, const CardShape& s, bool broken) { return make(m, s, dtype, broken); });
    }
  }
  const std::vector<std::int64_t> splits =
      all ? std::vector<std::int64_t>{1, 3} : std::vector<std::int64_t>{16};
  for (const std::int64_t parts : splits) {
    cases.emplace_back([parts](CardMemory& m, const CardShape& s, bool broken) {
      return decodeAttentionCase(m, s, parts, broken);
    });
  }
  return cases;
}

}  // namespace eyrie::engine::verify
