#include "ui/inspect/run_data.h"

#include <QCoreApplication>
#include <algorithm>
#include <cmath>
#include <numeric>

namespace eyrie::ui {
namespace {

using engine::BlockKind;
using engine::Quantity;

std::vector<int> layersWhere(const engine::ModelConfig& config, bool recurrent) {
  std::vector<int> layers;
  for (std::size_t i = 0; i < config.blocks.size(); ++i)
    if ((config.blocks[i] == BlockKind::recurrent) == recurrent) layers.push_back(static_cast<int>(i));
  return layers;
}

int shownLayer(const std::vector<int>& layers, int wanted) {
  if (layers.empty()) return -1;
  return std::find(layers.begin(), layers.end(), wanted) != layers.end() ? wanted : layers.front();
}

std::span<const float> read(const InspectedRun& run, int layerIdx, Quantity quantity, std::int64_t token) {
  const engine::TraceColumn* column = run.trace.layout().find(layerIdx, quantity);
  if (!column || token < 0 || token >= run.trace.size()) return {};
  return run.trace.values(*column, token);
}

// Of complex channels, whose imaginary parts follow the real ones, the lengths.
std::vector<float> magnitudes(std::span<const float> values, const engine::ModelConfig& config) {
  if (values.empty()) return {};
  std::vector<float> result(static_cast<std::size_t>(config.channels()));
  for (std::size_t c = 0; c < result.size(); ++c)
    result[c] = config.rgLru == engine::RgLru::complex ? std::hypot(values[c], values[result.size() + c])
                                                       : std::abs(values[c]);
  return result;
}

std::vector<int> descending(const std::vector<float>& keys) {
  std::vector<int> order(keys.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return keys[static_cast<std::size_t>(a)] > keys[static_cast<std::size_t>(b)];
  });
  return order;
}

}  // namespace

QString gateQuantityName(GateQuantity quantity) {
  switch (quantity) {
    case GateQuantity::recurrence:
      return QCoreApplication::translate("eyrie::ui::Gates", "r recurrence");
    case GateQuantity::input:
      return QCoreApplication::translate("eyrie::ui::Gates", "i input");
    case GateQuantity::decay:
      return QCoreApplication::translate("eyrie::ui::Gates", "a decay");
    case GateQuantity::halfLife:
      return QCoreApplication::translate("eyrie::ui::Gates", "half-life");
    case GateQuantity::write:
      return QCoreApplication::translate("eyrie::ui::Gates", "write");
  }
  return {};
}

ColourMap gateColourMap(GateQuantity quantity) {
  return quantity == GateQuantity::halfLife || quantity == GateQuantity::decay ? ColourMap::viridis
                                                                               : ColourMap::weights;
}

std::vector<int> recurrentLayers(const engine::ModelConfig& config) {
  return layersWhere(config, true);
}
std::vector<int> attentionLayers(const engine::ModelConfig& config) {
  return layersWhere(config, false);
}

int shownRecurrentLayer(const InspectedRun& run, const Selection& selection) {
  return shownLayer(recurrentLayers(run.trace.config()), selection.recurrentLayer());
}

int shownAttentionLayer(const InspectedRun& run, const Selection& selection) {
  return shownLayer(attentionLayers(run.trace.config()), selection.attentionLayer());
}

int neighbourLayer(const std::vector<int>& layers, int layerIdx, int step) {
  const auto here = std::find(layers.begin(), layers.end(), layerIdx);
  if (here == layers.end()) return layers.empty() ? -1 : layers.front();
  const auto place = std::clamp<std::ptrdiff_t>(here - layers.begin() + step, 0,
                                                static_cast<std::ptrdiff_t>(layers.size()) - 1);
  return layers[static_cast<std::size_t>(place)];
}

std::int64_t shownToken(const InspectedRun& run, const Selection& selection) {
  const std::int64_t size = run.trace.size();
  if (selection.token() >= 0 && selection.token() < size) return selection.token();
  // Frames trail records by a few tokens while streaming, and may be dropped.
  constexpr std::int64_t kLookBack = 256;
  for (std::int64_t token = size - 1; token >= std::max<std::int64_t>(0, size - kLookBack); --token)
    if (run.trace.hasFrame(token)) return token;
  return size - 1;
}

