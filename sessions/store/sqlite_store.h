// The store on SQLite. Split over sqlite_store*.cpp and search.cpp by concern.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sessions/store/connection.h"
#include "sessions/store/session_store.h"
#include "sessions/store/writer_lock.h"

namespace eyrie::sessions {

class SqliteStore final : public SessionStore {
 public:
  // `inMemory`: what is kept does not reach `file`, which only names the store in messages.
  SqliteStore(std::filesystem::path file, std::unique_ptr<SQLite::Database> db, bool inMemory);
  ~SqliteStore() override;

  SessionId createSession(const Session& session) override;
  Session session(SessionId id) override;
  void updateSession(const Session& session) override;
  std::vector<SessionSummary> list(int limit) override;
  std::vector<SessionSummary> search(const std::string& words, int limit) override;
  void deleteSession(SessionId id) override;
  void undeleteSession(SessionId id) override;
  void purgeDeleted() override;

  MessageId addMessage(const Message& message) override;
  void appendTokens(MessageId id, const std::string& text,
                    const std::vector<engine::TokenRecord>& tokens) override;
  void finishMessage(MessageId id, MessageStatus status, std::uint64_t seed, double tokensPerSecond) override;
  Message message(MessageId id) override;
  std::vector<Message> children(SessionId session, MessageId parent) override;
  std::vector<Message> path(MessageId leaf) override;
  std::vector<Message> messages(SessionId session) override;
  std::vector<engine::TokenRecord> tokens(MessageId id) override;

  void saveSnapshot(MessageId leaf, const engine::Snapshot& snapshot) override;
  std::optional<engine::Snapshot> snapshot(MessageId leaf) override;

  void exportSession(SessionId id, const std::filesystem::path& file) override;
  SessionId importSession(const std::filesystem::path& file) override;
  std::vector<std::string> check() override;
  void backup(const std::filesystem::path& file) override;
  bool inMemory() const override { return inMemory_; }

 private:
  // Runs `work` and turns SQLite's exceptions into Error.
  template <class Work>
  auto guarded(Work&& work) {
    try {
      return work();
    } catch (const SQLite::Exception& error) {
      rethrow(file_, error);
    }
  }
  // The same in a transaction that takes the write lock at once: all of it happens, or nothing.
  template <class Work>
  auto inTransaction(Work&& work) {
    return guarded([&] {
      SQLite::Transaction transaction(*db_, SQLite::TransactionBehavior::IMMEDIATE);
      if constexpr (std::is_void_v<decltype(work())>) {
        work();
        transaction.commit();
      } else {
        auto result = work();
        transaction.commit();
        return result;
      }
    });
  }

  void interruptAbandoned();
  std::int64_t writerNumber();
  Session readSession(SessionId id);
  void requireSession(SessionId id);
  std::vector<Message> readMessages(SQLite::Statement& statement);
  MessageStatus statusOf(MessageId id);
  std::string takePieces(MessageId id);
  SessionId insertSession(const Session& session);
  MessageId insertMessage(const Message& message, std::int64_t writer);
  void insertBatch(MessageId id, const std::vector<engine::TokenRecord>& tokens);
  void insertSnapshot(SessionId session, MessageId leaf, const engine::Snapshot& snapshot);
  std::vector<SessionSummary> summaries(SQLite::Statement& statement);
  std::string snippet(SessionId session, MessageId message, const std::vector<std::string>& words);
  void checkTree(std::vector<std::string>& problems);
  void checkTokens(std::vector<std::string>& problems);
  void checkIndexes(std::vector<std::string>& problems);

  std::filesystem::path file_;
  std::unique_ptr<SQLite::Database> db_;
  bool inMemory_;
  WriterLock lock_;
  std::int64_t writer_ = 0;  // 0: none taken yet
};

[[noreturn]] void notFound(const char* what, std::int64_t id);
std::int64_t nowMs();

}  // namespace eyrie::sessions
