#include "engine/tensor_registry.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "engine/error.h"

namespace eyrie::engine {
namespace {

enum class Dim : std::uint8_t {
  none,
  one,
  D,
  R,
  E,
  V,
  K,
  queries,
  keys,
  channels,
  blocks,
  blockIn,
  blockOut
};
enum class Scope : std::uint8_t { model, everyLayer, recurrent, attention };

struct TableRow {
  Scope scope;
  const char* name;  // after "model." or "model.layers.N."
  TensorRole role;
  std::array<Dim, 3> dims;
};

constexpr const char* kBlock = "temporal_block.";

// clang-format off
constexpr std::array kTable = {
    TableRow{Scope::model,      "embed_tokens.weight",            TensorRole::embedding,      {Dim::V, Dim::D}},
    TableRow{Scope::everyLayer, "temporal_pre_norm.weight",       TensorRole::norm,           {Dim::D}},
    TableRow{Scope::recurrent,  "linear_x.weight",                TensorRole::linear,         {Dim::R, Dim::D}},
    TableRow{Scope::recurrent,  "linear_x.bias",                  TensorRole::bias,           {Dim::R}},
    TableRow{Scope::recurrent,  "linear_y.weight",                TensorRole::linear,         {Dim::R, Dim::D}},
    TableRow{Scope::recurrent,  "linear_y.bias",                  TensorRole::bias,           {Dim::R}},
    TableRow{Scope::recurrent,  "conv_1d.weight",                 TensorRole::convolution,    {Dim::R, Dim::one, Dim::K}},
    TableRow{Scope::recurrent,  "conv_1d.bias",                   TensorRole::bias,           {Dim::R}},
    TableRow{Scope::recurrent,  "rg_lru.recurrent_param",         TensorRole::recurrentParam, {Dim::channels}},
    TableRow{Scope::recurrent,  "rg_lru.recurrent_imag_param",    TensorRole::recurrentImagParam, {Dim::channels}},
    TableRow{Scope::recurrent,  "rg_lru.input_gate_weight",       TensorRole::gateWeight,     {Dim::blocks, Dim::blockIn, Dim::blockOut}},
    TableRow{Scope::recurrent,  "rg_lru.input_gate_bias",         TensorRole::gateBias,       {Dim::blocks, Dim::blockOut}},
    TableRow{Scope::recurrent,  "rg_lru.recurrent_gate_weight",   TensorRole::gateWeight,     {Dim::blocks, Dim::blockIn, Dim::blockOut}},
    TableRow{Scope::recurrent,  "rg_lru.recurrent_gate_bias",     TensorRole::gateBias,       {Dim::blocks, Dim::blockOut}},
    TableRow{Scope::recurrent,  "linear_out.weight",              TensorRole::linear,         {Dim::D, Dim::R}},
    TableRow{Scope::recurrent,  "linear_out.bias",                TensorRole::bias,           {Dim::D}},
    TableRow{Scope::attention,  "q_proj.weight",                  TensorRole::linear,         {Dim::queries, Dim::D}},
    TableRow{Scope::attention,  "k_proj.weight",                  TensorRole::linear,         {Dim::keys, Dim::D}},
    TableRow{Scope::attention,  "v_proj.weight",                  TensorRole::linear,         {Dim::keys, Dim::D}},
    TableRow{Scope::attention,  "o_proj.weight",                  TensorRole::linear,         {Dim::D, Dim::queries}},
    TableRow{Scope::attention,  "o_proj.bias",                    TensorRole::bias,           {Dim::D}},
    TableRow{Scope::everyLayer, "channel_pre_norm.weight",        TensorRole::norm,           {Dim::D}},
    TableRow{Scope::everyLayer, "mlp_block.gate_proj.weight",     TensorRole::linear,         {Dim::E, Dim::D}},
    TableRow{Scope::everyLayer, "mlp_block.gate_proj.bias",       TensorRole::bias,           {Dim::E}},
    TableRow{Scope::everyLayer, "mlp_block.up_proj.weight",       TensorRole::linear,         {Dim::E, Dim::D}},
    TableRow{Scope::everyLayer, "mlp_block.up_proj.bias",         TensorRole::bias,           {Dim::E}},
    TableRow{Scope::everyLayer, "mlp_block.down_proj.weight",     TensorRole::linear,         {Dim::D, Dim::E}},
    TableRow{Scope::everyLayer, "mlp_block.down_proj.bias",       TensorRole::bias,           {Dim::D}},
    TableRow{Scope::model,      "final_norm.weight",              TensorRole::norm,           {Dim::D}},
};
// clang-format on

struct DimText {
  std::int64_t size;
  const char* words;
};

DimText dimOf(Dim dim, const ModelConfig& config) {
  const bool complex = config.rgLru == RgLru::complex;
  switch (dim) {
    case Dim::D:
      return {config.D, "hidden_size"};
    case Dim::R:
      return {config.R, "lru_width"};
    case Dim::E:
      return {config.E, "intermediate_size / 2"};
    case Dim::V:
      return {config.V, "vocab_size"};
    case Dim::K:
      return {config.K, "conv1d_width"};
    case Dim::queries:
      return {config.H * config.Dh, "num_attention_heads * head_dim"};
    case Dim::keys:
      return {config.kvHeads * config.Dh, "num_key_value_heads * head_dim"};
    case Dim::channels:
      return {config.channels(), complex ? "lru_width / 2" : "lru_width"};
    case Dim::blocks:
      return {config.gateBlocks, "gate blocks"};
    case Dim::blockIn:
      return {config.gateBlocks > 0 ? config.R / config.gateBlocks : 0, "lru_width / gate blocks"};
    case Dim::blockOut:
      return {config.gateBlocks > 0 ? config.channels() / config.gateBlocks : 0,
              complex ? "lru_width / 2 / gate blocks" : "lru_width / gate blocks"};
    case Dim::one:
    case Dim::none:
      break;
  }
  return {1, "1"};
}

ExpectedTensor fromRow(const TableRow& row, const ModelConfig& config, std::string name,
                       std::int64_t layerIdx) {
  ExpectedTensor tensor{std::move(name), {}, {}, row.role, layerIdx};
  for (const Dim dim : row.dims) {
    if (dim == Dim::none) break;
    const DimText text = dimOf(dim, config);
    tensor.shape.push_back(text.size);
    tensor.formula += tensor.formula.empty() ? "[" : ", ";
    tensor.formula += text.words;
  }
  tensor.formula += "]";
  return tensor;
}

bool isTemporal(const TableRow& row) {
  return row.scope == Scope::recurrent || row.scope == Scope::attention;
}

bool belongs(const TableRow& row, const ModelConfig& config, std::int64_t layerIdx) {
  if (row.scope == Scope::model) return false;
  if (row.role == TensorRole::recurrentImagParam && config.rgLru != RgLru::complex) return false;
  if (!isTemporal(row)) return true;
  const bool recurrent = config.blocks[static_cast<std::size_t>(layerIdx)] == BlockKind::recurrent;
  return (row.scope == Scope::recurrent) == recurrent;
}

}  // namespace

std::vector<ExpectedTensor> expectedTensors(const ModelConfig& config) {
  std::vector<ExpectedTensor> tensors;
  for (const TableRow& row : kTable) {
    if (row.scope != Scope::model) continue;
    if (row.role == TensorRole::norm) {  // the final norm comes after the layers
      for (std::int64_t layerIdx = 0; layerIdx < config.L; ++layerIdx)
        for (const TableRow& part : kTable)
          if (belongs(part, config, layerIdx))
            tensors.push_back(fromRow(
                part, config,
                fmt::format("model.layers.{}.{}{}", layerIdx, isTemporal(part) ? kBlock : "", part.name),
                layerIdx));
    }
    tensors.push_back(fromRow(row, config, fmt::format("model.{}", row.name), -1));
  }
  return tensors;
}

std::string gateBlocksWitness(const ModelConfig& config) {
  const auto first = std::find(config.blocks.begin(), config.blocks.end(), BlockKind::recurrent);
  if (first == config.blocks.end()) return {};
  return fmt::format("model.layers.{}.temporal_block.rg_lru.input_gate_weight",
                     first - config.blocks.begin());
}

std::int64_t countGateBlocks(const ModelConfig& config, const std::vector<std::int64_t>& shape,
                             const std::string& file) {
  if (shape.size() != 3 || shape[0] < 1 || config.channels() % shape[0] != 0)
    throw Error(
        ErrorCode::badTensor,
        fmt::format("{}: tensor {}: expected a shape [blocks, in, out] whose blocks divide {} {}, found {}",
                    file, gateBlocksWitness(config), dimOf(Dim::channels, config).words, config.channels(),
                    shapeText(shape)));
  return shape[0];
}

std::string shapeText(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

}  // namespace eyrie::engine
