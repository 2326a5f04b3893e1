// Ops on logits, and the draw of a token.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

#include "engine/verify/card_cases.h"

namespace eyrie::engine::verify {
namespace {

namespace cuda = kernels::cuda;
namespace reference = kernels::reference;
using cuda::Stream;

CardCase softCapCase(CardMemory& m, const CardShape& s, bool broken) {
  const auto logits = m.normals(s.V, 20);
  const kernels::SoftCapArgs args{logits.card, s.V, broken ? 31.0F : 30.0F};
  const auto expected = [=] {
    Values all(logits.host, logits.host + s.V);
    reference::softCap({all.data(), s.V, 30.0F});
    return all;
  };
  const auto V = static_cast<double>(s.V);
  return {"soft cap (traps 27, 28)", kOpElementwise, [=](Stream stream) { cuda::softCap(args, stream); },
          reader({logits}),          expected,       {8 * V, 3 * V}};
}

CardCase statsCase(CardMemory& m, const CardShape& s, bool broken) {
  const auto logits = m.normals(s.V, 3);
  const auto workspace = m.room(cuda::logitStatsWorkspace(s.V));
  const auto out = m.room(3);
  const auto enqueue = [=](Stream stream) {
    cuda::logitStats(logits.card, broken ? s.V / 2 : s.V, workspace.card,
                     reinterpret_cast<kernels::LogitStats*>(out.card), stream);
  };
  const auto expected = [=] {
    const kernels::LogitStats stats = reference::logitStats(logits.host, s.V);
    return Values{stats.max, stats.logSumExp, stats.entropy};
  };
  const auto V = static_cast<double>(s.V);
  return {"statistics of logits", kOpSum, enqueue, reader({out}), expected, {4 * V, 4 * V}};
}

CardCase topKCase(CardMemory& m, const CardShape& s, bool broken) {
  constexpr std::int64_t kKept = 50;
  const auto logits = m.put(m.random().normals(s.V));  // all different
  const auto indices = m.put(std::vector<std::int32_t>(asSize(kKept)));
  const auto values = m.room(kKept);
  auto* const workspace = reinterpret_cast<std::uint64_t*>(m.bytes(8 * cuda::topKWorkspace(s.V, kKept)));
  const kernels::TopKArgs args{logits.card, broken ? s.V / 2 : s.V, kKept, indices.card, values.card};
  const auto expected = [=] {
    std::vector<std::int32_t> tokens(asSize(kKept));
    Values best(asSize(kKept));
    reference::topK({logits.host, s.V, kKept, tokens.data(), best.data()});
    for (const std::int32_t token : tokens) best.push_back(logits.host[token]);
    return best;
  };
  // Indices as the logits that they name.
  const auto found = [=] {
    Values best = readCard(values.card, kKept);
    for (const float bits : readCard(reinterpret_cast<const float*>(indices.card), kKept)) {
      const auto token = std::bit_cast<std::int32_t>(bits);
      best.push_back(token >= 0 && token < s.V ? logits.host[token] : std::nanf(""));
    }
    return best;
  };
  return {"the 50 largest logits",
          kSameBits,
          [=](Stream stream) { cuda::topK(args, workspace, stream); },
          found,
          expected,
          {4.0 * static_cast<double>(s.V), static_cast<double>(s.V)}};
}

Values valuesOf(const std::vector<kernels::Drawn>& all) {
  Values values;
  for (const kernels::Drawn& drawn : all)
    values.insert(values.end(), {static_cast<float>(drawn.token), static_cast<float>(drawn.kept),
                                 static_cast<float>(drawn.total)});
  return values;
}

// Of three rows, of which what is given does not decide the last.
CardCase drawCase(CardMemory& m, const CardShape& s, bool broken) {
  constexpr std::int64_t kRows = 3;
  constexpr std::int64_t kKnown = 256;
  std::vector<float> logits = m.random().normals(kRows * kKnown, 3);
  std::vector<kernels::LogitStats> stats;
  for (auto row = logits.begin(); row != logits.end(); row += kKnown) {
    std::sort(row, row + kKnown, std::greater<>());
    stats.push_back(reference::logitStats(&*row, kKnown));
  }
  std::vector<std::int32_t> tokens(logits.size());
  std::iota(tokens.begin(), tokens.end(), 7);
  const auto best = m.put(logits);
  const auto theirs = m.put(tokens);
  const auto of = m.put(stats);
  const auto rules = m.put(std::vector<kernels::DrawRule>{
      {1.0F, 0, 0.95F, 0.0F, 0.7}, {0.7F, 40, 0.9F, 0.01F, 0.9}, {1.0F, 0, 1.0F, 0.0F, 0.5}});
  const auto out = m.put(std::vector<kernels::Drawn>(kRows));
  const kernels::DrawArgs args{best.card, theirs.card,           of.card, of.card, rules.card,
                               kRows,     broken ? kKnown : s.V, kKnown,  out.card};
  const auto found = [=] {
    std::vector<kernels::Drawn> drawn(kRows);
    const Values bits =
        readCard(reinterpret_cast<const float*>(out.card), kRows * sizeof(kernels::Drawn) / sizeof(float));
    std::memcpy(static_cast<void*>(drawn.data()), bits.data(), kRows * sizeof(kernels::Drawn));
    return valuesOf(drawn);
  };
  const auto expected = [=] {
    std::vector<kernels::Drawn> drawn(kRows);
    reference::draw({best.host, theirs.host, of.host, of.host, rules.host, kRows, s.V, kKnown, drawn.data()});
    return valuesOf(drawn);
  };
  constexpr auto kAll = static_cast<double>(kRows * kKnown);
  return {"the draw among the 256 largest",
          kSameBits,
          [=](Stream stream) { cuda::draw(args, stream); },
          found,
          expected,
          {8 * kAll, 40 * kAll}};
}

}  // namespace

std::vector<MakeCase> cardHeadCases() {
  return {softCapCase, statsCase, topKCase, drawCase};
}

}  // namespace eyrie::engine::verify