std::int64_t windowEdge(const InspectedRun& run, std::int64_t token) {
  const engine::ModelConfig& config = run.trace.config();
  if (token < 0 || !config.hasKind(BlockKind::localAttention)) return -1;
  return std::max<std::int64_t>(0, token - config.olderKeys());
}

float halfLife(float logDecay) {
  constexpr float kLogHalf = -0.69314718F;
  if (!(logDecay < 0)) return std::isnan(logDecay) ? logDecay : std::numeric_limits<float>::infinity();
  return std::isinf(logDecay) ? 0 : kLogHalf / logDecay;
}

std::vector<float> channelValues(const InspectedRun& run, int layerIdx, GateQuantity quantity,
                                 std::int64_t token) {
  const auto copy = [&](Quantity source, auto convert) {
    const std::span<const float> values = read(run, layerIdx, source, token);
    std::vector<float> result(values.size());
    std::transform(values.begin(), values.end(), result.begin(), convert);
    return result;
  };
  const auto same = [](float v) { return v; };
  switch (quantity) {
    case GateQuantity::recurrence:
      return copy(Quantity::recurrenceGate, same);
    case GateQuantity::input:
      return copy(Quantity::inputGate, same);
    case GateQuantity::decay:
      return copy(Quantity::logDecay, [](float v) { return std::exp(v); });
    case GateQuantity::halfLife:
      return copy(Quantity::logDecay, halfLife);
    case GateQuantity::write:
      return magnitudes(read(run, layerIdx, Quantity::write, token), run.trace.config());
  }
  return {};
}

std::vector<int> halfLifeOrder(const InspectedRun& run, int layerIdx, std::int64_t token) {
  return descending(channelValues(run, layerIdx, GateQuantity::halfLife, token));
}

std::vector<int> meanHalfLifeOrder(const InspectedRun& run, int layerIdx, std::int64_t upTo) {
  constexpr std::int64_t kSamples = 64;
  std::vector<float> sums;
  for (std::int64_t i = 0; i < std::min(kSamples, upTo); ++i) {
    const std::int64_t token = upTo <= kSamples ? i : i * upTo / kSamples;
    const std::vector<float> values = channelValues(run, layerIdx, GateQuantity::halfLife, token);
    if (values.empty()) continue;
    sums.resize(values.size());
    for (std::size_t r = 0; r < values.size(); ++r) sums[r] += std::log(std::clamp(values[r], 1e-3F, 1e6F));
  }
  return descending(sums);
}

std::span<const float> halfLifeQuantiles(const InspectedRun& run, int layerIdx, std::int64_t token) {
  return read(run, layerIdx, Quantity::halfLifeQuantiles, token);
}

float halfLifeAtPlace(std::span<const float> quantiles, double place) {
  constexpr double kShares[] = {0.05, 0.25, 0.5, 0.75, 0.95};
  if (quantiles.size() != 5) return std::numeric_limits<float>::quiet_NaN();
  const double share = std::clamp(1 - place, kShares[0], kShares[4]);
  std::size_t lower = 0;
  while (lower < 3 && share > kShares[lower + 1]) ++lower;
  const double t = (share - kShares[lower]) / (kShares[lower + 1] - kShares[lower]);
  const auto logOf = [&](std::size_t i) { return std::log(std::clamp(quantiles[i], 1e-3F, 1e6F)); };
  return static_cast<float>(std::exp(logOf(lower) + (logOf(lower + 1) - logOf(lower)) * t));
}

bool recordsAnything(const InspectedRun& run) {
  return run.trace.size() > 0 && !run.trace.layout().columns().empty();
}

bool recordsFull(const InspectedRun& run, int layerIdx) {
  const engine::FrameLayout& layout = run.trace.layout();
  return layout.find(layerIdx, Quantity::recurrenceGate) || layout.find(layerIdx, Quantity::attention);
}

}  // namespace eyrie::ui
