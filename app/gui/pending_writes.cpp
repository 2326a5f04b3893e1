#include "app/gui/pending_writes.h"

namespace eyrie::app {

void PendingWrites::append(sessions::MessageId id, const std::string& text,
                           const std::vector<engine::TokenRecord>& tokens) {
  Entry& entry = waiting_[id];
  entry.text += text;
  entry.tokens.insert(entry.tokens.end(), tokens.begin(), tokens.end());
}

void PendingWrites::finish(sessions::MessageId id, sessions::MessageStatus status, std::uint64_t seed,
                           double speed) {
  waiting_[id].end = End{status, seed, speed};
}

void PendingWrites::write(sessions::SessionStore& store) {
  while (!waiting_.empty()) {
    const auto first = waiting_.begin();
    Entry& entry = first->second;
    try {
      if (!entry.text.empty() || !entry.tokens.empty())
        store.appendTokens(first->first, entry.text, entry.tokens);
      entry.text.clear();
      entry.tokens.clear();
      if (entry.end) store.finishMessage(first->first, entry.end->status, entry.end->seed, entry.end->speed);
    } catch (const engine::Error& error) {
      // What will never be taken (its session was deleted meanwhile) must not stand before the rest.
      if (error.code() == engine::ErrorCode::ioFailed) throw;
      waiting_.erase(first);
      throw;
    }
    waiting_.erase(first);
  }
}

}  // namespace eyrie::app
