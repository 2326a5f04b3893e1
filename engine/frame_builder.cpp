#include "engine/frame_builder.h"

#include <hwy/contrib/sort/vqsort.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>

#include "engine/intervention_plan.h"

namespace eyrie::engine {
namespace {

constexpr double kLevels[] = {0.05, 0.25, 0.5, 0.75, 0.95};

// Four partial sums: fast without changing the compiler's arithmetic rules.
template <typename Term>
double sum(const float* x, std::int64_t n, Term term) {
  double parts[4] = {};
  std::int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    for (int lane = 0; lane < 4; ++lane) parts[lane] += term(static_cast<double>(x[i + lane]));
  }
  for (; i < n; ++i) parts[0] += term(static_cast<double>(x[i]));
  return (parts[0] + parts[1]) + (parts[2] + parts[3]);
}

float norm2(const float* x, std::int64_t n) {
  return static_cast<float>(std::sqrt(sum(x, n, [](double v) { return v * v; })));
}

float mean(const float* x, std::int64_t n) {
  return static_cast<float>(sum(x, n, [](double v) { return v; }) / static_cast<double>(n));
}

// ln x of a positive normal number to a few 1e-8, without calls or branches: the compiler turns a loop over
// it into SIMD, where std::log would take a tenth of a small model's decode step.
float naturalLog(float x) {
  constexpr std::int32_t kSqrtHalf = 0x3f3504f3;
  const auto bits = std::bit_cast<std::int32_t>(x);
  const std::int32_t exponent = (bits - kSqrtHalf) >> 23;
  const auto mantissa = std::bit_cast<float>(bits - exponent * (1 << 23));  // [sqrt 1/2, sqrt 2)
  const float t = (mantissa - 1) / (mantissa + 1);
  const float u = t * t;
  const float series = 1 + u * (1.0F / 3 + u * (1.0F / 5 + u * (1.0F / 7 + u * (1.0F / 9))));
  return static_cast<float>(exponent) * std::numbers::ln2_v<float> + 2 * t * series;
}

float entropy(const float* weights, std::int64_t n) {
  constexpr float kSmallest =
      std::numeric_limits<float>::min();  // added: a weight of 0 gives 0 without a branch
  constexpr std::int64_t kBlock = 128;
  float terms[kBlock];
  double total = 0;
  for (std::int64_t begin = 0; begin < n; begin += kBlock) {
    const std::int64_t size = std::min(kBlock, n - begin);
    for (std::int64_t i = 0; i < size; ++i) {
      const float w = weights[begin + i];
      terms[i] = w * naturalLog(w + kSmallest);
    }
    total -= sum(terms, size, [](double v) { return v; });
  }
  return static_cast<float>(total);
}

double halfLife(float logDecay) {
  return logDecay == 0 ? std::numeric_limits<double>::infinity()
                       : -std::numbers::ln2 / static_cast<double>(logDecay);
}

}  // namespace

void halfLifeQuantiles(std::span<float> logDecay, std::span<const double> levels, float* out) {
  if (std::any_of(logDecay.begin(), logDecay.end(), [](float v) { return std::isnan(v); })) {
    std::fill_n(out, levels.size(), std::numeric_limits<float>::quiet_NaN());
    return;
  }
  // Rising log_a is rising half-life.
  hwy::Sorter()(logDecay.data(), logDecay.size(), hwy::SortAscending());
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const double place = levels[i] * static_cast<double>(logDecay.size() - 1);
    const auto lower = static_cast<std::size_t>(place);
    const double low = halfLife(logDecay[lower]);
    const double share = place - std::floor(place);
    if (share == 0) {
      out[i] = static_cast<float>(low);
      continue;
    }
    const double high = halfLife(logDecay[lower + 1]);
    out[i] = static_cast<float>(std::isinf(high) ? high : low + share * (high - low));
  }
}

FrameBuilder::FrameBuilder(const ModelConfig& config, const FrameLayout& layout, const ChunkPart& part,
                           std::int64_t firstRow, std::span<TraceFrame> frames)
    : config_(config),
      layout_(layout),
      firstRow_(firstRow),
      firstPosition_(part.position),
      edits_(part.edits),
      frames_(frames) {
  for (std::size_t row = 0; row < frames_.size(); ++row) {
    frames_[row].position = firstPosition_ + static_cast<std::int64_t>(row);
    frames_[row].token = part.tokens[row];
    frames_[row].values.resize(static_cast<std::size_t>(layout.frameSize()));
  }
}

Observe FrameBuilder::observeLayer(int layerIdx) const {
  const bool full = layout_.find(layerIdx, Quantity::state) != nullptr ||
                    layout_.find(layerIdx, Quantity::attention) != nullptr;
  return full ? Observe::full : Observe::summary;
}

