#include "engine/cuda/step_taps.h"

#include <algorithm>

#include "kernels/cuda/ops.h"

namespace eyrie::engine {
namespace {

namespace cuda = kernels::cuda;
using cuda::floatBytes;

static_assert(cuda::kTapSummary == kRecurrentSummary);

std::size_t at(int layerIdx) {
  return static_cast<std::size_t>(layerIdx);
}

}  // namespace

StepTaps::StepTaps(std::shared_ptr<const ModelConfig> config) : config_(std::move(config)) {}

bool StepTaps::reserve(std::int64_t sequences, std::vector<std::int64_t> spans) {
  asked_.assign(at(static_cast<int>(config_->L)), Observe::nothing);
  if (sequences == N_ && spans == spans_) return false;
  try {
    layOut(sequences, std::move(spans));
    makeRoom();
  } catch (...) {
    N_ = 0;  // whoever asks again, for the same too, has room made
    throw;
  }
  return true;
}

void StepTaps::layOut(std::int64_t sequences, std::vector<std::int64_t> spans) {
  const auto layers = static_cast<int>(config_->L);
  N_ = sequences;
  spans_ = std::move(spans);
  layerFloats_ = N_ * (5 * config_->channels() + 2 * config_->R);
  summaries_.assign(at(layers), 0);
  blocks_.assign(at(layers), 0);
  floats_ = 0;
  recurrentLayers_ = 0;
  // One after the other, so that one copy takes neighbours: summaries of recurrent layers first, as
  // tapSummary has them.
  const auto place = [&](bool recurrent, std::vector<std::int64_t>& to, const auto& floatsOf) {
    for (int layerIdx = 0; layerIdx < layers; ++layerIdx) {
      if (isRecurrent(layerIdx) != recurrent) continue;
      to[at(layerIdx)] = floats_;
      floats_ += floatsOf(layerIdx);
    }
  };
  place(true, summaries_, [&](int) {
    ++recurrentLayers_;
    return N_ * cuda::kTapSummary;
  });
  place(false, summaries_, [&](int) { return 2 * N_ * config_->H; });
  firstBlock_ = floats_;
  for (const bool recurrent : {true, false})
    place(recurrent, blocks_, [&](int layerIdx) { return blockFloats(layerIdx); });
}

// Each side by itself: the card's may have grown when there was nothing left to pin.
void StepTaps::makeRoom() {
  const std::size_t bytes = floatBytes(floats_);
  if (onCard_.bytes() < bytes) {
    onCard_ = {};  // the old one first: both together may not fit
    onCard_ = cuda::DeviceMemory(bytes);
  }
  if (onHost_.bytes() < bytes) onHost_ = cuda::PinnedMemory(bytes);
}

bool StepTaps::isRecurrent(int layerIdx) const {
  return config_->blocks[at(layerIdx)] == BlockKind::recurrent;
}

std::int64_t StepTaps::blockFloats(int layerIdx) const {
  return isRecurrent(layerIdx) ? layerFloats_ : N_ * config_->H * span(layerIdx);
}

float* StepTaps::state(int layerIdx) {
  const std::int64_t recLayerIdx = (blocks_[at(layerIdx)] - firstBlock_) / layerFloats_;
  return states_.data() + recLayerIdx * N_ * config_->R;
}

StepTaps::Gates StepTaps::gatesIn(std::byte* base, int layerIdx) const {
  float* const first = in(base, blocks_[at(layerIdx)]);
  const std::int64_t gate = N_ * config_->channels();
  float* const write = first + 5 * gate;
  return {first, first + gate,           first + 2 * gate, first + 3 * gate, first + 4 * gate,
          write, write + N_ * config_->R};
}

kernels::RgLruTaps StepTaps::real(int layerIdx) const {
  const Gates g = gatesIn(onCard_.data(), layerIdx);
  return {g.recurrence, g.input, g.logDecay, g.decay, g.write, g.keep};
}

kernels::ComplexRgLruTaps StepTaps::complex(int layerIdx) const {
  const Gates g = gatesIn(onCard_.data(), layerIdx);
  return {g.recurrence, g.input, g.logDecay, g.decay, g.angle, g.write, g.keep};
}

float* StepTaps::weights(int layerIdx) const {
  return in(onCard_.data(), blocks_[at(layerIdx)]);
}

float* StepTaps::attentionSummary(int layerIdx) const {
  return in(onCard_.data(), summaries_[at(layerIdx)]);
}

RecurrentView StepTaps::recurrent(int layerIdx, Observe observe) {
  asked_[at(layerIdx)] = observe;
  RecurrentView view;
  view.summary = in(onHost_.data(), summaries_[at(layerIdx)]);
  if (observe != Observe::full) return view;
  const Gates g = gatesIn(onHost_.data(), layerIdx);
  states_.resize(static_cast<std::size_t>(recurrentLayers_ * N_ * config_->R));
  view.recurrenceGate = g.recurrence;
  view.inputGate = g.input;
  view.logDecay = g.logDecay;
  view.decay = g.decay;
  view.angle = config_->rgLru == RgLru::complex ? g.angle : nullptr;
  view.write = g.write;
  view.keep = g.keep;
  view.state = state(layerIdx);
  return view;
}

AttentionView StepTaps::attention(int layerIdx, Observe observe) {
  asked_[at(layerIdx)] = observe;
  AttentionView view{nullptr, span(layerIdx), in(onHost_.data(), summaries_[at(layerIdx)])};
  if (observe == Observe::full) view.weights = in(onHost_.data(), blocks_[at(layerIdx)]);
  return view;
}

void StepTaps::copy(std::int64_t begin, std::int64_t end) const {
  if (begin == end) return;
  cuda::copyToHost(in(onHost_.data(), begin), in(onCard_.data(), begin), floatBytes(end - begin), stream_);
}

void StepTaps::sumUp() const {
  if (recurrentLayers_ == 0) return;
  const auto first = std::find(config_->blocks.begin(), config_->blocks.end(), BlockKind::recurrent);
  const Gates g = gatesIn(onCard_.data(), static_cast<int>(first - config_->blocks.begin()));
  cuda::tapSummary({g.recurrence, g.input, g.logDecay, g.write, g.keep, layerFloats_, recurrentLayers_, N_,
                    config_->channels(), config_->R, in(onCard_.data(), 0)},
                   stream_);
}

void StepTaps::send(cuda::Stream stream) {
  stepped_.record(stream);
  stepped_.holdBack(stream_);
  sumUp();
  copy(0, firstBlock_);
  std::int64_t begin = firstBlock_;
  std::int64_t end = firstBlock_;
  for (const bool recurrent : {true, false}) {
    for (int layerIdx = 0; layerIdx < static_cast<int>(config_->L); ++layerIdx) {
      if (isRecurrent(layerIdx) != recurrent || asked_[at(layerIdx)] != Observe::full) continue;
      const std::int64_t next = blocks_[at(layerIdx)];
      if (next != end) {
        copy(begin, end);
        begin = next;
      }
      end = next + blockFloats(layerIdx);
    }
  }
  copy(begin, end);
  sent_.record(stream_);
}

void StepTaps::finish() {
  sent_.wait();
  for (int layerIdx = 0; layerIdx < static_cast<int>(config_->L); ++layerIdx) {
    if (!isRecurrent(layerIdx) || asked_[at(layerIdx)] != Observe::full) continue;
    const Gates g = gatesIn(onHost_.data(), layerIdx);
    float* const sum = state(layerIdx);
    for (std::int64_t i = 0; i < N_ * config_->R; ++i) sum[i] = g.keep[i] + g.write[i];
  }
}

}  // namespace eyrie::engine
