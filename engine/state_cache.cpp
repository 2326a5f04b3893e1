#include "engine/state_cache.h"

#include <algorithm>

#include "engine/intervention_plan.h"

namespace eyrie::engine {
namespace {

std::uint64_t sizeOf(const StateCache::Entry& entry) {
  return entry.state.bytes() + entry.tokens.size() * sizeof(std::int32_t);
}

}  // namespace

bool startsWith(std::span<const std::int32_t> tokens, std::span<const std::int32_t> prefix) {
  return prefix.size() <= tokens.size() && std::equal(prefix.begin(), prefix.end(), tokens.begin());
}

void StateCache::remember(std::vector<std::int32_t> tokens, SequenceState state) {
  const auto same = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.tokens == tokens && rulesOf(entry.state) == rulesOf(state);
  });
  if (same != entries_.end()) {
    bytes_ -= sizeOf(*same);
    entries_.erase(same);
  }
  Entry entry{std::move(tokens), std::move(state)};
  if (sizeOf(entry) > maxBytes_) return;  // it would drive out all others and go as well
  entries_.push_front(std::move(entry));
  bytes_ += sizeOf(entries_.front());
  while (!entries_.empty() && (entries_.size() > maxStates_ || bytes_ > maxBytes_)) dropLast();
}

const StateCache::Entry* StateCache::longest(std::span<const std::int32_t> context, std::size_t limit,
                                             const Interventions& rules) {
  auto best = entries_.end();
  for (auto it = entries_.begin(); it != entries_.end(); ++it) {
    if (it->tokens.size() > limit || !startsWith(context, it->tokens)) continue;
    if (rulesOf(it->state) != rules) continue;
    if (best == entries_.end() || it->tokens.size() > best->tokens.size()) best = it;
  }
  if (best == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, best);
  return &entries_.front();
}

void StateCache::clear() {
  entries_.clear();
  bytes_ = 0;
}

void StateCache::dropLast() {
  bytes_ -= sizeOf(entries_.back());
  entries_.pop_back();
}

}  // namespace eyrie::engine
