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

ContextReader::ContextReader(Model& model, SequenceState& state, std::span<const std::int32_t> context,
                             const ReadingOptions& options, GenerateObserver& observer)
    : model_(model),
      state_(state),
      context_(context),
      options_(options),
      observer_(observer),
      reported_(state.position()),
      progress_(state.position()) {
  if (options_.chunk <= 0 || options_.chunk > model.maxChunk()) options_.chunk = model.maxChunk();
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

void ContextReader::onWork(double tokens) {
  const std::int64_t done = fedBefore_ + static_cast<std::int64_t>(tokens);
  if (done > progress_) observer_.onProgress(done, static_cast<std::int64_t>(context_.size()));
  progress_ = std::max(progress_, done);
}

bool ContextReader::readTo(std::int64_t end, std::stop_token stop) {
  while (state_.position() < end) {
    if (stop.stop_requested()) return false;
    const std::int64_t position = state_.position();
    const std::int64_t rows = std::min(options_.chunk, end - position);
    const Clock::time_point start = Clock::now();
    fedBefore_ = position;
    model_.prefill(state_,
                   context_.subspan(static_cast<std::size_t>(position), static_cast<std::size_t>(rows)),
                   scoring() ? LogitRows::all : LogitRows::none, this, options_.trace, stop, options_.chunk);
    if (state_.position() == position) return false;  // stopped within the chunk
    reportTo(state_.position(), millisecondsSince(start) / static_cast<float>(rows));
    fed_ += rows;
    ++chunks_;
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
