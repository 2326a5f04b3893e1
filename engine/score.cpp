#include "engine/score.h"

#include <cmath>
#include <limits>
#include <vector>

#include "engine/context_reader.h"
#include "engine/error.h"

namespace eyrie::engine {
namespace {

class Totaller final : public GenerateObserver {
 public:
  Totaller(ScoreObserver& observer, std::int64_t offset) : observer_(observer), offset_(offset) {}
  void onToken(const TokenRecord& record) override {
    ++totals.tokens;
    if (!std::isnan(record.logprob)) {
      ++totals.scored;
      totals.logprobSum += static_cast<double>(record.logprob);
    }
    observer_.onToken(record);
  }
  void onProgress(std::int64_t fed, std::int64_t total) override {
    observer_.onProgress(fed - offset_, total - offset_);
  }
  ScoreTotals totals;

 private:
  ScoreObserver& observer_;
  std::int64_t offset_;
};

}  // namespace

double ScoreTotals::perplexity() const {
  if (scored == 0) return std::numeric_limits<double>::quiet_NaN();
  return std::exp(-logprobSum / static_cast<double>(scored));
}

ScoreTotals scoreTokens(Model& model, SequenceState& state, std::span<const std::int32_t> tokens,
                        ScoreObserver& observer, std::int64_t chunk, std::stop_token stop) {
  if (tokens.empty()) throw Error(ErrorCode::badArgument, "tokens: expected at least one, found none");
  // The reader counts positions from the start of the sequence.
  std::vector<std::int32_t> padded;
  std::span<const std::int32_t> context = tokens;
  const std::int64_t offset = state.position();
  if (offset > 0) {
    padded.assign(static_cast<std::size_t>(offset), 0);
    padded.insert(padded.end(), tokens.begin(), tokens.end());
    context = padded;
  }
  Totaller totaller(observer, offset);
  ContextReader reader(model, state, context, {nullptr, true, chunk}, totaller);
  if (observer.wantsLogits()) {
    reader.setLogitsSink(
        [&](std::int64_t position, std::span<const float> logits) { observer.onLogits(position, logits); });
  }
  totaller.totals.complete = reader.readTo(static_cast<std::int64_t>(context.size()), std::move(stop));
  totaller.totals.chunks = reader.chunks();
  return totaller.totals;
}

}  // namespace eyrie::engine
