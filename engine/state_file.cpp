#include "app/cli/state_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/checkpoint/safetensors.h"

namespace eyrie::app {

void writeStateFile(const std::filesystem::path& file, const engine::HostState& state,
                    const engine::ModelConfig& config) {
  std::vector<engine::SafetensorsTensor> tensors;
  const auto add = [&](std::string name, std::vector<std::int64_t> shape, const std::vector<float>& values) {
    engine::SafetensorsTensor tensor;
    tensor.name = std::move(name);
    tensor.dtype = "F32";
    tensor.shape = std::move(shape);
    tensor.bytes = values.size() * sizeof(float);
    tensor.data = values.data();
    tensors.push_back(std::move(tensor));
  };
  const std::int64_t head = config.kvHeads * config.Dh;
  for (std::size_t i = 0; i < state.layers.size(); ++i) {
    const engine::LayerState& layer = state.layers[i];
    if (config.blocks[i] == engine::BlockKind::recurrent) {
      add(fmt::format("layers.{}.conv_1d.tail", i), {config.K - 1, config.R}, layer.tail);
      add(fmt::format("layers.{}.rg_lru.h", i), {config.R}, layer.h);
    } else {
      const auto n = static_cast<std::int64_t>(layer.keys.size()) / head;
      add(fmt::format("layers.{}.attention.keys", i), {n, config.kvHeads, config.Dh}, layer.keys);
      add(fmt::format("layers.{}.attention.values", i), {n, config.kvHeads, config.Dh}, layer.values);
    }
  }
  engine::writeSafetensors(file, tensors, {{"position", std::to_string(state.position)}});
}

}  // namespace eyrie::app
