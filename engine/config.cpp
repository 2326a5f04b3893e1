#include "engine/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "engine/checkpoint/strict_json.h"
#include "engine/error.h"

namespace eyrie::engine {
namespace {

using kernels::Activation;
using nlohmann::json;

constexpr std::int64_t kMaxSize = std::int64_t{1} << 30;
constexpr std::int64_t kMaxLayers = 65'536;  // bounds the pattern's memory

constexpr std::array<std::pair<const char*, Activation>, 7> kActivations = {
    {{"gelu_pytorch_tanh", Activation::geluTanh},
     {"gelu_new", Activation::geluTanh},
     {"gelu_fast", Activation::geluTanh},
     {"silu", Activation::silu},
     {"swish", Activation::silu},
     {"gelu", Activation::gelu},
     {"relu", Activation::relu}}};

// One JSON object with its name for messages; null counts as missing.
class Reader {
 public:
  Reader(const json& object, std::string file) : object_(object), file_(std::move(file)) {}

  [[noreturn]] void fail(const char* key, const std::string& expected, const std::string& found,
                         ErrorCode code = ErrorCode::badConfig) const {
    throw Error(code, fmt::format("{}: {}: expected {}, found {}", file_, key, expected, found));
  }
  [[noreturn]] void missing(const char* key) const {
    throw Error(ErrorCode::badConfig,
                fmt::format("{}: {}: expected a value, the key is missing", file_, key));
  }

  const json* find(const char* key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }
  bool isNull(const char* key) const {
    const auto found = object_.find(key);
    return found != object_.end() && found->is_null();
  }

  std::optional<std::int64_t> whole(const char* key, std::int64_t least, std::int64_t most) const {
    const json* value = find(key);
    if (value == nullptr) return std::nullopt;
    return wholeOf(key, *value, least, most);
  }
  std::int64_t wholeOf(const char* key, const json& value, std::int64_t least, std::int64_t most) const {
    const bool fits = value.is_number_unsigned()
                          ? value.get<std::uint64_t>() <= static_cast<std::uint64_t>(most)
                          : value.is_number_integer() && value.get<std::int64_t>() <= most;
    if (!fits || value.get<std::int64_t>() < least)
      fail(key, fmt::format("a whole number from {} to {}", least, most), jsonExcerpt(value));
    return value.get<std::int64_t>();
  }
  std::int64_t size(const char* key, std::optional<std::int64_t> fallback = std::nullopt) const {
    const auto value = whole(key, 1, kMaxSize);
    if (!value && !fallback) missing(key);
    return value ? *value : *fallback;
  }
  double number(const char* key, double fallback, double least, double most) const {
    const json* value = find(key);
    if (value == nullptr) return fallback;
    const double x = value->is_number() ? value->get<double>() : NAN;
    if (!(x >= least && x <= most))
      fail(key, fmt::format("a number from {} to {}", least, most), jsonExcerpt(*value));
    return x;
  }
  std::optional<bool> flag(const char* key) const {
    const json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_boolean()) fail(key, "true or false", jsonExcerpt(*value));
    return value->get<bool>();
  }
  // One of `choices`, or nothing where the key is missing.
  std::optional<std::string> word(const char* key, const std::vector<std::string>& choices) const {
    const json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_string() ||
        std::find(choices.begin(), choices.end(), value->get<std::string>()) == choices.end())
      fail(key, fmt::format("{}", fmt::join(choices, " or ")), jsonExcerpt(*value), ErrorCode::unsupported);
    return value->get<std::string>();
  }
  Reader child(const char* key) const {
    static const json kEmpty = json::object();
    const json* value = find(key);
    if (value == nullptr) return {kEmpty, file_};
    if (!value->is_object()) fail(key, "an object", jsonExcerpt(*value));
    return {*value, fmt::format("{}: {}", file_, key)};
  }
  const json& object() const { return object_; }

 private:
  const json& object_;
  std::string file_;
};

