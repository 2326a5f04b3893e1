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
  bool copyReader = false;                         // place open_trace.py beside the file
};

// Writes beside the target under a temporary name, chunk by chunk, and renames in end(). abandon() leaves
// nothing. Memory stays bounded whatever the number of tokens. Throws Error(ioFailed) with the file's name
// and the reason.
std::shared_ptr<engine::TraceSink> makeTraceWriter(const std::filesystem::path& file,
                                                   const TraceFileOptions& options);

}  // namespace eyrie::sessions
