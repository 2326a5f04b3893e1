#include "engine/sampler.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "engine/error.h"

namespace eyrie::engine {
namespace {

constexpr std::int64_t kShownCandidates = 256;
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

std::uint64_t splitmix(std::uint64_t& state) {
  state += 0x9e3779b97f4a7c15ULL;
  std::uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

// xoshiro256**, Blackman and Vigna: the same numbers on every platform, unlike the standard distributions.
std::uint64_t nextRandom(std::array<std::uint64_t, 4>& s) {
  const std::uint64_t result = std::rotl(s[1] * 5, 7) * 9;
  const std::uint64_t shifted = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= shifted;
  s[3] = std::rotl(s[3], 45);
  return result;
}

double uniform(std::array<std::uint64_t, 4>& state) {
  return static_cast<double>(nextRandom(state) >> 11) * 0x1.0p-53;  // [0, 1)
}

[[noreturn]] void outOfRange(const char* option, const char* expected, double found) {
  throw Error(ErrorCode::badArgument, fmt::format("{}: expected {}, found {}", option, expected, found));
}

std::vector<float> penalised(std::span<const float> logits, std::span<const std::int32_t> history,
                             float penalty) {
  std::vector<float> scores(logits.begin(), logits.end());
  for (float& score : scores) {
    if (std::isnan(score)) score = kMinusInfinity;
  }
  if (penalty == 1.0F) return scores;
  std::vector<std::int32_t> seen(history.begin(), history.end());
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  for (const std::int32_t token : seen) {
    if (token < 0 || static_cast<std::size_t>(token) >= scores.size()) continue;
    float& score = scores[static_cast<std::size_t>(token)];
    score = score > 0 ? score / penalty : score * penalty;
  }
  return scores;
}

// Rising keys are falling scores, ties by rising token: one integer comparison orders both.
std::uint64_t sortKey(float score, std::size_t token) {
  const auto bits = std::bit_cast<std::uint32_t>(score + 0.0F);  // -0 becomes 0
  const std::uint32_t rising = (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
  return (static_cast<std::uint64_t>(~rising) << 32) | token;
}

// Tokens by falling score, sorted as far as somebody looks: filters usually keep a handful of a vocabulary.
class Ranking {
 public:
  explicit Ranking(const std::vector<float>& scores) : keys_(scores.size()) {
    for (std::size_t token = 0; token < scores.size(); ++token) keys_[token] = sortKey(scores[token], token);
  }
  std::size_t size() const { return keys_.size(); }
  std::int32_t at(std::size_t place) {
    while (place >= sorted_) sortMore();
    return static_cast<std::int32_t>(keys_[place] & 0xffffffffU);
  }

 private:
  void sortMore() {
    const std::size_t target = std::min(keys_.size(), std::max<std::size_t>(64, sorted_ * 8));
    const auto from = keys_.begin() + static_cast<std::ptrdiff_t>(sorted_);
    const auto to = keys_.begin() + static_cast<std::ptrdiff_t>(target);
    if (to != keys_.end()) std::nth_element(from, to, keys_.end());
    std::sort(from, to);
    sorted_ = target;
  }

  std::vector<std::uint64_t> keys_;
  std::size_t sorted_ = 0;
};

}  // namespace

void checkSampling(const SamplingOptions& options) {
  // Negated so that NaN is refused as well.
  if (!(options.temperature >= 0 && options.temperature <= 1e6F)) {
    outOfRange("temperature", "0 to 1e6", static_cast<double>(options.temperature));
  }
  if (options.topK < 0) outOfRange("top-k", "0 or more", options.topK);
  if (!(options.topP > 0 && options.topP <= 1)) {
    outOfRange("top-p", "above 0, at most 1", static_cast<double>(options.topP));
  }
  if (!(options.minP >= 0 && options.minP < 1)) {
    outOfRange("min-p", "0 or more, below 1", static_cast<double>(options.minP));
  }
  if (!(options.repetitionPenalty >= 1 && options.repetitionPenalty <= 1e6F)) {
    outOfRange("repetition penalty", "1 to 1e6", static_cast<double>(options.repetitionPenalty));
  }
}

Sampler::Sampler(const SamplingOptions& options) : options_(options) {
  checkSampling(options);
  std::uint64_t seed = options.seed;
  for (std::uint64_t& word : random_) word = splitmix(seed);
}

kernels::DrawRule Sampler::next() const {
  std::array<std::uint64_t, 4> random = random_;
  return {options_.temperature, options_.topK, options_.topP, options_.minP, uniform(random)};
}

template <typename WeightAt, typename TokenAt>
void Sampler::use(const kernels::Kept& kept, const WeightAt& weightAt, const TokenAt& tokenAt) {
  if (options_.temperature > 0) nextRandom(random_);
  candidates_.clear();
  for (std::int64_t place = 0; place < std::min(kShownCandidates, kept.count); ++place) {
    const double share = static_cast<double>(weightAt(place)) / static_cast<double>(kept.total);
    candidates_.push_back({tokenAt(place), static_cast<float>(share)});
  }
}

std::int32_t Sampler::draw(std::span<const float> logits, std::span<const std::int32_t> history) {
  const std::vector<float> scores = penalised(logits, history, options_.repetitionPenalty);
  const auto best = std::max_element(scores.begin(), scores.end());
  if (best == scores.end() || *best == kMinusInfinity) {
    throw Error(ErrorCode::badTensor,
                "logits: expected numbers, found none: the model's weights are damaged, or an intervention "
                "made its numbers too large");
  }
  const kernels::DrawRule rule = next();
  if (rule.temperature == 0) {
    const auto token = static_cast<std::int32_t>(best - scores.begin());
    candidates_ = {{token, 1.0F}};
    return token;
  }
  Ranking ranking(scores);
  const auto weightAt = [&](std::int64_t place) {
    const auto token = static_cast<std::size_t>(ranking.at(static_cast<std::size_t>(place)));
    return kernels::weightOf(scores[token], *best, rule.temperature);
  };
  const std::int64_t V = std::ssize(scores);
  const std::int64_t most = kernels::mostKept(rule, V);
  std::uint64_t mass = 0;
  if (most < V) {
    for (std::int64_t place = 0; place < most; ++place) mass += weightAt(place);
  } else {
    mass = kernels::cpu::weightOfAll(scores.data(), V, *best, rule.temperature);
  }
  const kernels::Kept kept = kernels::keptOf(kernels::filterOf(rule, mass), most, weightAt);
  const auto tokenAt = [&](std::int64_t place) { return ranking.at(static_cast<std::size_t>(place)); };
  const std::int32_t token = tokenAt(kernels::drawnPlace(rule, kept, weightAt));
  use(kept, weightAt, tokenAt);
  return token;
}

std::optional<std::int32_t> Sampler::draw(const RankedLogits& ranked) {
  if (options_.repetitionPenalty != 1.0F || ranked.tokens.empty()) return std::nullopt;
  const kernels::DrawRule rule = next();
  kernels::Drawn drawn = ranked.drawn;
  if (drawn.token < 0 || ranked.rule != rule) {
    kernels::reference::draw({ranked.logits.data(), ranked.tokens.data(), &ranked.stats, &ranked.scaled,
                              &rule, 1, ranked.V, std::ssize(ranked.tokens), &drawn});
  }
  if (drawn.token < 0) return std::nullopt;
  const auto at = [](std::int64_t place) { return static_cast<std::size_t>(place); };
  use(
      {drawn.total, drawn.kept},
      [&](std::int64_t place) {
        return kernels::weightOf(ranked.logits[at(place)], ranked.logits[0], rule.temperature);
      },
      [&](std::int64_t place) { return ranked.tokens[at(place)]; });
  return drawn.token;
}

}  // namespace eyrie::engine