BlockKind blockKind(const Reader& reader, const char* key, const json& value) {
  if (value == "recurrent") return BlockKind::recurrent;
  if (value == "attention" || value == "local_attention") return BlockKind::localAttention;
  if (value == "global_attention") return BlockKind::globalAttention;
  reader.fail(key, "recurrent, attention, local_attention or global_attention", jsonExcerpt(value));
}

// The pattern repeated and cut to the layer count (trap 35). Where several keys are present the first wins,
// as in Hugging Face's class (trap 33).
std::vector<BlockKind> parseBlocks(const Reader& reader, std::int64_t layers) {
  std::vector<BlockKind> pattern;
  for (const char* key : {"_block_types", "block_types", "layer_types"}) {
    const json* value = reader.find(key);
    if (value == nullptr) continue;
    if (!value->is_array() || value->empty()) reader.fail(key, "a list of layer kinds", jsonExcerpt(*value));
    for (const json& kind : *value) pattern.push_back(blockKind(reader, key, kind));
    break;
  }
  if (pattern.empty()) pattern = {BlockKind::recurrent, BlockKind::recurrent, BlockKind::localAttention};
  std::vector<BlockKind> blocks(static_cast<std::size_t>(layers));
  for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i] = pattern[i % pattern.size()];
  return blocks;
}

void parseSizes(const Reader& reader, ModelConfig& config) {
  config.D = reader.size("hidden_size");
  config.R = reader.size("lru_width", config.D);
  const std::int64_t doubled = reader.size("intermediate_size");
  if (doubled % 2 != 0)
    reader.fail("intermediate_size", "an even number (twice the MLP's width)", std::to_string(doubled));
  config.E = doubled / 2;  // trap 15
  const auto layers = reader.whole("num_hidden_layers", 1, kMaxLayers);
  if (!layers) reader.missing("num_hidden_layers");
  config.L = *layers;
  config.H = reader.size("num_attention_heads");
  config.kvHeads = reader.size("num_key_value_heads", config.H);
  config.V = reader.size("vocab_size");
  config.W = reader.size("attention_window_size", 2048);
  config.K = reader.size("conv1d_width", 4);
  config.blocks = parseBlocks(reader, config.L);

  const bool attends =
      config.hasKind(BlockKind::localAttention) || config.hasKind(BlockKind::globalAttention);
  if (reader.find("head_dim") == nullptr && attends && config.D % config.H != 0)
    reader.fail("head_dim",
                fmt::format("a value, since hidden_size {} is not a multiple of num_attention_heads {}",
                            config.D, config.H),
                "nothing");
  config.Dh = reader.size("head_dim", std::max<std::int64_t>(1, config.D / config.H));
  if (attends && config.H % config.kvHeads != 0)
    reader.fail("num_key_value_heads", fmt::format("a divisor of num_attention_heads {}", config.H),
                std::to_string(config.kvHeads));
}

// transformers 5 keeps these two in an object of their own; its values win over the old keys.
void parseRope(const Reader& reader, ModelConfig& config) {
  const Reader object = reader.child("rope_parameters");
  object.word("rope_type", {"default"});
  if (reader.find("rope_scaling") != nullptr) {
    const Reader scaling = reader.child("rope_scaling");
    scaling.word("rope_type", {"default"});
    scaling.word("type", {"default"});  // its older name
  }
  constexpr double kMaxTheta = 1e15;
  config.ropeTheta =
      object.number("rope_theta", reader.number("rope_theta", 10000.0, 1.0, kMaxTheta), 1.0, kMaxTheta);
  const double factor =
      object.number("partial_rotary_factor", reader.number("partial_rotary_factor", 0.5, 0.0, 1.0), 0.0, 1.0);
  // The small term keeps k / Dh * Dh from landing just below k.
  config.rotary = static_cast<std::int64_t>(factor * static_cast<double>(config.Dh) + 1e-6);
  if (config.rotary % 2 == 0) return;
  const bool attends =
      config.hasKind(BlockKind::localAttention) || config.hasKind(BlockKind::globalAttention);
  if (attends)
    reader.fail("partial_rotary_factor", fmt::format("a fraction of head_dim {} that is even", config.Dh),
                fmt::format("{} ({} dimensions)", factor, config.rotary));
  --config.rotary;
}

