#include "engine/state_log.h"

#include <fmt/core.h>

#include <algorithm>

#include "engine/error.h"
#include "engine/intervention_plan.h"

namespace eyrie::engine {
namespace {

std::size_t count(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

// Puts the last `rows` of `from` before what is written from `end` on.
float* prepend(const std::vector<float>& from, std::int64_t rows, std::int64_t width, float* end) {
  const auto floats = static_cast<std::ptrdiff_t>(rows * width);
  return std::copy_backward(from.end() - floats, from.end(), end);
}

}  // namespace

StateLog::StateLog(const ModelConfig& config, const StateLogOptions& options)
    : config_(std::make_shared<const ModelConfig>(config)), options_(options) {
  add(std::make_shared<const HostState>());
}

StateLog::StateLog(const ModelConfig& config, std::vector<std::int32_t> tokens, HostState state,
                   const StateLogOptions& options)
    : config_(std::make_shared<const ModelConfig>(config)), options_(options), tokens_(std::move(tokens)) {
  if (state.position != position()) {
    throw Error(ErrorCode::stateMismatch, fmt::format("saved state: position: expected {} tokens, found {}",
                                                      state.position, position()));
  }
  checkState(state, config);
  ends_.push_back(state.position);
  add(std::make_shared<const HostState>(std::move(state)));
}

const Interventions& StateLog::rules() const {
  return rulesOf(interventions_);
}

void StateLog::onFed(const SequenceState& state, std::span<const std::int32_t> tokens) {
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  ends_.push_back(position());
  if (!frames_.empty() && position() - frames_.back()->position >= options_.interval) keep(state);
}

void StateLog::keep(const SequenceState& state) {
  if (frames_.empty() || frames_.back()->position == state.position()) return;
  add(std::make_shared<const HostState>(state.download(state.position() - frames_.back()->position)));
}

void StateLog::add(KeyFrame frame) {
  frameBytes_ += frame->bytes();
  frames_.push_back(std::move(frame));
  while (frameBytes_ > options_.maxBytes && !frames_.empty()) {
    frameBytes_ -= frames_.front()->bytes();
    frames_.pop_front();
  }
  // One window alone is over the limit, or grows without end: no later key-frame will do better.
  if (frames_.empty() || hasWindow(frames_.size() - 1)) return;
  frames_.clear();
  frameBytes_ = 0;
}

std::int64_t StateLog::keysIn(const KeyFrame& frame, std::int64_t layerIdx) const {
  if (frame->layers.empty()) return 0;
  const auto floats = static_cast<std::int64_t>(frame->layers[count(layerIdx)].keys.size());
  return floats / (config_->kvHeads * config_->Dh);
}

bool StateLog::hasWindow(std::size_t frameIdx) const {
  for (std::int64_t layerIdx = 0; layerIdx < config_->L; ++layerIdx) {
    std::int64_t missing = rememberedKeys(*config_, layerIdx, frames_[frameIdx]->position);
    for (std::size_t i = frameIdx + 1; i-- > 0 && missing > 0;) missing -= keysIn(frames_[i], layerIdx);
    if (missing > 0) return false;
  }
  return true;
}

std::ptrdiff_t StateLog::frameBefore(std::int64_t position) const {
  const auto after =
      std::upper_bound(frames_.begin(), frames_.end(), position,
                       [](std::int64_t at, const KeyFrame& frame) { return at < frame->position; });
  const std::ptrdiff_t frameIdx = after - frames_.begin() - 1;
  return frameIdx >= 0 && hasWindow(static_cast<std::size_t>(frameIdx)) ? frameIdx : -1;
}

std::int64_t StateLog::lastKeyFrame() const {
  return frames_.empty() ? -1 : frames_.back()->position;
}

std::int64_t StateLog::boundary(std::int64_t position) const {
  if (frameBefore(position) < 0) return -1;
  const auto after = std::upper_bound(ends_.begin(), ends_.end(), position);
  return after == ends_.begin() ? 0 : *(after - 1);
}

HostState StateLog::assemble(std::size_t frameIdx) const {
  HostState state = *frames_[frameIdx];
  const std::int64_t width = config_->kvHeads * config_->Dh;
  for (std::int64_t layerIdx = 0; layerIdx < config_->L; ++layerIdx) {
    LayerState& layer = state.layers[count(layerIdx)];
    std::int64_t missing = rememberedKeys(*config_, layerIdx, state.position);
    layer.keys.resize(count(missing * width));
    layer.values.resize(count(missing * width));
    float* keys = layer.keys.data() + layer.keys.size();
    float* values = layer.values.data() + layer.values.size();
    for (std::size_t i = frameIdx + 1; i-- > 0 && missing > 0;) {
      const std::int64_t rows = std::min(missing, keysIn(frames_[i], layerIdx));
      if (rows == 0) continue;
      keys = prepend(frames_[i]->layers[count(layerIdx)].keys, rows, width, keys);
      values = prepend(frames_[i]->layers[count(layerIdx)].values, rows, width, values);
      missing -= rows;
    }
  }
  return state;
}

Rewound StateLog::rewind(Model& model, std::int64_t position, const std::stop_token& stop,
                         const std::function<void(std::int64_t)>& progress) const {
  if (position < 0 || position > this->position()) {
    throw Error(ErrorCode::badArgument,
                fmt::format("rewind: expected 0 to {}, found {}", this->position(), position));
  }
  const std::ptrdiff_t frameIdx = frameBefore(position);
  if (frameIdx < 0) {
    throw Error(ErrorCode::badArgument, fmt::format("rewind: token {} is no longer in the log", position));
  }
  const auto frame = static_cast<std::size_t>(frameIdx);
  Rewound result{frames_[frame]->layers.empty() ? model.newState() : model.restoreState(assemble(frame))};
  result.state.intervene(interventions_);
  const std::int64_t first = result.state.position();
  auto end = std::upper_bound(ends_.begin(), ends_.end(), first);
  while (result.state.position() < position && !stop.stop_requested()) {
    const std::int64_t from = result.state.position();
    const std::int64_t rows = std::min(*end++, position) - from;
    // A step needs no stop within it, for which the model would copy the state.
    model.prefill(result.state, std::span(tokens_).subspan(count(from), count(rows)), LogitRows::none,
                  nullptr, nullptr, rows > 1 ? stop : std::stop_token());
    if (progress) progress(result.state.position());
  }
  result.exact = boundary(result.state.position()) == result.state.position();
  result.replayed = result.state.position() - first;
  return result;
}

StateLog StateLog::until(std::int64_t position) const {
  StateLog fork = *this;
  while (!fork.frames_.empty() && fork.frames_.back()->position > position) {
    fork.frameBytes_ -= fork.frames_.back()->bytes();
    fork.frames_.pop_back();
  }
  fork.tokens_.resize(count(position));
  const auto after = std::upper_bound(fork.ends_.begin(), fork.ends_.end(), position);
  fork.ends_.erase(after, fork.ends_.end());
  // The state inside a chunk was made by a shorter one.
  if (position > 0 && (fork.ends_.empty() || fork.ends_.back() < position)) fork.ends_.push_back(position);
  return fork;
}

std::uint64_t StateLog::bytes() const {
  return frameBytes_ + tokens_.size() * sizeof(std::int32_t) + ends_.size() * sizeof(std::int64_t);
}

std::uint64_t StateLog::bytes(std::unordered_set<const void*>& counted) const {
  std::uint64_t sum = bytes() - frameBytes_;
  for (const KeyFrame& frame : frames_) {
    if (counted.insert(frame.get()).second) sum += frame->bytes();
  }
  return sum;
}

}  // namespace eyrie::engine
