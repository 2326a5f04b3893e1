#include "engine/taps.h"

#include <fmt/core.h>

#include <algorithm>

#include "engine/error.h"

namespace eyrie::engine {
namespace {

constexpr int kQuantities = static_cast<int>(Quantity::attention) + 1;

constexpr Quantity kRecurrentSummary[] = {Quantity::stateNorm,     Quantity::recurrenceGateMean,
                                          Quantity::inputGateMean, Quantity::writeNorm,
                                          Quantity::keepNorm,      Quantity::halfLifeQuantiles};
constexpr Quantity kRecurrentFull[] = {Quantity::recurrenceGate, Quantity::inputGate, Quantity::logDecay,
                                       Quantity::decay,          Quantity::angle,     Quantity::write,
                                       Quantity::keep,           Quantity::state};

std::vector<std::int64_t> shapeOf(const ModelConfig& config, const TraceOptions& options, BlockKind kind,
                                  Quantity quantity) {
  switch (quantity) {
    case Quantity::halfLifeQuantiles:
      return {5};
    case Quantity::attentionEntropy:
    case Quantity::attentionFirst:
      return {config.H};
    case Quantity::attention:
      return {config.H, kind == BlockKind::localAttention ? config.W + 1 : options.globalSpan};
    case Quantity::recurrenceGate:
    case Quantity::inputGate:
    case Quantity::logDecay:
    case Quantity::decay:
    case Quantity::angle:
      return {config.channels()};
    case Quantity::write:
    case Quantity::keep:
    case Quantity::state:
      return {config.R};
    default:
      return {};
  }
}

void checkOptions(const ModelConfig& config, const TraceOptions& options) {
  for (const int layerIdx : options.layers) {
    if (layerIdx < 0 || layerIdx >= config.L) {
      throw Error(ErrorCode::badArgument,
                  fmt::format("trace layers: expected 0 to {}, found {}", config.L - 1, layerIdx));
    }
  }
  if (options.globalSpan < 1) {
    throw Error(ErrorCode::badArgument,
                fmt::format("trace span: expected 1 or more, found {}", options.globalSpan));
  }
}

}  // namespace

const char* quantityName(Quantity quantity) {
  static constexpr const char* kNames[kQuantities] = {"state_norm",
                                                      "recurrence_gate_mean",
                                                      "input_gate_mean",
                                                      "write_norm",
                                                      "keep_norm",
                                                      "half_life_quantiles",
                                                      "attention_entropy",
                                                      "attention_first",
                                                      "recurrence_gate",
                                                      "input_gate",
                                                      "log_decay",
                                                      "decay",
                                                      "angle",
                                                      "write",
                                                      "keep",
                                                      "state",
                                                      "attention"};
  return kNames[static_cast<int>(quantity)];
}

FrameLayout::FrameLayout(const ModelConfig& config, const TraceOptions& options) : options_(options) {
  if (options.level == TraceLevel::off) return;
  checkOptions(config, options);
  index_.assign(static_cast<std::size_t>(config.L) * kQuantities, -1);
  for (int layerIdx = 0; layerIdx < static_cast<int>(config.L); ++layerIdx) {
    const BlockKind kind = config.blocks[static_cast<std::size_t>(layerIdx)];
    const bool chosen = options.layers.empty() || std::find(options.layers.begin(), options.layers.end(),
                                                            layerIdx) != options.layers.end();
    const bool full = options.level == TraceLevel::full && chosen;
    const auto add = [&](Quantity quantity) {
      append(layerIdx, quantity, shapeOf(config, options, kind, quantity));
    };
    if (kind == BlockKind::recurrent) {
      for (const Quantity quantity : kRecurrentSummary) add(quantity);
      if (full) {
        for (const Quantity quantity : kRecurrentFull) {
          if (quantity != Quantity::angle || config.rgLru == RgLru::complex) add(quantity);
        }
      }
    } else {
      add(Quantity::attentionEntropy);
      add(Quantity::attentionFirst);
      if (full) add(Quantity::attention);
    }
  }
}

void FrameLayout::append(int layerIdx, Quantity quantity, std::vector<std::int64_t> shape) {
  TraceColumn column;
  column.name = fmt::format("layers.{}.{}", layerIdx, quantityName(quantity));
  column.layerIdx = layerIdx;
  column.quantity = quantity;
  column.offset = frameSize_;
  for (const std::int64_t extent : shape) column.size *= extent;
  column.shape = std::move(shape);
  frameSize_ += column.size;
  index_[static_cast<std::size_t>(layerIdx) * kQuantities + static_cast<std::size_t>(quantity)] =
      static_cast<int>(columns_.size());
  columns_.push_back(std::move(column));
}

const TraceColumn* FrameLayout::find(int layerIdx, Quantity quantity) const {
  const std::size_t key =
      static_cast<std::size_t>(layerIdx) * kQuantities + static_cast<std::size_t>(quantity);
  if (layerIdx < 0 || key >= index_.size() || index_[key] < 0) return nullptr;
  return &columns_[static_cast<std::size_t>(index_[key])];
}

}  // namespace eyrie::engine
