#include "engine/checkpoint/deepmind_names.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <utility>

#include "engine/checkpoint/strict_json.h"
#include "engine/error.h"
#include "engine/make_model.h"
#include "engine/tensor_registry.h"

namespace eyrie::engine {
namespace {

constexpr std::string_view kTable = "embedder.input_embedding";
constexpr std::string_view kBlocks = "blocks.";
constexpr std::string_view kLayers = "model.layers.";

// How a tensor's data lies, seen from Hugging Face's layout.
enum class Form : std::uint8_t {
  same,
  matrix,     // may also be called "kernel", and is then transposed
  taps,       // (K, R) for (R, 1, K)
  upWeights,  // (2, D, E) for two of (E, D): gate, up
  upBiases    // (2, 1, 1, E) for two of (E)
};

struct Row {
  std::string_view deepMind;
  std::string_view huggingFace;
  Form form = Form::same;
  std::string_view second{};  // of a tensor that is cut in two
};

constexpr std::array kModelRows = {Row{kTable, kEmbeddingName},
                                   Row{"final_norm.scale", "model.final_norm.weight"}};

// clang-format off
// After "blocks.N." and "model.layers.N.".
constexpr std::array kLayerRows = {
    Row{"temporal_pre_norm.scale",              "temporal_pre_norm.weight"},
    Row{"channel_pre_norm.scale",               "channel_pre_norm.weight"},
    Row{"recurrent_block.linear_x.weight",      "temporal_block.linear_x.weight", Form::matrix},
    Row{"recurrent_block.linear_x.bias",        "temporal_block.linear_x.bias"},
    Row{"recurrent_block.linear_y.weight",      "temporal_block.linear_y.weight", Form::matrix},
    Row{"recurrent_block.linear_y.bias",        "temporal_block.linear_y.bias"},
    Row{"recurrent_block.linear_out.weight",    "temporal_block.linear_out.weight", Form::matrix},
    Row{"recurrent_block.linear_out.bias",      "temporal_block.linear_out.bias"},
    Row{"recurrent_block.conv_1d.w",            "temporal_block.conv_1d.weight", Form::taps},
    Row{"recurrent_block.conv_1d.b",            "temporal_block.conv_1d.bias"},
    Row{"recurrent_block.rg_lru.a_param",       "temporal_block.rg_lru.recurrent_param"},
    Row{"recurrent_block.rg_lru.a_imag_param",  "temporal_block.rg_lru.recurrent_imag_param"},
    Row{"recurrent_block.rg_lru.input_gate.w",  "temporal_block.rg_lru.input_gate_weight"},
    Row{"recurrent_block.rg_lru.input_gate.b",  "temporal_block.rg_lru.input_gate_bias"},
    Row{"recurrent_block.rg_lru.a_gate.w",      "temporal_block.rg_lru.recurrent_gate_weight"},
    Row{"recurrent_block.rg_lru.a_gate.b",      "temporal_block.rg_lru.recurrent_gate_bias"},
    Row{"attention_block.proj_q.weight",        "temporal_block.q_proj.weight", Form::matrix},
    Row{"attention_block.proj_k.weight",        "temporal_block.k_proj.weight", Form::matrix},
    Row{"attention_block.proj_v.weight",        "temporal_block.v_proj.weight", Form::matrix},
    Row{"attention_block.proj_final.weight",    "temporal_block.o_proj.weight", Form::matrix},
    Row{"attention_block.proj_final.bias",      "temporal_block.o_proj.bias"},
    Row{"mlp_block.ffw_up.w",                   "mlp_block.gate_proj.weight", Form::upWeights, "mlp_block.up_proj.weight"},
    Row{"mlp_block.ffw_up.b",                   "mlp_block.gate_proj.bias",   Form::upBiases,  "mlp_block.up_proj.bias"},
    Row{"mlp_block.ffw_down.weight",            "mlp_block.down_proj.weight", Form::matrix},
    Row{"mlp_block.ffw_down.bias",              "mlp_block.down_proj.bias"},
};
// clang-format on

[[noreturn]] void fail(const FoundTensor& found, const std::string& what) {
  throw Error(ErrorCode::badTensor,
              fmt::format("{}: tensor {}: {}", found.file, printable(found.tensor.name), what));
}

// Flattened Flax trees come with either separator, with and without their root.
std::string plainName(std::string name) {
  std::replace(name.begin(), name.end(), '/', '.');
  constexpr std::string_view kRoot = "params.";
  while (name.starts_with(kRoot)) name.erase(0, kRoot.size());
  return name;
}

// "blocks.17.rest" as {"17", "rest"}.
std::optional<std::pair<std::string_view, std::string_view>> layerAndRest(std::string_view name,
                                                                          std::string_view start) {
  if (!name.starts_with(start)) return std::nullopt;
  name.remove_prefix(start.size());
  const std::size_t digits = std::min(name.find_first_not_of("0123456789"), name.size());
  constexpr std::size_t kMostDigits = 6;
  if (digits == 0 || digits > kMostDigits || digits == name.size() || name[digits] != '.')
    return std::nullopt;
  return std::pair(name.substr(0, digits), name.substr(digits + 1));
}

class Renamer {
 public:
  explicit Renamer(FoundTensors found) : found_(std::move(found)) {}

