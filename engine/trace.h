// A recorded run: token records and frames in chunks of 64 tokens, within a memory budget. GUI-thread-only or
// engine-thread-only: no locking inside.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/taps.h"

namespace eyrie::engine {

inline constexpr std::int64_t kTraceChunk = 64;

class Trace {
 public:
  Trace();
  Trace(const ModelConfig& config, FrameLayout layout, std::uint64_t memoryBudget = 512ULL << 20);
  ~Trace();
  Trace(Trace&&) noexcept;
  Trace& operator=(Trace&&) noexcept;

  const ModelConfig& config() const;
  const FrameLayout& layout() const;

  // Tokens known, 0..size()-1 by position. Records and frames may come in either order and frames may lag; a
  // record or frame where there is one already (or a frame of another token) discards everything from there
  // on: a new branch. A gap is filled with unknown tokens (token -1).
  std::int64_t size() const;
  void append(const TokenRecord& record);
  void append(const TraceFrame& frame);  // ignored if its size is not the layout's
  void truncate(std::int64_t size);
  void clear();

  const TokenRecord& token(std::int64_t position) const;
  bool hasFrame(std::int64_t position) const;  // false: dropped, over budget, or not recorded
  // `column.size` floats of one token; empty if they are not there. Valid until the next change. Over budget
  // the oldest frames give up their channels ((R) and attention weights) first, their summary later: a frame
  // may be there without them, so test the span.
  std::span<const float> values(const TraceColumn& column, std::int64_t position) const;
  float value(const TraceColumn& column, std::int64_t position,
              std::int64_t index = 0) const;  // NaN if absent
  std::uint64_t bytes() const;
  std::int64_t droppedFrames() const;  // positions without a complete frame
  std::uint64_t revision() const;      // grows with every change: redraw when it differs

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace eyrie::engine
