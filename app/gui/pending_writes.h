// What messages being written still owe the store. A write that fails is kept and goes with the next one, so
// that a message has no gaps when the disk has room again. On the store's thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sessions/store/session_store.h"

namespace eyrie::app {

class PendingWrites {
 public:
  void append(sessions::MessageId id, const std::string& text,
              const std::vector<engine::TokenRecord>& tokens);
  void finish(sessions::MessageId id, sessions::MessageStatus status, std::uint64_t seed, double speed);
  // Writes all that waits. Throws engine::Error at the first that fails; what is not written stays.
  void write(sessions::SessionStore& store);
  void clear() { waiting_.clear(); }
  bool isEmpty() const { return waiting_.empty(); }

 private:
  struct End {
    sessions::MessageStatus status;
    std::uint64_t seed;
    double speed;
  };
  struct Entry {
    std::string text;
    std::vector<engine::TokenRecord> tokens;
    std::optional<End> end;
  };
  std::map<sessions::MessageId, Entry> waiting_;
};

}  // namespace eyrie::app