  FoundTensors run() {
    for (auto& [name, tensor] : found_) rename(plainName(name), std::move(tensor));
    return std::move(renamed_);
  }

 private:
  void rename(std::string name, FoundTensor found) {
    bool kernel = false;
    constexpr std::string_view kKernel = "kernel";
    if (name.ends_with(".kernel")) {
      kernel = true;
      name.replace(name.size() - kKernel.size(), kKernel.size(), "weight");
    }
    const auto layer = layerAndRest(name, kBlocks);
    const std::string_view rest = layer ? layer->second : std::string_view(name);
    const auto known = [&](const Row& row) {
      return row.deepMind == rest && (!kernel || row.form == Form::matrix);
    };
    const auto* const end = layer ? kLayerRows.end() : kModelRows.end();
    const auto* const row = std::find_if(layer ? kLayerRows.begin() : kModelRows.begin(), end, known);
    if (row == end) {
      const std::string own = found.tensor.name;
      put(own, std::move(found));
      return;
    }
    const std::string prefix = layer ? fmt::format("{}{}.", kLayers, layer->first) : std::string();
    place(*row, prefix, kernel, std::move(found));
  }

  void place(const Row& row, const std::string& prefix, bool kernel, FoundTensor found) {
    std::vector<std::int64_t>& shape = found.tensor.shape;
    switch (row.form) {
      case Form::same:
        break;
      case Form::matrix:
        if (!kernel) break;
        if (shape.size() != 2) fail(found, fmt::format("expected a matrix, found {}", shapeText(shape)));
        std::swap(shape[0], shape[1]);
        found.transposed = true;
        break;
      case Form::taps:
        if (shape.size() != 2)
          fail(found, fmt::format("expected [taps, lru_width], found {}", shapeText(shape)));
        shape = {shape[1], 1, shape[0]};
        found.transposed = true;
        break;
      case Form::upWeights:
        if (shape.size() != 3 || shape[0] != 2)
          fail(found, fmt::format("expected [2, width, MLP width], found {}", shapeText(shape)));
        shape = {shape[2], shape[1]};
        found.transposed = true;
        return cut(row, prefix, found);
      case Form::upBiases:
        if (shape.size() != 4 || shape[0] != 2 || shape[1] != 1 || shape[2] != 1)
          fail(found, fmt::format("expected [2, 1, 1, MLP width], found {}", shapeText(shape)));
        shape = {shape[3]};
        return cut(row, prefix, found);
    }
    put(prefix + std::string(row.huggingFace), std::move(found));
  }

  // Gate first; the halves lie one after the other.
  void cut(const Row& row, const std::string& prefix, const FoundTensor& both) {
    FoundTensor half = both;
    half.tensor.bytes /= 2;
    put(prefix + std::string(row.huggingFace), half);
    half.tensor.begin += half.tensor.bytes;
    if (half.tensor.data != nullptr)
      half.tensor.data = static_cast<const std::byte*>(half.tensor.data) + half.tensor.bytes;
    put(prefix + std::string(row.second), half);
  }

  void put(const std::string& name, FoundTensor found) {
    const auto [place, added] = renamed_.try_emplace(name, std::move(found));
    if (!added)
      fail(found, fmt::format("expected it once, found it also as {}", printable(place->second.tensor.name)));
  }

