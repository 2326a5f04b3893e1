// The arrays of a trace file: which there are, what a row of each holds, where it comes from.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "sessions/export/trace_writer.h"

namespace eyrie::sessions {

enum class ArrayType : std::uint8_t { i32, f32, f16, u8 };
std::int64_t bytesOf(ArrayType type);

struct TraceArray {
  std::string name;
  ArrayType type = ArrayType::f32;
  std::vector<std::int64_t> shape;  // of a row; empty = scalar
  int column = -1;                  // of the frame's layout; -1: made of token records
  std::int64_t span = 0;            // > 0: global attention, the last axis is cut to the file's tokens
  std::int64_t offset = 0;          // of the first row in the file
  std::int64_t rows = 0;            // complete in the file
  std::uint32_t crc = 0;            // of what a ZIP entry holds so far

  std::int64_t rowElements() const;
  std::int64_t rowBytes() const { return rowElements() * bytesOf(type); }
};

// `tokens`, `logprob`, the three of the output, then the layout's columns in its order. Per-layer summary
// values stay f32 at f16 precision: half-lives exceed f16's range, and they cost nothing.
std::vector<TraceArray> planArrays(const engine::ModelInfo& model, const engine::FrameLayout& layout,
                                   TracePrecision precision, std::int64_t tokens);
// Shapes for fewer tokens than planned: only global attention differs.
void cutSpans(std::vector<TraceArray>& arrays, std::int64_t tokens);

// Appends one row of `array` made of a frame's floats (its column's own `size` of them).
void appendRow(const TraceArray& array, std::span<const float> values, std::string& out);

}  // namespace eyrie::sessions
