#include "sessions/export/trace_metadata.h"

#include <fmt/format.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

namespace eyrie::sessions {
namespace {

using Json = nlohmann::ordered_json;

const char* levelName(engine::TraceLevel level) {
  switch (level) {
    case engine::TraceLevel::off:
      return "off";
    case engine::TraceLevel::summary:
      return "summary";
    default:
      return "full";
  }
}

// 0.8f as 0.8.
double shortest(float value) {
  return std::strtod(fmt::format("{}", value).c_str(), nullptr);
}

Json samplerJson(const engine::SamplingOptions& s) {
  return {{"temperature", shortest(s.temperature)},
          {"top_k", s.topK},
          {"top_p", shortest(s.topP)},
          {"min_p", shortest(s.minP)},
          {"repetition_penalty", shortest(s.repetitionPenalty)}};
}

Json axesJson() {
  return {{"scalars", "(token)"},
          {"channels",
           "(token, channel); write, keep and state of a complex recurrence: its real parts, then its "
           "imaginary parts"},
          {"half_life_quantiles", "(token, quantile): 5, 25, 50, 75, 95 %"},
          {"attention_entropy, attention_first", "(token, head)"},
          {"attention",
           "(token, head, key): the last key is the token itself, the one before it the token before"},
          {"output.topk_*", "(token, place): most likely first; the prediction after that token"}};
}

Json patternJson(const engine::ModelConfig& config) {
  Json kinds = Json::array();
  for (const auto kind : config.blocks) {
    kinds.push_back(kind == engine::BlockKind::recurrent        ? "recurrent"
                    : kind == engine::BlockKind::localAttention ? "local_attention"
                                                                : "global_attention");
  }
  return kinds;
}

}  // namespace

Json traceMetadata(const engine::ModelInfo& model, const engine::FrameLayout& layout,
                   const TraceFileOptions& options, std::int64_t tokens) {
  const engine::ModelConfig& config = model.summary.config;
  Json out = {{"format", "eyrie-trace"},
              {"format_version", 1},
              {"program", "eyrie"},
              {"program_version", EYRIE_VERSION},
              {"model", model.name},
              {"fingerprint", model.fingerprint},
              {"dtype", model.summary.dtype},
              {"backend", model.backend},
              {"layers", patternJson(config)},
              {"width", config.D},
              {"recurrent_width", config.R},
              {"rg_lru", config.rgLru == engine::RgLru::complex ? "complex" : "real"},
              {"heads", config.H},
              {"vocabulary", config.V},
              {"window", config.W},
              {"window_counting", config.windowCounting == engine::WindowCounting::dm ? "dm" : "hf"},
              {"window_keys", config.olderKeys() + 1},
              {"logits_soft_cap", shortest(config.logitsSoftCap)},
              {"tokens", tokens},
              {"top_tokens", engine::kTopTokens},
              {"level", levelName(layout.options().level)},
              {"global_span", layout.options().globalSpan},
              {"precision", options.precision == TracePrecision::f16 ? "f16" : "f32"}};
  out["full_layers"] = layout.options().layers.empty() ? Json("all") : Json(layout.options().layers);
  out["sampler"] = options.sampled ? samplerJson(options.sampling) : Json();
  out["seed"] = options.sampled ? Json(options.sampling.seed) : Json();
  Json& rules = out["interventions"] = Json::array();
  for (const auto& rule : options.interventions) rules.push_back(engine::printIntervention(rule));
  out["aggregation"] = nullptr;
  out["axis_order"] = axesJson();
  return out;
}

std::vector<std::string> tokenStrings(const engine::ModelInfo& model,
                                      const std::vector<std::int32_t>& tokens) {
  std::vector<std::string> out;
  if (!model.tokenizer) return out;
  out.reserve(tokens.size());
  for (const auto token : tokens) out.push_back(model.tokenizer->display(token));
  return out;
}

bool isSummary(engine::Quantity quantity) {
  return quantity <= engine::Quantity::attentionFirst;
}

std::string dumpJson(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace eyrie::sessions
