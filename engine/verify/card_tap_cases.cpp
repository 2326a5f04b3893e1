// Summaries of taps against sorting and summing.
#include <algorithm>
#include <cmath>

#include "engine/verify/card_cases.h"

namespace eyrie::engine::verify {
namespace {

namespace cuda = kernels::cuda;

double norm(const Values& x) {
  double sum = 0;
  for (const float value : x) sum += double{value} * double{value};
  return std::sqrt(sum);
}

double mean(const Values& x) {
  double sum = 0;
  for (const float value : x) sum += double{value};
  return sum / static_cast<double>(x.size());
}

double halfLifeAt(double level, const Values& sortedDecays) {
  const double place = level * static_cast<double>(sortedDecays.size() - 1);
  const auto lower = static_cast<std::size_t>(place);
  const auto halfLife = [&](std::size_t i) { return -std::log(2.0) / double{sortedDecays[i]}; };
  const double share = place - std::floor(place);
  return share == 0 ? halfLife(lower) : (1 - share) * halfLife(lower) + share * halfLife(lower + 1);
}

// One row of each array, as engine/frame_builder.h has it.
Values summaryOf(const Values& recurrence, const Values& input, Values logDecay, const Values& write,
                 const Values& keep) {
  Values state = write;
  for (std::size_t r = 0; r < state.size(); ++r) state[r] += keep[r];
  std::sort(logDecay.begin(), logDecay.end());
  Values summary;
  for (const double value : {norm(state), mean(recurrence), mean(input), norm(write), norm(keep)})
    summary.push_back(static_cast<float>(value));
  for (const double level : {0.05, 0.25, 0.5, 0.75, 0.95})
    summary.push_back(static_cast<float>(halfLifeAt(level, logDecay)));
  return summary;
}

CardCase tapSummaryCase(CardMemory& m, const CardShape& s, bool broken) {
  constexpr std::int64_t kLayers = 3;
  const std::int64_t array = s.N * s.R;
  const std::int64_t stride = 5 * array;
  Values taps(asSize(kLayers * stride));
  for (std::size_t i = 0; i < taps.size(); ++i) {
    const auto which = static_cast<std::int64_t>(i) % stride / array;
    const float normal = m.random().normal();
    taps[i] = which > 2 ? normal : which == 2 ? -0.01F - 0.1F * std::abs(normal) : 0.1F + std::abs(normal);
  }
  const auto twin = m.put(std::move(taps));
  const auto out = m.room(kLayers * s.N * cuda::kTapSummary);
  cuda::TapSummaryArgs args;
  args.recurrenceGate = twin.card + (broken ? array : 0);
  args.inputGate = twin.card + (broken ? 0 : array);
  args.logDecay = twin.card + 2 * array;
  args.write = twin.card + 3 * array;
  args.keep = twin.card + 4 * array;
  args.stride = stride;
  args.layers = kLayers;
  args.N = s.N;
  args.C = args.R = s.R;
  args.out = out.card;
  const auto expected = [=] {
    Values all;
    for (std::int64_t row = 0; row < kLayers * s.N; ++row) {
      const auto tap = [&](std::int64_t which) {
        const float* const from = twin.host + row / s.N * stride + which * array + row % s.N * s.R;
        return Values(from, from + s.R);
      };
      all = joined({all, summaryOf(tap(0), tap(1), tap(2), tap(3), tap(4))});
    }
    return all;
  };
  const auto read = static_cast<double>(kLayers * stride);
  return {"summary of what a step shows",
          kOpSummary,
          [=](cuda::Stream stream) { cuda::tapSummary(args, stream); },
          reader({out}),
          expected,
          {4 * read, 2 * read}};
}

}  // namespace

std::vector<MakeCase> cardTapCases() {
  return {tapSummaryCase};
}

}  // namespace eyrie::engine::verify
