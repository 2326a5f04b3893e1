#include "app/cli/stored_trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "app/cli/trace_arrays_file.h"
#include "engine/checkpoint/strict_json.h"
#include "engine/error.h"

namespace eyrie::app {
namespace {

using engine::Error;
using engine::ErrorCode;
using engine::Quantity;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

[[noreturn]] void bad(const std::filesystem::path& file, const std::string& what) {
  throw Error(ErrorCode::badFile, fmt::format("{}: {}", file.string(), what));
}

// How the trace's tokens are shown, and nothing else.
class StoredStrings : public engine::Tokenizer {
 public:
  std::map<std::int32_t, std::string> strings;

  std::int64_t size() const override { return static_cast<std::int64_t>(strings.size()); }
  std::vector<std::int32_t> encode(std::string_view) const override { return {}; }
  std::string bytes(std::int32_t token) const override { return display(token); }
  std::string display(std::int32_t token) const override {
    const auto found = strings.find(token);
    return found == strings.end() ? std::to_string(token) : found->second;
  }
  bool isControl(std::int32_t) const override { return false; }
  std::optional<std::int32_t> controlToken(std::string_view) const override { return std::nullopt; }
  bool addsPrefixSpace() const override { return false; }
};

std::int64_t number(const std::filesystem::path& file, const nlohmann::json& metadata, const char* key) {
  constexpr std::int64_t kMost = 1 << 30;
  if (!metadata.contains(key) || !metadata[key].is_number_integer()) {
    bad(file, fmt::format("metadata {}: expected a whole number, found none", key));
  }
  const auto value = metadata[key].get<std::int64_t>();
  if (value < 0 || value > kMost)
    bad(file, fmt::format("metadata {}: expected 0 to {}, found {}", key, kMost, value));
  return value;
}

// Empty where there is none.
std::string text(const nlohmann::json& metadata, const char* key) {
  const auto found = metadata.find(key);
  return found != metadata.end() && found->is_string() ? found->get<std::string>() : std::string();
}

engine::BlockKind kindOf(const std::filesystem::path& file, const nlohmann::json& name) {
  if (name == "recurrent") return engine::BlockKind::recurrent;
  if (name == "local_attention") return engine::BlockKind::localAttention;
  if (name == "global_attention") return engine::BlockKind::globalAttention;
  bad(file, fmt::format("metadata layers: expected recurrent, local_attention or global_attention, found {}",
                        engine::jsonExcerpt(name)));
}

engine::ModelConfig configOf(const std::filesystem::path& file, const nlohmann::json& metadata) {
  engine::ModelConfig config;
  config.D = number(file, metadata, "width");
  config.R = number(file, metadata, "recurrent_width");
  if (text(metadata, "rg_lru") == "complex") config.rgLru = engine::RgLru::complex;
  config.H = number(file, metadata, "heads");
  config.V = number(file, metadata, "vocabulary");
  config.W = number(file, metadata, "window");
  config.windowCounting =
      text(metadata, "window_counting") == "hf" ? engine::WindowCounting::hf : engine::WindowCounting::dm;
  if (!metadata.contains("layers") || !metadata["layers"].is_array()) {
    bad(file, "metadata layers: expected a list, found none");
  }
  for (const auto& name : metadata["layers"]) config.blocks.push_back(kindOf(file, name));
  config.L = static_cast<std::int64_t>(config.blocks.size());
  return config;
}

// Full for the layers that have channels in the file.
engine::TraceOptions optionsOf(const TraceArraysFile& file, const engine::ModelConfig& config) {
  engine::TraceOptions options;
  for (int layerIdx = 0; layerIdx < static_cast<int>(config.L); ++layerIdx) {
    const std::string layer = fmt::format("layers.{}.", layerIdx);
    if (file.arrays.contains(layer + "recurrence_gate") || file.arrays.contains(layer + "attention")) {
      options.layers.push_back(layerIdx);
    }
  }
  if (!options.layers.empty()) options.level = engine::TraceLevel::full;
  for (int layerIdx = 0; layerIdx < static_cast<int>(config.L); ++layerIdx) {
    const auto found = file.arrays.find(fmt::format("layers.{}.attention", layerIdx));
    const bool global = config.blocks[std::size_t(layerIdx)] == engine::BlockKind::globalAttention;
    if (global && found != file.arrays.end() && !found->second.shape.empty()) {
      options.globalSpan = std::max<std::int64_t>(1, found->second.shape.back());
    }
  }
  return options;
}

// The array a column is filled from; null where the file has none. `decay` may have to be computed.
const TraceFileArray* sourceOf(const std::filesystem::path& path, const TraceArraysFile& file,
                               const engine::TraceColumn& column, std::int64_t T) {
  auto found = file.arrays.find(column.name);
  if (found == file.arrays.end() && column.quantity == Quantity::decay) {
    found = file.arrays.find(fmt::format("layers.{}.log_decay", column.layerIdx));
  }
  if (found == file.arrays.end()) return nullptr;
  const TraceFileArray& array = found->second;
  const auto expected = static_cast<std::size_t>(T * column.size);
  if (array.values.size() != expected) {
    bad(path, fmt::format("{}: expected {} values, found {}", found->first, expected, array.values.size()));
  }
  return &array;
}

class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) : path_(path), file_(readTraceArrays(path)) {}