void parseNumerics(const Reader& reader, ModelConfig& config) {
  config.normEps = static_cast<float>(reader.number("rms_norm_eps", 1e-6, 0.0, 1.0));
  // An explicit null means no cap, as 0 does (trap 28); a missing key is Hugging Face's 30.
  config.logitsSoftCap = reader.isNull("logits_soft_cap")
                             ? 0.0F
                             : static_cast<float>(reader.number("logits_soft_cap", 30.0, 0.0, 1e9));
  config.scaleEmbedding = reader.flag("embeddings_scale_by_sqrt_dim").value_or(true);
  const auto tied = reader.flag("tie_word_embeddings");
  config.tieStated = tied.has_value();
  config.tieWordEmbeddings = tied.value_or(true);
  std::vector<std::string> names;
  for (const auto& entry : kActivations) names.emplace_back(entry.first);
  const std::string activation = reader.word("hidden_activation", names).value_or("gelu_pytorch_tanh");
  for (const auto& [name, kind] : kActivations)
    if (activation == name) config.activation = kind;
  if (reader.flag("attention_bias").value_or(false))
    reader.fail("attention_bias", "false (biases on queries, keys and values are not computed)", "true",
                ErrorCode::unsupported);
}

std::int32_t tokenOf(const Reader& reader, const char* key, const json& value, const ModelConfig& config,
                     std::int64_t least) {
  return static_cast<std::int32_t>(reader.wholeOf(key, value, least, config.V - 1));
}

// Negative pad and end tokens mean none.
void parseTokens(const Reader& reader, ModelConfig& config) {
  if (const json* bos = reader.find("bos_token_id"))
    config.bosToken = tokenOf(reader, "bos_token_id", *bos, config, 0);
  if (const json* pad = reader.find("pad_token_id"))
    config.padToken = tokenOf(reader, "pad_token_id", *pad, config, -1);
  const json* eos = reader.find("eos_token_id");
  if (eos == nullptr) return;
  config.eosTokens.clear();
  const json list = eos->is_array() ? *eos : json::array({*eos});
  for (const json& value : list) {
    const std::int32_t token = tokenOf(reader, "eos_token_id", value, config, -1);
    if (token >= 0) config.eosTokens.push_back(token);
  }
}

void parseOwnOptions(const Reader& reader, ModelConfig& config) {
  const Reader own = reader.child("eyrie");
  for (const auto& [key, value] : own.object().items())
    if (key != "window_counting" && key != "rg_lru")
      own.fail(printable(key).c_str(), "window_counting or rg_lru", "an option Eyrie does not know",
               ErrorCode::unsupported);
  if (own.word("window_counting", {"dm", "hf"}).value_or("dm") == "hf")
    config.windowCounting = WindowCounting::hf;
  if (own.word("rg_lru", {"real", "complex"}).value_or("real") != "complex") return;
  config.rgLru = RgLru::complex;
  if (config.R % 2 != 0)
    reader.fail("lru_width", "an even number (eyrie: rg_lru is complex: real and imaginary halves)",
                std::to_string(config.R));
}

// As blockKind reads it.
const char* keyOf(BlockKind kind) {
  switch (kind) {
    case BlockKind::recurrent:
      return "recurrent";
    case BlockKind::localAttention:
      return "attention";
    case BlockKind::globalAttention:
      return "global_attention";
  }
  return "?";
}

// The shortest list that repeats to `blocks`.
std::vector<BlockKind> shortestPattern(const std::vector<BlockKind>& blocks) {
  for (std::size_t length = 1; length < blocks.size(); ++length) {
    std::size_t i = length;
    while (i < blocks.size() && blocks[i] == blocks[i % length]) ++i;
    if (i == blocks.size()) return {blocks.begin(), blocks.begin() + static_cast<std::ptrdiff_t>(length)};
  }
  return blocks;
}

const char* activationName(Activation activation) {
  for (const auto& [name, kind] : kActivations)
    if (kind == activation) return name;
  return "?";
}

