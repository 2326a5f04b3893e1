#include "engine/state_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <map>

#include "engine/checkpoint/safetensors.h"
#include "engine/checkpoint/strict_json.h"
#include "engine/error.h"

namespace eyrie::engine {
namespace {

constexpr const char* kFormat = "eyrie-state";
constexpr std::int64_t kVersion = 1;
constexpr std::int64_t kMostLayers = 4096;
constexpr std::int64_t kMostTokens = std::int64_t{1} << 40;
constexpr std::int64_t kLongestAxis = std::int64_t{1} << 30;
constexpr std::size_t kLongestName = 256;
constexpr std::size_t kLongestText = 8U << 20U;  // sixfold in JSON, in a header of at most 100 MB

class Builder {
 public:
  void add(std::string name, std::vector<std::int64_t> shape, const std::vector<float>& values) {
    push(std::move(name), "F32", std::move(shape), values.data(), values.size());
  }
  void add(std::string name, const std::vector<std::int32_t>& values) {
    push(std::move(name), "I32", {static_cast<std::int64_t>(values.size())}, values.data(), values.size());
  }
  std::vector<SafetensorsTensor> tensors;

 private:
  void push(std::string name, const char* dtype, std::vector<std::int64_t> shape, const void* data,
            std::size_t elements) {
    SafetensorsTensor tensor;
    tensor.name = std::move(name);
    tensor.dtype = dtype;
    tensor.shape = std::move(shape);
    tensor.bytes = elements * 4;
    tensor.data = data;
    tensors.push_back(std::move(tensor));
  }
};

std::string tailName(std::size_t layer) {
  return fmt::format("layers.{}.conv_1d.tail", layer);
}
std::string hName(std::size_t layer) {
  return fmt::format("layers.{}.rg_lru.h", layer);
}
std::string keysName(std::size_t layer) {
  return fmt::format("layers.{}.attention.keys", layer);
}
std::string valuesName(std::size_t layer) {
  return fmt::format("layers.{}.attention.values", layer);
}

// All of them read, or all but the last.
bool tokensFit(const SavedState& saved) {
  const auto T = static_cast<std::int64_t>(saved.tokens.size());
  return T == saved.state.position || T == saved.state.position + 1;
}

std::string tokensMismatch(const SavedState& saved) {
  return fmt::format("tensor tokens: expected {} (as position says) or one more, found {}",
                     saved.state.position, saved.tokens.size());
}

class StateReader {
 public:
  StateReader(std::span<const std::byte> bytes, const std::string& file)
      : file_(file), parsed_(parseSafetensors(bytes, bytes.size(), file)) {
    for (const SafetensorsTensor& tensor : parsed_.tensors) byName_[tensor.name] = &tensor;
  }

  SavedState read() {
    checkFormat();
    SavedState saved;
    saved.model = name("model");
    saved.fingerprint = name("fingerprint");
    saved.origin = metadata("origin");
    saved.text = metadata("text");
    saved.interventions = interventions();
    saved.state.position = number("position", kMostTokens);
    saved.config.W = number("older_keys", kMostTokens);
    readBlocks(saved.config);
    readTokens(saved);
    for (std::size_t i = 0; i < saved.config.blocks.size(); ++i) readLayer(saved, i);
    readRgLru(saved.config);
    checkNothingElse();
    return saved;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::badFile, fmt::format("{}: {}", file_, what));
  }

  const std::string& metadata(const char* key) const {
    const auto found = parsed_.metadata.find(key);
    if (found == parsed_.metadata.end()) fail(fmt::format("metadata: \"{}\" is missing", key));
    return found->second;
  }

  std::string name(const char* key) const {
    const std::string& text = metadata(key);
    if (text.empty() || text.size() > kLongestName) {
      fail(fmt::format("{}: expected 1 to {} bytes, found {}", key, kLongestName, text.size()));
    }
    return text;
  }

  std::int64_t number(const char* key, std::int64_t most) const {
    const std::string& text = metadata(key);
    std::int64_t value = -1;
    const char* end = text.data() + text.size();
    const auto [at, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || at != end || value < 0 || value > most) {
      fail(fmt::format("{}: expected a whole number up to {}, found {}", key, most, printable(text)));
    }
    return value;
  }

  Interventions interventions() const {
    const auto found = parsed_.metadata.find("interventions");
    if (found == parsed_.metadata.end()) return {};
    try {
      return parseInterventions(found->second);
    } catch (const Error& error) {
      fail(error.what());
    }
  }

