// Comparing states in tests: to the bit, and by how much they differ.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "engine/sequence_state.h"

namespace eyrie::engine::test {

inline bool sameBits(const std::vector<float>& x, const std::vector<float>& y) {
  return x.size() == y.size() && (x.empty() || std::memcmp(x.data(), y.data(), x.size() * 4) == 0);
}

inline bool sameBits(const HostState& a, const HostState& b) {
  if (a.position != b.position || a.layers.size() != b.layers.size()) return false;
  for (std::size_t i = 0; i < a.layers.size(); ++i) {
    const LayerState& x = a.layers[i];
    const LayerState& y = b.layers[i];
    if (!sameBits(x.h, y.h) || !sameBits(x.tail, y.tail) || !sameBits(x.keys, y.keys) ||
        !sameBits(x.values, y.values)) {
      return false;
    }
  }
  return true;
}

// ‖a − b‖ / ‖b‖.
inline double relativeError(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0;
  double norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    norm += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / norm);
}

// The largest relative error of any array of any layer.
inline double worstError(const HostState& a, const HostState& b) {
  double worst = 0;
  for (std::size_t i = 0; i < b.layers.size(); ++i) {
    for (const auto member : {&LayerState::h, &LayerState::tail, &LayerState::keys, &LayerState::values}) {
      const std::vector<float>& expected = b.layers[i].*member;
      if (!expected.empty()) worst = std::max(worst, relativeError(a.layers[i].*member, expected));
    }
  }
  return worst;
}

}  // namespace eyrie::engine::test
