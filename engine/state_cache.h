// Remembered states by the tokens and the interventions that made them, bounded by number and by bytes; the
// least recently used goes first. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <vector>

#include "engine/interventions.h"
#include "engine/sequence_state.h"

namespace eyrie::engine {

// Whether `tokens` begins with `prefix`.
bool startsWith(std::span<const std::int32_t> tokens, std::span<const std::int32_t> prefix);

class StateCache {
 public:
  struct Entry {
    std::vector<std::int32_t> tokens;
    SequenceState state;
  };

  StateCache(std::size_t maxStates, std::uint64_t maxBytes) : maxStates_(maxStates), maxBytes_(maxBytes) {}

  // Keeps `state`, which holds exactly `tokens`, all read with its interventions; a state of the same tokens
  // and interventions is replaced.
  void remember(std::vector<std::int32_t> tokens, SequenceState state);
  // The longest state of a prefix of `context` with at most `limit` tokens, read with exactly `rules`; null
  // if there is none. Valid until the next change.
  const Entry* longest(std::span<const std::int32_t> context, std::size_t limit,
                       const Interventions& rules = {});
  void clear();
  std::size_t size() const { return entries_.size(); }
  std::uint64_t bytes() const { return bytes_; }

 private:
  void dropLast();

  std::size_t maxStates_;
  std::uint64_t maxBytes_;
  std::uint64_t bytes_ = 0;
  std::list<Entry> entries_;  // most recently used first
};

}  // namespace eyrie::engine