  void checkFormat() const {
    const auto format = parsed_.metadata.find("format");
    if (format == parsed_.metadata.end() || format->second != kFormat) {
      fail(fmt::format("expected a state (metadata format \"{}\"), found {}", kFormat,
                       format == parsed_.metadata.end() ? "none" : '"' + printable(format->second) + '"'));
    }
    const std::int64_t version = number("version", INT64_MAX);
    if (version != kVersion) {
      fail(fmt::format("version: expected {}, found {}{}", kVersion, version,
                       version > kVersion ? " (written by a newer Eyrie)" : ""));
    }
  }

  void readBlocks(ModelConfig& config) const {
    const std::string& blocks = metadata("blocks");
    if (blocks.empty() || blocks.size() > kMostLayers) {
      fail(fmt::format("blocks: expected 1 to {} letters, found {}", kMostLayers, blocks.size()));
    }
    for (const char letter : blocks) {
      if (letter != 'R' && letter != 'A' && letter != 'G') {
        fail(fmt::format("blocks: expected the letters R, A and G, found {}", printable(blocks)));
      }
      config.blocks.push_back(letter == 'R'   ? BlockKind::recurrent
                              : letter == 'A' ? BlockKind::localAttention
                                              : BlockKind::globalAttention);
    }
    config.L = static_cast<std::int64_t>(config.blocks.size());
    config.K = config.kvHeads = 0;  // the first tensors of their kinds say
  }

  void readRgLru(ModelConfig& config) const {
    const auto found = parsed_.metadata.find("rg_lru");
    const std::string kind = found == parsed_.metadata.end() ? "real" : found->second;
    if (kind != "real" && kind != "complex") {
      fail(fmt::format("rg_lru: expected real or complex, found {}", printable(kind)));
    }
    if (kind == "real") return;
    config.rgLru = RgLru::complex;
    if (config.R % 2 != 0) {
      fail(fmt::format("rg_lru: complex: expected an even number of floats in h, found {}", config.R));
    }
  }

  const SafetensorsTensor& tensor(const std::string& name, const char* dtype, std::size_t rank) {
    const auto entry = byName_.find(name);
    if (entry == byName_.end()) fail(fmt::format("tensor {}: is missing", name));
    const SafetensorsTensor& found = *entry->second;
    if (found.dtype != dtype || found.shape.size() != rank) {
      fail(fmt::format("tensor {}: expected {} with {} axes, found {} with {}", name, dtype, rank,
                       found.dtype, found.shape.size()));
    }
    byName_.erase(entry);
    return found;
  }

  // An axis that must be as long as in other tensors; the first to come says how long that is.
  void axis(const SafetensorsTensor& tensor, std::size_t at, std::int64_t& expected) const {
    const std::int64_t found = tensor.shape[at];
    if (found < 1 || found > kLongestAxis) {
      fail(fmt::format("tensor {}: axis {}: expected 1 to {}, found {}", tensor.name, at, kLongestAxis,
                       found));
    }
    if (expected == 0) expected = found;
    if (found != expected) {
      fail(fmt::format("tensor {}: axis {}: expected {}, found {}", tensor.name, at, expected, found));
    }
  }

  template <typename T>
  std::vector<T> values(const SafetensorsTensor& tensor) const {
    std::vector<T> result(tensor.bytes / sizeof(T));
    if (!result.empty()) std::memcpy(result.data(), tensor.data, tensor.bytes);
    return result;
  }

  std::vector<float> numbers(const SafetensorsTensor& tensor) const {
    std::vector<float> result = values<float>(tensor);
    const auto bad = std::find_if(result.begin(), result.end(), [](float v) { return !std::isfinite(v); });
    if (bad != result.end()) {
      fail(fmt::format("tensor {}: expected numbers, found {} at {}", tensor.name, *bad,
                       bad - result.begin()));
    }
    return result;
  }

  void readTokens(SavedState& saved) {
    saved.tokens = values<std::int32_t>(tensor("tokens", "I32", 1));
    if (!tokensFit(saved)) fail(tokensMismatch(saved));
    const auto bad = std::find_if(saved.tokens.begin(), saved.tokens.end(), [](auto id) { return id < 0; });
    if (bad != saved.tokens.end()) {
      fail(fmt::format("tensor tokens: expected ids from 0, found {} at {}", *bad,
                       bad - saved.tokens.begin()));
    }
  }

