// Logs of sequences that were left: other branches and conversations, sessions opened again. Bounded by
// number and by bytes; the least recently used goes first. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <span>

#include "engine/state_log.h"

namespace eyrie::engine {

// How far along `context`, and at most `limit` tokens, the sequence of a log can be taken up again: the last
// position between two of its chunks before which both agree. 0: not at all.
std::int64_t reach(const StateLog& log, std::span<const std::int32_t> context, std::int64_t limit);

class StateCache {
 public:
  struct Found {
    const StateLog* log = nullptr;  // null: there is none; valid until the next change
    std::int64_t position = 0;
  };

  StateCache(std::size_t maxLogs, std::uint64_t maxBytes) : maxLogs_(maxLogs), maxBytes_(maxBytes) {}

  // Logs that `log` only continues are replaced by it.
  void remember(StateLog log);
  // Of those read with exactly `rules`, the log that reaches furthest along `context`.
  Found furthest(std::span<const std::int32_t> context, std::int64_t limit, const Interventions& rules = {});
  void clear() { logs_.clear(); }
  std::size_t size() const { return logs_.size(); }
  std::uint64_t bytes() const;  // key-frames that forks share counted once

 private:
  std::size_t maxLogs_;
  std::uint64_t maxBytes_;
  std::list<StateLog> logs_;  // most recently used first
};

}  // namespace eyrie::engine
