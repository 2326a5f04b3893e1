#include "engine/generator.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "engine/context_reader.h"
#include "engine/error.h"

namespace eyrie::engine {
namespace {

using Clock = std::chrono::steady_clock;

double millisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

class Generation {
 public:
  Generation(Model& model, SequenceState& state, std::span<const std::int32_t> context,
             const GenerateOptions& options, GenerateObserver& observer, std::stop_token stop);
  GenerateResult run();

 private:
  bool read();
  void write();
  // Draws, feeds and reports one token; the reason to stop after it, if there is one.
  std::optional<StopReason> writeOne();
  std::int32_t draw();
  void describe(TokenRecord& record);

  Model& model_;
  SequenceState& state_;
  std::span<const std::int32_t> context_;
  const GenerateOptions& options_;
  GenerateObserver& observer_;
  std::stop_token stop_;
  FrameLayout layout_;
  const FrameLayout* trace_ = nullptr;
  Sampler sampler_;
  PredictionReader reader_;
  std::vector<std::int32_t> history_;
  Prediction prediction_;
  TraceFrame frame_;
  GenerateResult result_;
};

Generation::Generation(Model& model, SequenceState& state, std::span<const std::int32_t> context,
                       const GenerateOptions& options, GenerateObserver& observer, std::stop_token stop)
    : model_(model),
      state_(state),
      context_(context),
      options_(options),
      observer_(observer),
      stop_(std::move(stop)),
      layout_(model.config(), options.trace),
      trace_(layout_.frameSize() > 0 ? &layout_ : nullptr),
      sampler_(options.sampling) {
  if (options.maxTokens < 0) {
    throw Error(ErrorCode::badArgument,
                fmt::format("max tokens: expected 0 or more, found {}", options.maxTokens));
  }
  if (state.position() >= static_cast<std::int64_t>(context.size())) {
    throw Error(ErrorCode::badArgument,
                fmt::format("context: expected more than the {} tokens already fed, found {}",
                            state.position(), context.size()));
  }
  result_.seed = options.sampling.seed;
  result_.next.position = -1;
}

bool Generation::read() {
  ContextReader reader(model_, state_, context_, {trace_, options_.scoreContext, 0}, observer_);
  const auto last = static_cast<std::int64_t>(context_.size()) - 1;
  const Clock::time_point start = Clock::now();
  bool complete = reader.readTo(last, stop_) && !stop_.stop_requested();
  if (complete) {
    observer_.onLastToken(state_);
    prediction_ = {reader.readLast(), std::nullopt};
  }
  result_.prefillMs = millisecondsSince(start);
  result_.contextTokens = reader.fed();
  return complete;
}

std::int32_t Generation::draw() {
  if (prediction_.ranked) {
    if (const auto token = sampler_.draw(*prediction_.ranked)) return *token;
    prediction_ = {model_.predictedLogits(), std::nullopt};
  }
  return sampler_.draw(prediction_.logits, history_);
}

void Generation::describe(TokenRecord& record) {
  if (prediction_.ranked) return PredictionReader::describe(*prediction_.ranked, record);
  reader_.describe(prediction_.logits, record);
}

std::optional<StopReason> Generation::writeOne() {
  const Clock::time_point start = Clock::now();
  const std::int32_t token = draw();
  TokenRecord record = emptyRecord(state_.position(), token);
  record.generated = true;
  describe(record);
  prediction_ = model_.predict(state_, token, sampler_.next(), trace_ == nullptr ? nullptr : &frame_, trace_);
  history_.push_back(token);
  ++result_.generatedTokens;
  record.milliseconds = static_cast<float>(millisecondsSince(start));
  observer_.onToken(record);
  if (trace_ != nullptr) observer_.onFrame(frame_);
  if (std::find(options_.eosTokens.begin(), options_.eosTokens.end(), token) != options_.eosTokens.end()) {
    return token == options_.endOfTurn ? StopReason::turn : StopReason::eos;
  }
  if (options_.endOfTurn >= 0 && token == options_.endOfTurn) return StopReason::turn;
  return std::nullopt;
}

void Generation::write() {
  history_.assign(context_.begin(), context_.end());
  const Clock::time_point start = Clock::now();
  result_.stop = StopReason::length;
  for (int i = 0; i < options_.maxTokens; ++i) {
    if (stop_.stop_requested()) {
      result_.stop = StopReason::cancelled;
      break;
    }
    if (const std::optional<StopReason> reason = writeOne()) {
      result_.stop = *reason;
      break;
    }
  }
  result_.decodeMs = millisecondsSince(start);
  result_.next = emptyRecord(state_.position(), -1);
  describe(result_.next);
}

GenerateResult Generation::run() {
  if (read()) {
    write();
  } else {
    result_.stop = StopReason::cancelled;
  }
  return result_;
}

}  // namespace

const char* stopReasonName(StopReason reason) {
  switch (reason) {
    case StopReason::eos:
      return "eos";
    case StopReason::turn:
      return "turn";
    case StopReason::length:
      return "length";
    case StopReason::cancelled:
      return "cancelled";
  }
  return "?";
}

GenerateResult generate(Model& model, SequenceState& state, std::span<const std::int32_t> context,
                        const GenerateOptions& options, GenerateObserver& observer, std::stop_token stop) {
  return Generation(model, state, context, options, observer, std::move(stop)).run();
}

}  // namespace eyrie::engine