  void readLayer(SavedState& saved, std::size_t i) {
    ModelConfig& config = saved.config;
    LayerState layer;
    if (config.blocks[i] == BlockKind::recurrent) {
      const SafetensorsTensor& h = tensor(hName(i), "F32", 1);
      const SafetensorsTensor& tail = tensor(tailName(i), "F32", 2);
      axis(h, 0, config.R);
      axis(tail, 1, config.R);
      // K - 1 rows, none where K is 1.
      if (config.K == 0) config.K = tail.shape[0] + 1;
      if (tail.shape[0] != config.K - 1) {
        fail(fmt::format("tensor {}: axis 0: expected {}, found {}", tail.name, config.K - 1, tail.shape[0]));
      }
      layer.h = numbers(h);
      layer.tail = numbers(tail);
    } else {
      const std::int64_t n = rememberedKeys(config, static_cast<std::int64_t>(i), saved.state.position);
      const auto rows = [&](const std::string& name) {
        const SafetensorsTensor& found = tensor(name, "F32", 3);
        if (found.shape[0] != n) {
          fail(fmt::format("tensor {}: axis 0: expected {}, found {}", name, n, found.shape[0]));
        }
        axis(found, 1, config.kvHeads);
        axis(found, 2, config.Dh);
        return numbers(found);
      };
      layer.keys = rows(keysName(i));
      layer.values = rows(valuesName(i));
    }
    saved.state.layers.push_back(std::move(layer));
  }

  void checkNothingElse() const {
    if (byName_.empty()) return;
    fail(fmt::format("tensor {}: expected none of this name", printable(byName_.begin()->first)));
  }

  const std::string& file_;
  SafetensorsFile parsed_;
  std::map<std::string_view, const SafetensorsTensor*> byName_;  // not read yet
};

}  // namespace

void writeStateFile(const std::filesystem::path& file, const SavedState& saved) {
  const ModelConfig& config = saved.config;
  checkState(saved.state, config);
  if (!tokensFit(saved)) {
    throw Error(ErrorCode::stateMismatch, fmt::format("{}: {}", file.string(), tokensMismatch(saved)));
  }
  Builder builder;
  const std::int64_t head = config.kvHeads * config.Dh;
  for (std::size_t i = 0; i < saved.state.layers.size(); ++i) {
    const LayerState& layer = saved.state.layers[i];
    if (config.blocks[i] == BlockKind::recurrent) {
      builder.add(tailName(i), {config.K - 1, config.R}, layer.tail);
      builder.add(hName(i), {config.R}, layer.h);
    } else {
      const auto n = static_cast<std::int64_t>(layer.keys.size()) / head;
      builder.add(keysName(i), {n, config.kvHeads, config.Dh}, layer.keys);
      builder.add(valuesName(i), {n, config.kvHeads, config.Dh}, layer.values);
    }
  }
  builder.add("tokens", saved.tokens);
  writeSafetensors(file, builder.tensors,
                   {{"format", kFormat},
                    {"version", std::to_string(kVersion)},
                    {"model", saved.model},
                    {"fingerprint", saved.fingerprint},
                    {"origin", saved.origin},
                    {"text", saved.text.size() <= kLongestText ? saved.text : ""},
                    {"interventions", printInterventions(saved.interventions)},
                    {"rg_lru", config.rgLru == RgLru::complex ? "complex" : "real"},
                    {"position", std::to_string(saved.state.position)},
                    {"blocks", patternString(config)},
                    {"older_keys", std::to_string(config.olderKeys())}});
}

SavedState parseStateFile(std::span<const std::byte> bytes, const std::string& file) {
  return StateReader(bytes, file).read();
}

SavedState readStateFile(const std::filesystem::path& file) {
  const MappedFile mapped(file);
  return parseStateFile(mapped.bytes(), file.string());
}

void checkStateOf(const SavedState& saved, const std::string& file, const ModelConfig& config,
                  const std::string& fingerprint, const std::string& name) {
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorCode::stateMismatch, fmt::format("{}: {}", file, what));
  };
  if (saved.fingerprint != fingerprint) {
    fail(fmt::format("model fingerprint: expected {} ({}), found {} ({})", fingerprint, name,
                     printable(saved.fingerprint), printable(saved.model)));
  }
  try {
    checkState(saved.state, config);
  } catch (const Error& error) {
    fail(error.what());
  }
  for (std::size_t i = 0; i < saved.tokens.size() && config.V > 0; ++i) {
    if (saved.tokens[i] < config.V) continue;
    fail(fmt::format("tensor tokens: expected 0 to {}, found {} at {}", config.V - 1, saved.tokens[i], i));
  }
}

bool ofOneCheckpoint(std::string_view a, std::string_view b) {
  return a.substr(0, a.find('-')) == b.substr(0, b.find('-'));
}

}  // namespace eyrie::engine
