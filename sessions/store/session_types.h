// Values of a session: what the store keeps and a portable session file carries. No SQL, no files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/events.h"

namespace eyrie::sessions {

using SessionId = std::int64_t;
using MessageId = std::int64_t;

enum class MessageStatus : std::uint8_t {
  writing,
  done,
  cancelled,
  interrupted
};  // interrupted: the process died

struct Session {
  SessionId id = 0;
  std::string title;
  std::string systemPrompt;
  std::string model;  // as locateModel understands it
  engine::SamplingOptions sampling;
  bool seedFixed = false;
  int maxTokens = 512;
  MessageId selectedLeaf = 0;  // 0: empty session
  std::int64_t created = 0;    // Unix milliseconds, UTC
  std::int64_t updated = 0;
};

struct SessionSummary {
  SessionId id = 0;
  std::string title;
  std::vector<std::string> models;  // that wrote in it
  std::int64_t messages = 0;
  std::int64_t tokens = 0;
  std::int64_t updated = 0;
  std::string snippet;  // for searches: the place that matched, with \x01 and \x02 around the match
};

struct Message {
  MessageId id = 0;
  SessionId session = 0;
  MessageId parent = 0;  // 0: a root
  engine::Role role = engine::Role::user;
  std::string text;
  std::string model;        // who wrote it (role model), else empty
  std::string fingerprint;  // of that model
  MessageStatus status = MessageStatus::done;
  std::uint64_t seed = 0;
  double tokensPerSecond = 0;
  std::int64_t created = 0;
  std::int64_t tokens = 0;  // token records stored
};

}  // namespace eyrie::sessions