// 1e-06 and not 9.999999974752427e-07: the shortest decimal that is the same float, whatever the locale.
double shortest(float value) {
  const std::string decimal = fmt::format("{}", value);
  double brief = 0;
  std::from_chars(decimal.data(), decimal.data() + decimal.size(), brief);
  return brief;
}

// Defaults that a small vocabulary does not have stay unsaid.
void writeTokens(const ModelConfig& config, nlohmann::ordered_json& root) {
  if (config.bosToken < config.V) root["bos_token_id"] = config.bosToken;
  const auto inside = [&](std::int32_t token) { return token < config.V; };
  if (!std::all_of(config.eosTokens.begin(), config.eosTokens.end(), inside)) return;
  if (config.eosTokens.size() == 1)
    root["eos_token_id"] = config.eosTokens.front();
  else
    root["eos_token_id"] = config.eosTokens;
}

}  // namespace

bool ModelConfig::hasKind(BlockKind kind) const {
  return std::find(blocks.begin(), blocks.end(), kind) != blocks.end();
}

const char* nameOf(BlockKind kind) {
  switch (kind) {
    case BlockKind::recurrent:
      return "recurrent";
    case BlockKind::localAttention:
      return "local attention";
    case BlockKind::globalAttention:
      return "global attention";
  }
  return "?";
}

std::string patternString(const ModelConfig& config) {
  std::string word;
  for (const BlockKind kind : config.blocks)
    word += kind == BlockKind::recurrent ? 'R' : kind == BlockKind::localAttention ? 'A' : 'G';
  return word;
}

ModelConfig parseConfig(std::string_view text, const std::string& file) {
  const json root = parseStrictJson(text, file);
  if (!root.is_object())
    throw Error(ErrorCode::badFile,
                fmt::format("{}: expected a JSON object, found {}", file, jsonExcerpt(root)));
  const Reader reader(root, file);
  reader.word("model_type", {"recurrent_gemma"});
  ModelConfig config;
  parseSizes(reader, config);
  parseRope(reader, config);
  parseNumerics(reader, config);
  parseTokens(reader, config);
  parseOwnOptions(reader, config);
  return config;
}

std::string writeConfig(const ModelConfig& config, const std::string& torchDtype) {
  nlohmann::ordered_json root;
  root["architectures"] = {"RecurrentGemmaForCausalLM"};
  root["model_type"] = "recurrent_gemma";
  root["hidden_size"] = config.D;
  root["lru_width"] = config.R;
  root["intermediate_size"] = 2 * config.E;
  root["num_hidden_layers"] = config.L;
  root["num_attention_heads"] = config.H;
  root["num_key_value_heads"] = config.kvHeads;
  root["head_dim"] = config.Dh;
  root["vocab_size"] = config.V;
  root["attention_window_size"] = config.W;
  root["conv1d_width"] = config.K;
  std::vector<std::string> kinds;
  for (const BlockKind kind : shortestPattern(config.blocks)) kinds.emplace_back(keyOf(kind));
  root["_block_types"] = kinds;
  root["partial_rotary_factor"] = static_cast<double>(config.rotary) / static_cast<double>(config.Dh);
  root["rope_theta"] = config.ropeTheta;
  root["rms_norm_eps"] = shortest(config.normEps);
  root["logits_soft_cap"] = shortest(config.logitsSoftCap);
  root["embeddings_scale_by_sqrt_dim"] = config.scaleEmbedding;
  if (config.tieStated) root["tie_word_embeddings"] = config.tieWordEmbeddings;
  root["hidden_activation"] = activationName(config.activation);
  root["attention_bias"] = false;
  writeTokens(config, root);
  root["pad_token_id"] = config.padToken;
  root["torch_dtype"] = torchDtype;
  root["use_cache"] = true;
  if (config.windowCounting == WindowCounting::hf) root["eyrie"]["window_counting"] = "hf";
  if (config.rgLru == RgLru::complex) root["eyrie"]["rg_lru"] = "complex";
  return root.dump(2) + "\n";
}

}  // namespace eyrie::engine