  StoredTrace read() {
    const engine::ModelConfig config = configOf(path_, file_.metadata);
    const auto& tokens = array("tokens");
    const auto T = static_cast<std::int64_t>(tokens.values.size());
    const engine::FrameLayout layout(config, optionsOf(file_, config));
    if (layout.frameSize() > kMostValues) {
      bad(path_, fmt::format("expected at most {} values a token, found sizes that make {}", kMostValues,
                             layout.frameSize()));
    }
    std::vector<const TraceFileArray*> sources;
    for (const auto& column : layout.columns()) sources.push_back(sourceOf(path_, file_, column, T));

    StoredTrace stored;
    stored.model = info(config, tokens);
    stored.trace = engine::Trace(config, layout, kBudget);
    engine::TraceFrame frame;
    for (std::int64_t t = 0; t < T; ++t) {
      stored.trace.append(record(t, T));
      frame.position = t;
      frame.token = tokenAt("tokens", tokens.values[std::size_t(t)]);
      frame.values.assign(std::size_t(layout.frameSize()), kNan);
      for (std::size_t i = 0; i < sources.size(); ++i) fill(frame, layout.columns()[i], sources[i], t);
      stored.trace.append(frame);
    }
    return stored;
  }

 private:
  static constexpr std::uint64_t kBudget = 8ULL << 30;
  static constexpr std::int64_t kMostValues = 1 << 26;  // of one token; the largest models need a tenth

  const TraceFileArray& array(const char* name) const {
    const auto found = file_.arrays.find(name);
    if (found == file_.arrays.end()) bad(path_, fmt::format("{}: expected an array, found none", name));
    return found->second;
  }

  // Arrays are read as floats, which hold every token that a model can have exactly.
  std::int32_t tokenAt(const char* name, float value) const {
    constexpr float kEnd = 1 << 24;
    if (!(value >= -1 && value < kEnd))
      bad(path_, fmt::format("{}: expected tokens below {}, found {}", name, kEnd, value));
    return static_cast<std::int32_t>(value);
  }

  // Element `index` of an optional array.
  float valueAt(const char* name, std::int64_t index) const {
    const auto found = file_.arrays.find(name);
    const bool there = found != file_.arrays.end() && index >= 0 &&
                       index < static_cast<std::int64_t>(found->second.values.size());
    return there ? found->second.values[std::size_t(index)] : kNan;
  }

  engine::TokenRecord record(std::int64_t t, std::int64_t T) const {
    engine::TokenRecord record;
    record.position = t;
    record.token = tokenAt("tokens", array("tokens").values[std::size_t(t)]);
    record.logprob = valueAt("logprob", t);
    record.entropy = valueAt("output.entropy", t - 1);
    // The prediction for this token is the output after the one before it.
    for (int k = 0; k < engine::kTopTokens; ++k) {
      const std::int64_t at = (t - 1) * engine::kTopTokens + k;
      const float token = t > 0 && T > 1 ? valueAt("output.topk_tokens", at) : kNan;
      record.topTokens[k] = std::isnan(token) ? -1 : tokenAt("output.topk_tokens", token);
      record.topLogprobs[k] = valueAt("output.topk_logprobs", t > 0 ? at : -1);
      if (record.topTokens[k] == record.token) record.rank = k;
    }
    return record;
  }

  static void fill(engine::TraceFrame& frame, const engine::TraceColumn& column, const TraceFileArray* source,
                   std::int64_t t) {
    if (source == nullptr) return;
    const auto begin = source->values.begin() + t * column.size;
    const auto target = frame.values.begin() + column.offset;
    std::copy(begin, begin + column.size, target);
    if (column.quantity != Quantity::decay) return;
    // At f16 the file keeps log_decay instead; a decay is never below 0, a log_decay never above.
    if (std::any_of(begin, begin + column.size, [](float value) { return value < 0; })) {
      std::transform(begin, begin + column.size, target, [](float value) { return std::exp(value); });
    }
  }

  std::shared_ptr<const engine::ModelInfo> info(const engine::ModelConfig& config,
                                                const TraceFileArray& tokens) const {
    auto info = std::make_shared<engine::ModelInfo>();
    info->name = text(file_.metadata, "model");
    info->fingerprint = text(file_.metadata, "fingerprint");
    info->summary.config = config;
    auto strings = std::make_shared<StoredStrings>();
    const std::size_t count = std::min(tokens.values.size(), file_.tokenStrings.size());
    for (std::size_t i = 0; i < count; ++i) {
      strings->strings[tokenAt("tokens", tokens.values[i])] = file_.tokenStrings[i];
    }
    info->tokenizer = std::move(strings);
    return info;
  }

  std::filesystem::path path_;
  TraceArraysFile file_;
};

}  // namespace

StoredTrace readStoredTrace(const std::filesystem::path& file) {
  return Reader(file).read();
}

}  // namespace eyrie::app
