// Files of a trace: NPZ, safetensors, CSV, JSON Lines. Needs neither Qt nor SQLite; part of the headless
// build.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace eyrie::sessions {

enum class TraceFormat : std::uint8_t { npz, safetensors, csv, jsonLines };
enum class TracePrecision : std::uint8_t { f16, f32 };

// By the file name's ending; throws Error(badArgument) listing the four.
TraceFormat traceFormatOf(const std::filesystem::path& file);

struct TraceFileOptions {
  TraceFormat format = TraceFormat::npz;
  TracePrecision precision = TracePrecision::f16;  // at f16 `decay` is left out (DESIGN §5)
  engine::SamplingOptions sampling;                // metadata
  bool sampled = false;                            // whether `sampling` made the tokens
  engine::Interventions interventions = {};        // metadata: what the run was read with
  bool copyReader = false;                         // place open_trace.py beside the file
};

// Writes beside the target under a temporary name, chunk by chunk, and renames in end(). abandon() leaves
// nothing. Memory stays bounded whatever the number of tokens. Throws Error(ioFailed) with the file's name
// and the reason. begin() is told the most tokens there may be; if fewer come, the file has those that came.
//
// Row t of the output.* arrays is the prediction after token t: the record of token t+1 holds it. The last
// row comes from prediction(), else it is NaN and -1. A frame that never came is NaN. Global attention is (T,
// H, min(T, globalSpan)), its last column the token itself. CSV and JSON Lines have the per-token values and
// the summary (name_0 … for short lists; a missing number is empty or null), and FILE.meta.json beside them.
std::shared_ptr<engine::TraceSink> makeTraceWriter(const std::filesystem::path& file,
                                                   const TraceFileOptions& options);

}  // namespace eyrie::sessions
