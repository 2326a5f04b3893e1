#include "engine/state_algebra.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/error.h"

namespace eyrie::engine {
namespace {

std::size_t count(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

// Sums over pairs, from which the figures follow.
struct Sums {
  double difference = 0;
  double a = 0;
  double b = 0;
  double product = 0;

  void add(double x, double y) {
    difference += (x - y) * (x - y);
    a += x * x;
    b += y * y;
    product += x * y;
  }

  ArrayDifference figures() const {
    ArrayDifference result;
    result.difference = std::sqrt(difference);
    result.normA = std::sqrt(a);
    result.normB = std::sqrt(b);
    if (b > 0) {
      result.relative = result.difference / result.normB;
    } else if (a > 0) {
      result.relative = std::numeric_limits<double>::infinity();
    }
    const bool both = a > 0 && b > 0;
    result.cosine = both ? product / (result.normA * result.normB) : std::numeric_limits<double>::quiet_NaN();
    return result;
  }
};

ArrayDifference compare(std::span<const float> a, std::span<const float> b) {
  Sums sums;
  for (std::size_t i = 0; i < a.size(); ++i) sums.add(a[i], b[i]);
  return sums.figures();
}

std::vector<ArrayDifference> compareBlocks(std::span<const float> a, std::span<const float> b, std::int64_t C,
                                           std::int64_t blocks) {
  const std::int64_t width = (C + blocks - 1) / blocks;
  std::vector<Sums> sums(count((C + width - 1) / width));
  // A complex channel's imaginary part is C after its real part.
  for (std::size_t i = 0; i < a.size(); ++i) sums[i % count(C) / count(width)].add(a[i], b[i]);
  std::vector<ArrayDifference> figures;
  for (const Sums& block : sums) figures.push_back(block.figures());
  return figures;
}

// The rows of positions first.. to first + rows - 1 of keys or values that end before `position`.
std::span<const float> rowsOf(const std::vector<float>& array, std::int64_t position, std::int64_t first,
                              std::int64_t rows, std::int64_t width) {
  const std::int64_t held = static_cast<std::int64_t>(array.size()) / width;
  return std::span(array).subspan(count((first - (position - held)) * width), count(rows * width));
}

void compareKeys(const HostState& a, const HostState& b, std::int64_t layerIdx, const ModelConfig& config,
                 LayerDifference& result) {
  const std::int64_t width = config.kvHeads * config.Dh;
  const std::int64_t first = std::max(a.position - rememberedKeys(config, layerIdx, a.position),
                                      b.position - rememberedKeys(config, layerIdx, b.position));
  result.sharedKeys = std::max<std::int64_t>(0, std::min(a.position, b.position) - first);
  if (result.sharedKeys == 0) {
    result.keys = result.values = compare({}, {});
    return;
  }
  const auto compareMember = [&](std::vector<float> LayerState::*member) {
    return compare(rowsOf(a.layers[count(layerIdx)].*member, a.position, first, result.sharedKeys, width),
                   rowsOf(b.layers[count(layerIdx)].*member, b.position, first, result.sharedKeys, width));
  };
  result.keys = compareMember(&LayerState::keys);
  result.values = compareMember(&LayerState::values);
}

bool isRecurrent(const ModelConfig& config, std::int64_t layerIdx) {
  return config.blocks[count(layerIdx)] == BlockKind::recurrent;
}

void checkBoth(const HostState& a, const HostState& b, const ModelConfig& config) {
  checkState(a, config);
  checkState(b, config);
}

[[noreturn]] void differentPositions(const char* what, std::int64_t layerIdx, std::int64_t a,
                                     std::int64_t b) {
  throw Error(ErrorCode::stateMismatch,
              fmt::format("{}: layer {} attends, and keys belong to their positions: expected two states at "
                          "one position, found {} and {}",
                          what, layerIdx, a, b));
}

void mix(std::vector<float>& a, const std::vector<float>& b, double t) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    a[i] = static_cast<float>((1 - t) * static_cast<double>(a[i]) + t * static_cast<double>(b[i]));
    if (std::isfinite(a[i])) continue;
    throw Error(ErrorCode::badArgument,
                fmt::format("interpolate: t: expected one whose mixture f32 can hold, found {}", t));
  }
}

}  // namespace

std::vector<LayerDifference> difference(const HostState& a, const HostState& b, const ModelConfig& config,
                                        std::int64_t blocks) {
  checkBoth(a, b, config);
  if (blocks < 1) {
    throw Error(ErrorCode::badArgument, fmt::format("blocks: expected at least 1, found {}", blocks));
  }
  std::vector<LayerDifference> layers(count(config.L));
  for (std::int64_t layerIdx = 0; layerIdx < config.L; ++layerIdx) {
    LayerDifference& layer = layers[count(layerIdx)];
    const LayerState& x = a.layers[count(layerIdx)];
    const LayerState& y = b.layers[count(layerIdx)];
    if (isRecurrent(config, layerIdx)) {
      layer.h = compare(x.h, y.h);
      layer.tail = compare(x.tail, y.tail);
      layer.blocks = compareBlocks(x.h, y.h, config.channels(), std::min(blocks, config.channels()));
    } else {
      compareKeys(a, b, layerIdx, config, layer);
    }
  }
  return layers;
}

HostState interpolate(const HostState& a, const HostState& b, double t, const ModelConfig& config) {
  checkBoth(a, b, config);
  if (!std::isfinite(t)) {
    throw Error(ErrorCode::badArgument, fmt::format("interpolate: t: expected a number, found {}", t));
  }
  for (std::int64_t layerIdx = 0; layerIdx < config.L && a.position != b.position; ++layerIdx) {
    if (!isRecurrent(config, layerIdx)) differentPositions("interpolate", layerIdx, a.position, b.position);
  }
  if (t == 0) return a;
  if (t == 1) return b;
  HostState result = a;
  result.position = std::max(a.position, b.position);
  for (std::size_t i = 0; i < result.layers.size(); ++i) {
    mix(result.layers[i].h, b.layers[i].h, t);
    mix(result.layers[i].tail, b.layers[i].tail, t);
    mix(result.layers[i].keys, b.layers[i].keys, t);
    mix(result.layers[i].values, b.layers[i].values, t);
  }
  return result;
}

HostState transplant(HostState into, const HostState& from, std::span<const std::int64_t> layers,
                     const ModelConfig& config) {
  checkBoth(into, from, config);
  for (const std::int64_t layerIdx : layers) {
    if (layerIdx < 0 || layerIdx >= config.L) {
      throw Error(ErrorCode::badArgument,
                  fmt::format("transplant: layer: expected 0 to {}, found {}", config.L - 1, layerIdx));
    }
    if (!isRecurrent(config, layerIdx) && into.position != from.position) {
      differentPositions("transplant", layerIdx, into.position, from.position);
    }
    if (into.position == 0 && from.position != 0) {
      throw Error(
          ErrorCode::stateMismatch,
          fmt::format("transplant: at position 0 every layer forgets its state: expected one after 0, "
                      "found 0 (and {})",
                      from.position));
    }
    into.layers[count(layerIdx)] = from.layers[count(layerIdx)];
  }
  return into;
}

}  // namespace eyrie::engine