float* FrameBuilder::at(std::size_t row, const TraceColumn& column) const {
  return frames_[row].values.data() + column.offset;
}

void FrameBuilder::copyChannels(int layerIdx, Quantity quantity, const float* source) {
  const TraceColumn* column = layout_.find(layerIdx, quantity);
  if (column == nullptr || source == nullptr) return;
  for (std::size_t row = 0; row < frames_.size(); ++row) {
    std::copy_n(source + rowOf(row) * column->size, column->size, at(row, *column));
  }
}

void FrameBuilder::recurrent(int layerIdx, const RecurrentView& view) {
  const std::int64_t R = config_.R;
  const std::int64_t C = config_.channels();
  const auto put = [&](std::size_t row, Quantity quantity, float value) {
    *at(row, *layout_.find(layerIdx, quantity)) = value;
  };
  for (std::size_t row = 0; row < frames_.size(); ++row) {
    if (view.summary != nullptr) {
      const float* const summary = view.summary + rowOf(row) * kRecurrentSummary;
      put(row, Quantity::stateNorm, summary[0]);
      put(row, Quantity::recurrenceGateMean, summary[1]);
      put(row, Quantity::inputGateMean, summary[2]);
      put(row, Quantity::writeNorm, summary[3]);
      put(row, Quantity::keepNorm, summary[4]);
      std::copy_n(summary + 5, 5, at(row, *layout_.find(layerIdx, Quantity::halfLifeQuantiles)));
      continue;
    }
    const std::int64_t offset = rowOf(row) * R;
    const std::int64_t channel = rowOf(row) * C;
    put(row, Quantity::stateNorm, norm2(view.state + offset, R));
    put(row, Quantity::recurrenceGateMean, mean(view.recurrenceGate + channel, C));
    put(row, Quantity::inputGateMean, mean(view.inputGate + channel, C));
    put(row, Quantity::writeNorm, norm2(view.write + offset, R));
    put(row, Quantity::keepNorm, norm2(view.keep + offset, R));
    order_.assign(view.logDecay + channel, view.logDecay + channel + C);
    halfLifeQuantiles(order_, kLevels, at(row, *layout_.find(layerIdx, Quantity::halfLifeQuantiles)));
  }
  copyChannels(layerIdx, Quantity::recurrenceGate, view.recurrenceGate);
  copyChannels(layerIdx, Quantity::inputGate, view.inputGate);
  copyChannels(layerIdx, Quantity::logDecay, view.logDecay);
  copyChannels(layerIdx, Quantity::decay, view.decay);
  copyChannels(layerIdx, Quantity::angle, view.angle);
  copyChannels(layerIdx, Quantity::write, view.write);
  copyChannels(layerIdx, Quantity::keep, view.keep);
  copyChannels(layerIdx, Quantity::state, view.state);
}

// The view's last columns into the frame's last columns; what the view does not reach is 0.
void FrameBuilder::copyWeights(const TraceColumn& column, const AttentionView& view) {
  const std::int64_t span = column.shape.back();
  const std::int64_t shown = std::min(span, view.span);
  for (std::size_t row = 0; row < frames_.size(); ++row) {
    float* out = at(row, column);
    std::fill_n(out, column.size, 0.0F);
    for (std::int64_t head = 0; head < config_.H; ++head) {
      const std::int64_t line = rowOf(row) * config_.H + head;
      std::copy_n(view.weights + (line + 1) * view.span - shown, shown, out + (head + 1) * span - shown);
    }
  }
}

void FrameBuilder::attention(int layerIdx, const AttentionView& view) {
  const TraceColumn& entropies = *layout_.find(layerIdx, Quantity::attentionEntropy);
  const std::int64_t older = olderKeys(config_, layerIdx, edits_);
  const TraceColumn& firsts = *layout_.find(layerIdx, Quantity::attentionFirst);
  for (std::size_t row = 0; row < frames_.size(); ++row) {
    const std::int64_t position = firstPosition_ + static_cast<std::int64_t>(row);
    const std::int64_t visible = std::min(older, position) + 1;
    for (std::int64_t head = 0; head < config_.H; ++head) {
      const std::int64_t line = rowOf(row) * config_.H + head;
      if (view.summary != nullptr) {
        at(row, entropies)[head] = view.summary[2 * line];
        at(row, firsts)[head] = view.summary[2 * line + 1];
        continue;
      }
      const float* weights = view.weights + (line + 1) * view.span - visible;
      at(row, entropies)[head] = entropy(weights, visible);
      at(row, firsts)[head] = weights[0];
    }
  }
  const TraceColumn* full = layout_.find(layerIdx, Quantity::attention);
  if (full != nullptr) copyWeights(*full, view);
}

}  // namespace eyrie::engine
