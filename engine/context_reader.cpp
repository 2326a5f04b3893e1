#include "engine/context_reader.h"

#include <algorithm>
#include <chrono>

namespace eyrie::engine {
namespace {

using Clock = std::chrono::steady_clock;

float millisecondsSince(Clock::time_point start) {
  return std::chrono::duration<float, std::milli>(Clock::now() - start).count();
}

}  // namespace

std::int64_t readingChunk(const Model& model) {
  const ModelConfig& config = model.config();
  const double perLayer = static_cast<double>(config.D) * static_cast<double>(3 * config.E + 3 * config.R);
  const double flopsPerToken = 2.0 * static_cast<double>(config.L) * perLayer;
  constexpr double kFlopsBetweenStops = 1e11;
  const auto rows = static_cast<std::int64_t>(std::min(kFlopsBetweenStops / flopsPerToken, 1e6)) / 32 * 32;
  return std::clamp<std::int64_t>(rows, std::min<std::int64_t>(32, model.maxChunk()), model.maxChunk());
}

ContextReader::ContextReader(Model& model, SequenceState& state, std::span<const std::int32_t> context,
                             const ReadingOptions& options, GenerateObserver& observer)
    : model_(model),
      state_(state),
      context_(context),
      options_(options),
      observer_(observer),
      reported_(state.position()) {
  if (options_.chunk <= 0) options_.chunk = readingChunk(model);
  options_.chunk = std::min(options_.chunk, model.maxChunk());
  const auto size = static_cast<std::int64_t>(context.size());
  const std::int32_t first = reported_ < size ? context[static_cast<std::size_t>(reported_)] : -1;
  next_ = emptyRecord(reported_, first);
}

void ContextReader::reportTo(std::int64_t end, float milliseconds) {
  const auto size = static_cast<std::int64_t>(context_.size());
  while (reported_ < end) {
    next_.milliseconds = milliseconds;
    observer_.onToken(next_);
    ++reported_;
    next_ = emptyRecord(reported_, reported_ < size ? context_[static_cast<std::size_t>(reported_)] : -1);
  }
}

void ContextReader::onLogits(std::int64_t position, std::span<const float> logits) {
  if (sink_) sink_(position, logits);
  reportTo(position + 1, 0);
  if (options_.score) reader_.describe(logits, next_);
}

void ContextReader::onFrame(const TraceFrame& frame) {
  reportTo(frame.position + 1, 0);
  observer_.onFrame(frame);
}

bool ContextReader::readTo(std::int64_t end, std::stop_token stop) {
  const auto total = static_cast<std::int64_t>(context_.size());
  while (state_.position() < end) {
    if (stop.stop_requested()) return false;
    const std::int64_t position = state_.position();
    const std::int64_t rows = std::min(options_.chunk, end - position);
    const Clock::time_point start = Clock::now();
    const bool watching = scoring() || options_.trace != nullptr;
    model_.prefill(state_,
                   context_.subspan(static_cast<std::size_t>(position), static_cast<std::size_t>(rows)),
                   scoring() ? LogitRows::all : LogitRows::none, watching ? this : nullptr, options_.trace,
                   {}, options_.chunk);
    reportTo(state_.position(), millisecondsSince(start) / static_cast<float>(rows));
    fed_ += rows;
    ++chunks_;
    observer_.onProgress(state_.position(), total);
  }
  return true;
}

std::span<const float> ContextReader::readLast() {
  const Clock::time_point start = Clock::now();
  const std::int64_t position = state_.position();
  TraceFrame frame;
  const std::span<const float> logits =
      model_.step(state_, context_[static_cast<std::size_t>(position)],
                  options_.trace == nullptr ? nullptr : &frame, options_.trace);
  ++fed_;
  reportTo(position + 1, millisecondsSince(start));
  if (options_.trace != nullptr) observer_.onFrame(frame);
  if (sink_) sink_(position, logits);
  observer_.onProgress(position + 1, static_cast<std::int64_t>(context_.size()));
  return logits;
}

}  // namespace eyrie::engine
