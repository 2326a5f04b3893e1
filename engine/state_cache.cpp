#include "engine/state_cache.h"

#include <algorithm>

namespace eyrie::engine {

std::int64_t reach(const StateLog& log, std::span<const std::int32_t> context, std::int64_t limit) {
  const std::vector<std::int32_t>& tokens = log.tokens();
  const auto differs = std::mismatch(tokens.begin(), tokens.end(), context.begin(), context.end()).first;
  const auto common = static_cast<std::int64_t>(differs - tokens.begin());
  return std::max<std::int64_t>(0, log.boundary(std::min(common, limit)));
}

void StateCache::remember(StateLog log) {
  if (log.boundary(log.position()) < 1) return;  // it leads nowhere
  if (log.bytes() > maxBytes_) return;           // it would drive out all others and go as well
  logs_.remove_if([&](const StateLog& other) {
    return other.rules() == log.rules() && reach(log, other.tokens(), other.position()) == other.position();
  });
  logs_.push_front(std::move(log));
  while (logs_.size() > maxLogs_ || bytes() > maxBytes_) logs_.pop_back();
}

StateCache::Found StateCache::furthest(std::span<const std::int32_t> context, std::int64_t limit,
                                       const Interventions& rules) {
  Found found;
  auto best = logs_.end();
  for (auto it = logs_.begin(); it != logs_.end(); ++it) {
    const std::int64_t position = reach(*it, context, limit);
    if (position <= found.position || it->rules() != rules) continue;
    found = {&*it, position};
    best = it;
  }
  if (best != logs_.end()) logs_.splice(logs_.begin(), logs_, best);
  return found;
}

std::uint64_t StateCache::bytes() const {
  std::unordered_set<const void*> counted;
  std::uint64_t sum = 0;
  for (const StateLog& log : logs_) sum += log.bytes(counted);
  return sum;
}

}  // namespace eyrie::engine
