// Checkpoints for checks: small random ones in memory, and real ones deliberately bent.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/checkpoint/checkpoint.h"

namespace eyrie::engine::verify {

// A configuration of odd small shapes (R ≠ D, R / gate blocks ≠ Dh, odd window) for a pattern such as "RRA",
// "R", "A" or "G", repeated to `layers`.
ModelConfig tinyConfig(const std::string& pattern, std::int64_t layers, RgLru rgLru = RgLru::real);

// Random f32 weights for `config`, the same for the same seed on every platform. Half-lives from a few tokens
// to thousands, as trained models have them.
std::shared_ptr<const Checkpoint> randomCheckpoint(const ModelConfig& config, std::uint64_t seed);

// `base` with another configuration and with some tensors read under another's name (name asked for → name
// given): how the checks make their broken variants.
std::shared_ptr<const Checkpoint> bentCheckpoint(std::shared_ptr<const Checkpoint> base,
                                                 const ModelConfig& config,
                                                 std::function<std::string(const std::string&)> rename = {});

// `base`, all of f32, with its configuration and whatever `edit` makes of its tensors' values.
std::shared_ptr<const Checkpoint> editedCheckpoint(
    std::shared_ptr<const Checkpoint> base,
    const std::function<void(const std::string& name, std::vector<float>& values)>& edit);

// Reproducible random numbers for checks: uniform in [0, 1), and about normal.
class TestRandom {
 public:
  explicit TestRandom(std::uint64_t seed) : state_(seed) {}
  std::uint64_t bits();
  double uniform();
  float normal();
  std::vector<float> normals(std::int64_t n, float scale = 1.0F);
  std::vector<std::int32_t> tokens(std::int64_t n, std::int64_t V);

 private:
  std::uint64_t state_;
};

// The values as a tensor of `dtype` (f32, f16 or bf16) holds them.
std::vector<std::byte> stored(const std::vector<float>& values, kernels::DType dtype);

}  // namespace eyrie::engine::verify
