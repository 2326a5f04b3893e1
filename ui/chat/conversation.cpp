#include "ui/chat/conversation.h"

#include <algorithm>

namespace eyrie::ui {

namespace {
const std::vector<TurnId> kNoTurns;
}

void Conversation::clear() {
  restore({}, 0);
}

TurnId Conversation::add(Turn turn) {
  const TurnId id = next_++;
  turn.id = id;
  children_[turn.parent].push_back(id);
  turns_.emplace(id, std::move(turn));
  showPath(id);
  return id;
}

void Conversation::restore(std::vector<Turn> turns, TurnId leaf) {
  emit aboutToReset();
  turns_.clear();
  children_.clear();
  lastShown_.clear();
  path_.clear();
  next_ = 1;
  for (Turn& turn : turns) {
    next_ = std::max(next_, turn.id + 1);
    children_[turn.parent].push_back(turn.id);
    turns_.emplace(turn.id, std::move(turn));
  }
  for (TurnId id = leaf; id != 0 && contains(id); id = turn(id).parent) {
    path_.push_back(id);
    lastShown_[turn(id).parent] = id;
  }
  std::reverse(path_.begin(), path_.end());
  emit wasReset();
}

const std::vector<TurnId>& Conversation::children(TurnId parent) const {
  const auto found = children_.find(parent);
  return found == children_.end() ? kNoTurns : found->second;
}

void Conversation::showPath(TurnId leaf) {
  std::vector<TurnId> path;
  for (TurnId id = leaf; id != 0; id = turn(id).parent) {
    path.push_back(id);
    lastShown_[turn(id).parent] = id;
  }
  std::reverse(path.begin(), path.end());
  const auto differing = std::mismatch(path.begin(), path.end(), path_.begin(), path_.end());
  const int firstChanged = int(differing.first - path.begin());
  path_ = std::move(path);
  emit pathChanged(firstChanged);
}

void Conversation::appendText(TurnId id, const QString& delta) {
  if (delta.isEmpty()) return;
  turns_.at(id).text += delta;
  emit textAppended(id);
}

void Conversation::placeRecord(TurnId id, const engine::TokenRecord& record) {
  Turn& turn = turns_.at(id);
  const std::int64_t index = record.position - turn.firstPosition;
  if (turn.firstPosition < 0 || index < 0) return;
  if (index >= std::int64_t(turn.tokens.size())) turn.tokens.resize(std::size_t(index) + 1);
  turn.tokens[std::size_t(index)] = record;
  emit recordsChanged(id);
}

void Conversation::setFirstPosition(TurnId id, std::int64_t position) {
  turns_.at(id).firstPosition = position;
}

void Conversation::setStoreId(TurnId id, std::int64_t storeId) {
  turns_.at(id).storeId = storeId;
}

void Conversation::setSampling(TurnId id, const engine::SamplingOptions& sampling) {
  turns_.at(id).sampling = sampling;
}

void Conversation::finish(TurnId id, TurnStatus status, std::uint64_t seed, double tokensPerSecond) {
  Turn& turn = turns_.at(id);
  turn.status = status;
  turn.seed = seed;
  turn.tokensPerSecond = tokensPerSecond;
  emit turnChanged(id);
}

void Conversation::setStatus(TurnId id, TurnStatus status) {
  turns_.at(id).status = status;
  emit turnChanged(id);
}

void Conversation::select(TurnId id) {
  TurnId leaf = id;
  while (!children(leaf).empty()) {
    const auto last = lastShown_.find(leaf);
    leaf = last != lastShown_.end() ? last->second : children(leaf).back();
  }
  showPath(leaf);
}

void Conversation::cutAfter(TurnId id) {
  showPath(id);
}

void Conversation::stepSibling(TurnId id, int delta) {
  const std::vector<TurnId> all = siblings(id);
  const auto here = std::find(all.begin(), all.end(), id);
  const std::int64_t index = (here - all.begin()) + delta;
  if (here == all.end() || index < 0 || index >= std::int64_t(all.size())) return;
  select(all[std::size_t(index)]);
}

}  // namespace eyrie::ui
