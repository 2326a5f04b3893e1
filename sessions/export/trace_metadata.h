// What a trace file says about itself.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "engine/engine.h"
#include "sessions/export/trace_writer.h"

namespace eyrie::sessions {

// Flat: strings, numbers, and small objects under known keys; `tokens` rows in the file.
nlohmann::ordered_json traceMetadata(const engine::ModelInfo& model, const engine::FrameLayout& layout,
                                     const TraceFileOptions& options, std::int64_t tokens);

// What each token is shown as; empty without a tokenizer.
std::vector<std::string> tokenStrings(const engine::ModelInfo& model,
                                      const std::vector<std::int32_t>& tokens);

// One value a token (or a short list), as the CSV and JSON Lines formats keep them.
bool isSummary(engine::Quantity quantity);

// Never throws for text that is not UTF-8.
std::string dumpJson(const nlohmann::ordered_json& value);

}  // namespace eyrie::sessions