  FoundTensors found_;
  FoundTensors renamed_;
};

// Reads sizes off renamed tensors.
class Sizes {
 public:
  Sizes(const FoundTensors& found, std::string folder) : found_(found), folder_(std::move(folder)) {}

  nlohmann::json json() {
    nlohmann::json sizes;
    const auto& table = shape(std::string(kEmbeddingName), 2);
    sizes["vocab_size"] = table[0];
    sizes["hidden_size"] = table[1];
    const std::vector<bool> attends = pattern();
    sizes["num_hidden_layers"] = attends.size();
    for (const bool layer : attends) sizes["_block_types"].push_back(layer ? "attention" : "recurrent");
    sizes["intermediate_size"] = 2 * shape(name(0, "mlp_block.gate_proj.weight"), 2)[0];
    sizes["num_key_value_heads"] = 1;  // DeepMind's are
    const auto firstAttention = std::find(attends.begin(), attends.end(), true);
    const auto firstRecurrent = std::find(attends.begin(), attends.end(), false);
    if (firstRecurrent != attends.end()) readRecurrent(sizes, firstRecurrent - attends.begin());
    if (firstAttention != attends.end()) readAttention(sizes, firstAttention - attends.begin());
    return sizes;
  }

 private:
  static std::string name(std::ptrdiff_t layerIdx, std::string_view rest) {
    return fmt::format("{}{}.{}", kLayers, layerIdx, rest);
  }

  const std::vector<std::int64_t>& shape(const std::string& tensor, std::size_t dims) const {
    const auto found = found_.find(tensor);
    if (found == found_.end())
      throw Error(ErrorCode::badTensor, fmt::format("{}: tensor {}: expected it, found no such tensor",
                                                    folder_, deepMindName(tensor)));
    const auto& extents = found->second.tensor.shape;
    if (extents.size() != dims || std::any_of(extents.begin(), extents.end(), [](auto n) { return n < 1; }))
      fail(found->second,
           fmt::format("expected {} dimensions of at least 1, found {}", dims, shapeText(extents)));
    return extents;
  }

  // Which layers attend. Every layer from 0 on has one kind of block.
  std::vector<bool> pattern() const {
    std::size_t named = 0;  // layers that have any tensor
    std::string_view last;
    for (const auto& entry : found_) {
      const auto layer = layerAndRest(entry.first, kLayers);
      if (layer && layer->first != last) ++named, last = layer->first;
    }
    std::vector<bool> attends;
    for (std::ptrdiff_t i = 0; i < std::ptrdiff_t(named); ++i) {
      const bool recurrent = found_.contains(name(i, "temporal_block.linear_x.weight"));
      const bool attention = found_.contains(name(i, "temporal_block.q_proj.weight"));
      if (recurrent == attention)
        throw Error(ErrorCode::badTensor,
                    fmt::format("{}: tensor {}{}: expected recurrent_block.linear_x or "
                                "attention_block.proj_q, found {} (of {} blocks)",
                                folder_, kBlocks, i, recurrent ? "both" : "neither", named));
      attends.push_back(attention);
    }
    return attends;
  }

  void readRecurrent(nlohmann::json& sizes, std::ptrdiff_t layerIdx) const {
    const auto& taps = shape(name(layerIdx, "temporal_block.conv_1d.weight"), 3);
    sizes["lru_width"] = taps[0];
    sizes["conv1d_width"] = taps[2];
    sizes["num_attention_heads"] = shape(name(layerIdx, "temporal_block.rg_lru.input_gate_weight"), 3)[0];
    if (found_.contains(name(layerIdx, "temporal_block.rg_lru.recurrent_imag_param")))
      sizes["eyrie"]["rg_lru"] = "complex";
  }

  void readAttention(nlohmann::json& sizes, std::ptrdiff_t layerIdx) const {
    const std::int64_t Dh = shape(name(layerIdx, "temporal_block.k_proj.weight"), 2)[0];
    const std::string queries = name(layerIdx, "temporal_block.q_proj.weight");
    const std::int64_t rows = shape(queries, 2)[0];
    if (rows % Dh != 0)
      fail(found_.at(queries), fmt::format("expected a multiple of proj_k's {} rows, found {}", Dh, rows));
    sizes["head_dim"] = Dh;
    sizes["num_attention_heads"] = rows / Dh;
  }

