// 128-bit digest that tells models apart. Fast, not cryptographic: it guards against mix-ups, not attacks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/checkpoint/checkpoint.h"

namespace eyrie::engine {

// Two 64-bit lanes, mixed differently; every value is preceded by its length, so "ab","c" ≠ "a","bc".
class Digest {
 public:
  void add(const void* data, std::size_t bytes);
  void add(std::string_view text) { add(text.data(), text.size()); }
  void add(std::int64_t value) { add(&value, sizeof value); }
  std::string hex() const;  // 32 digits

 private:
  void mix(std::uint64_t word);
  std::uint64_t a_ = 0x9e3779b97f4a7c15U;
  std::uint64_t b_ = 0xc2b2ae3d27d4eb4fU;
};

// Configuration, names, dtypes, shapes and sampled bytes; independent of how the tensors are split over
// files.
std::string fingerprintOf(const ModelConfig& config, const std::vector<StoredTensor>& tensors);

}  // namespace eyrie::engine
