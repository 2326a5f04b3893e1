// Sessions in SQLite: a tree of messages, their tokens while they stream, and snapshots of the model's state.
// Speaks the domain; no SQL above it. DESIGN §6.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sessions/store/session_types.h"

namespace eyrie::sessions {

// One connection, one thread at a time; several stores and processes may share one file. Throws engine::Error
// (ioFailed: disk full or read-only, badFile: damaged or newer database, notFound). A call that throws
// changed nothing, and what is stored stays readable.
class SessionStore {
 public:
  // ":memory:" keeps everything in memory. A damaged database is moved aside (…/sessions.db.damaged-N) by
  // openOrRecover, never overwritten; a newer one is refused.
  // Messages left `writing` by a process that is gone become `interrupted`; those of a live one stay.
  static std::unique_ptr<SessionStore> open(const std::filesystem::path& file);
  virtual ~SessionStore() = default;

  virtual SessionId createSession(const Session& session) = 0;
  virtual Session session(SessionId id) = 0;
  virtual void updateSession(const Session& session) = 0;          // title, prompt, model, sampling, leaf
  virtual std::vector<SessionSummary> list(int limit = 1000) = 0;  // newest first, deleted ones left out
  // Sessions in which every word occurs, in the title or in a finished message; newest first.
  virtual std::vector<SessionSummary> search(const std::string& words, int limit = 200) = 0;
  virtual void deleteSession(SessionId id) = 0;  // soft: undelete brings it back until purgeDeleted
  virtual void undeleteSession(SessionId id) = 0;
  virtual void purgeDeleted() = 0;

  // Commits at once: a message is on disk before generation starts. The new message becomes the session's
  // selectedLeaf. Throws notFound when the session or the parent (of another session) does not exist.
  virtual MessageId addMessage(const Message& message) = 0;
  // Text and token records added to a message being written, in one transaction. A message that is no longer
  // being written takes token records (of a prompt that was read) but no text: badArgument.
  virtual void appendTokens(MessageId id, const std::string& text,
                            const std::vector<engine::TokenRecord>& tokens) = 0;
  virtual void finishMessage(MessageId id, MessageStatus status, std::uint64_t seed,
                             double tokensPerSecond) = 0;
  virtual Message message(MessageId id) = 0;
  virtual std::vector<Message> children(SessionId session, MessageId parent) = 0;  // siblings, oldest first
  virtual std::vector<Message> path(MessageId leaf) = 0;                           // root … leaf
  virtual std::vector<Message> messages(SessionId session) = 0;                    // the whole tree, by id
  virtual std::vector<engine::TokenRecord> tokens(MessageId id) = 0;

  virtual void saveSnapshot(MessageId leaf,
                            const engine::Snapshot& snapshot) = 0;  // keeps the newest few a session
  virtual std::optional<engine::Snapshot> snapshot(MessageId leaf) = 0;

  // A whole session as one portable file; import gives it a new id. Imported files are untrusted.
  virtual void exportSession(SessionId id, const std::filesystem::path& file) = 0;
  virtual SessionId importSession(const std::filesystem::path& file) = 0;

  // Problems found, one sentence each; empty = sound.
  virtual std::vector<std::string> check() = 0;
  virtual void backup(const std::filesystem::path& file) = 0;
  virtual bool inMemory() const = 0;
};

// $XDG_DATA_HOME/eyrie/sessions.db, or the platform's equivalent.
std::filesystem::path defaultStorePath();

struct OpenedStore {
  std::unique_ptr<SessionStore> store;
  std::string
      notice;  // what the user must be told once: moved aside, read-only or full disk → in memory; else empty
};
OpenedStore openOrRecover(const std::filesystem::path& file);

}  // namespace eyrie::sessions