  const FoundTensors& found_;
  std::string folder_;
};

constexpr const char* kWindow = "attention_window_size";
constexpr const char* kSoftCap = "logits_soft_cap";
constexpr const char* kScale = "embeddings_scale_by_sqrt_dim";

nlohmann::json notInTensors(const ModelConfig& preset) {
  return {{kWindow, preset.W}, {kSoftCap, preset.logitsSoftCap}, {kScale, preset.scaleEmbedding}};
}

// A null is a missing key, but for the soft cap, where it is none.
void addStated(nlohmann::json& merged, const nlohmann::json& stated) {
  const auto says = [&](const char* key) { return stated.contains(key) && !stated[key].is_null(); };
  if (says("block_types") || says("layer_types")) merged.erase("_block_types");
  for (const auto& [key, value] : stated.items()) {
    if (value.is_null() && key != kSoftCap) continue;
    if (value.is_object() && merged.contains(key) && merged[key].is_object())
      merged[key].update(value);  // "eyrie", of which the tensors tell a part
    else
      merged[key] = value;
  }
}

void checkPreset(const std::string& name, const ModelConfig& preset, const ModelConfig& config,
                 const std::string& folder) {
  const auto same = [&](const char* what, std::int64_t expected, std::int64_t found) {
    if (expected != found)
      throw Error(ErrorCode::badArgument,
                  fmt::format("{}: preset {}: {}: expected {}, found {} in the tensors", folder, name, what,
                              expected, found));
  };
  same("width", preset.D, config.D);
  same("MLP width", preset.E, config.E);
  same("layers", preset.L, config.L);
  if (preset.blocks != config.blocks)
    throw Error(ErrorCode::badArgument,
                fmt::format("{}: preset {}: pattern: expected {}, found {} in the tensors", folder, name,
                            patternString(preset), patternString(config)));
  if (config.hasKind(BlockKind::recurrent)) {
    same("recurrent width", preset.R, config.R);
    same("channels", preset.channels(), config.channels());
  }
  if (config.hasKind(BlockKind::localAttention)) same("head size", preset.Dh, config.Dh);
}

void requireStated(const nlohmann::json& merged, const ModelConfig& config, const std::string& folder) {
  std::vector<const char*> missing;
  for (const char* key : {kWindow, kSoftCap, kScale})
    if (!merged.contains(key) && (key != kWindow || config.hasKind(BlockKind::localAttention)))
      missing.push_back(key);
  if (!missing.empty())
    throw Error(ErrorCode::badConfig,
                fmt::format("{}: {}: expected in a config.json there, or from --preset, since tensors with "
                            "DeepMind's names do not tell; found neither",
                            folder, fmt::join(missing, ", ")));
}

}  // namespace

bool hasDeepMindNames(const FoundTensors& found) {
  return std::any_of(found.begin(), found.end(),
                     [](const auto& entry) { return plainName(entry.first) == kTable; });
}

FoundTensors toHuggingFaceNames(FoundTensors found) {
  return Renamer(std::move(found)).run();
}

std::string deepMindName(std::string_view huggingFaceName) {
  for (const Row& row : kModelRows)
    if (row.huggingFace == huggingFaceName) return std::string(row.deepMind);
  const auto layer = layerAndRest(huggingFaceName, kLayers);
  for (const Row& row : kLayerRows)
    if (layer && (row.huggingFace == layer->second || row.second == layer->second))
      return fmt::format("{}{}.{}", kBlocks, layer->first, row.deepMind);
  return std::string(huggingFaceName);
}

ModelConfig deepMindConfig(const FoundTensors& found, std::string_view configText, const std::string& file,
                           const std::string& preset) {
  const std::string folder = std::filesystem::path(file).parent_path().string();
  const bool alone = configText.empty();
  const nlohmann::json stated = alone ? nlohmann::json::object() : parseStrictJson(configText, file);
  if (!stated.is_object()) return parseConfig(configText, file);  // says what is wrong
  nlohmann::json merged = Sizes(found, folder).json();
  if (!preset.empty()) merged.update(notInTensors(presetConfig(preset)));
  addStated(merged, stated);
  ModelConfig config =
      parseConfig(merged.dump(), alone ? fmt::format("{}: sizes of the tensors", folder) : file);
  if (!preset.empty()) checkPreset(preset, presetConfig(preset), config, folder);
  if (!merged.contains("model_type")) requireStated(merged, config, folder);
  return config;
}

}  // namespace eyrie::engine
