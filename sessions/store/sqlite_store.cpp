// Sessions: create, change, list, delete. Messages stand in sqlite_store_messages.cpp.
#include "sessions/store/sqlite_store.h"

#include <fmt/format.h>

#include <chrono>
#include <map>

namespace eyrie::sessions {

using engine::Error;
using engine::ErrorCode;

void notFound(const char* what, std::int64_t id) {
  throw Error(ErrorCode::notFound, fmt::format("there is no {} {} in the store", what, id));
}

std::int64_t nowMs() {
  using std::chrono::system_clock;
  return std::chrono::duration_cast<std::chrono::milliseconds>(system_clock::now().time_since_epoch())
      .count();
}

std::unique_ptr<SessionStore> SessionStore::open(const std::filesystem::path& file) {
  return std::make_unique<SqliteStore>(file, openConnection(file), isMemory(file));
}

SqliteStore::SqliteStore(std::filesystem::path file, std::unique_ptr<SQLite::Database> db, bool inMemory)
    : file_(std::move(file)), db_(std::move(db)), inMemory_(inMemory), lock_(file_) {
  interruptAbandoned();
}

SqliteStore::~SqliteStore() = default;

// A message whose writer no longer lives will never be finished by anyone else.
void SqliteStore::interruptAbandoned() {
  guarded([&] {
    std::vector<std::int64_t> dead;
    auto writers = prepare(*db_, "SELECT DISTINCT ifnull(writer, 0) FROM message WHERE status = 0");
    while (writers.executeStep()) {
      const std::int64_t number = writers.getColumn(0).getInt64();
      if (number == 0 || inMemory_ || !lock_.held(number)) dead.push_back(number);
    }
    writers.reset();
    for (const std::int64_t number : dead) {
      inTransaction([&] {
        std::vector<MessageId> ids;
        auto rows =
            prepare(*db_, "SELECT id FROM message WHERE status = 0 AND ifnull(writer, 0) = ?", number);
        while (rows.executeStep()) ids.push_back(rows.getColumn(0).getInt64());
        for (const MessageId id : ids) {
          execute(*db_, "UPDATE message SET text = text || ?, status = ?, writer = NULL WHERE id = ?",
                  takePieces(id), int(MessageStatus::interrupted), id);
        }
      });
    }
  });
}

std::int64_t SqliteStore::writerNumber() {
  if (writer_ != 0 || inMemory_) return writer_;
  for (int attempt = 0; attempt < 100 && writer_ == 0; ++attempt) {
    execute(*db_, "DELETE FROM writer");
    execute(*db_, "INSERT INTO writer DEFAULT VALUES");
    const std::int64_t number = db_->getLastInsertRowid();
    if (lock_.take(number)) writer_ = number;
  }
  if (writer_ == 0) {
    throw Error(ErrorCode::ioFailed,
                fmt::format("{}.writers: this file cannot be locked for writing", file_.string()));
  }
  return writer_;
}

SessionId SqliteStore::insertSession(const Session& s) {
  const std::int64_t now = nowMs();
  execute(*db_,
          "INSERT INTO session(title, system_prompt, model, temperature, top_k, top_p, min_p,"
          " repetition_penalty, seed, seed_fixed, max_tokens, selected_leaf, created, updated)"
          " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
          s.title, s.systemPrompt, s.model, double(s.sampling.temperature), s.sampling.topK,
          double(s.sampling.topP), double(s.sampling.minP), double(s.sampling.repetitionPenalty),
          std::int64_t(s.sampling.seed), int(s.seedFixed), s.maxTokens, s.selectedLeaf,
          s.created != 0 ? s.created : now, now);
  return db_->getLastInsertRowid();
}

SessionId SqliteStore::createSession(const Session& session) {
  return inTransaction([&] {
    Session fresh = session;
    fresh.selectedLeaf = 0;
    return insertSession(fresh);
  });
}

Session SqliteStore::readSession(SessionId id) {
  auto row = prepare(*db_,
                     "SELECT title, system_prompt, model, temperature, top_k, top_p, min_p,"
                     " repetition_penalty, seed, seed_fixed, max_tokens, selected_leaf, created, updated"
                     " FROM session WHERE id = ? AND deleted IS NULL",
                     id);
  if (!row.executeStep()) notFound("session", id);
  Session s;
  s.id = id;
  s.title = row.getColumn(0).getString();
  s.systemPrompt = row.getColumn(1).getString();
  s.model = row.getColumn(2).getString();
  s.sampling.temperature = float(row.getColumn(3).getDouble());
  s.sampling.topK = row.getColumn(4).getInt();
  s.sampling.topP = float(row.getColumn(5).getDouble());
  s.sampling.minP = float(row.getColumn(6).getDouble());
  s.sampling.repetitionPenalty = float(row.getColumn(7).getDouble());
  s.sampling.seed = std::uint64_t(row.getColumn(8).getInt64());
  s.seedFixed = row.getColumn(9).getInt() != 0;
  s.maxTokens = row.getColumn(10).getInt();
  s.selectedLeaf = row.getColumn(11).getInt64();
  s.created = row.getColumn(12).getInt64();
  s.updated = row.getColumn(13).getInt64();
  return s;
}

Session SqliteStore::session(SessionId id) {
  return guarded([&] { return readSession(id); });
}

void SqliteStore::requireSession(SessionId id) {
  if (!prepare(*db_, "SELECT 1 FROM session WHERE id = ? AND deleted IS NULL", id).executeStep()) {
    notFound("session", id);
  }
}

void SqliteStore::updateSession(const Session& s) {
  inTransaction([&] {
    if (s.selectedLeaf != 0) {
      auto leaf = prepare(*db_, "SELECT 1 FROM message WHERE id = ? AND session = ?", s.selectedLeaf, s.id);
      if (!leaf.executeStep()) {
        throw Error(ErrorCode::notFound,
                    fmt::format("there is no message {} in session {} to select", s.selectedLeaf, s.id));
      }
    }
    const int changed = execute(
        *db_,
        "UPDATE session SET title = ?, system_prompt = ?, model = ?, temperature = ?, top_k = ?, top_p = ?,"
        " min_p = ?, repetition_penalty = ?, seed = ?, seed_fixed = ?, max_tokens = ?, selected_leaf = ?,"
        " updated = ? WHERE id = ? AND deleted IS NULL",
        s.title, s.systemPrompt, s.model, double(s.sampling.temperature), s.sampling.topK,
        double(s.sampling.topP), double(s.sampling.minP), double(s.sampling.repetitionPenalty),
        std::int64_t(s.sampling.seed), int(s.seedFixed), s.maxTokens, s.selectedLeaf, nowMs(), s.id);
    if (changed == 0) notFound("session", s.id);
  });
}

// Rows: id, title, updated. Counts and models come in one pass over a covering index.
std::vector<SessionSummary> SqliteStore::summaries(SQLite::Statement& statement) {
  std::vector<SessionSummary> list;
  std::map<SessionId, std::size_t> at;
  while (statement.executeStep()) {
    SessionSummary summary;
    summary.id = statement.getColumn(0).getInt64();
    summary.title = statement.getColumn(1).getString();
    summary.updated = statement.getColumn(2).getInt64();
    at[summary.id] = list.size();
    list.push_back(std::move(summary));
  }
  auto counts = prepare(
      *db_, "SELECT session, model, count(*), sum(tokens) FROM message GROUP BY session, role, model");
  while (counts.executeStep()) {
    const auto found = at.find(counts.getColumn(0).getInt64());
    if (found == at.end()) continue;
    SessionSummary& summary = list[found->second];
    std::string model = counts.getColumn(1).getString();
    summary.messages += counts.getColumn(2).getInt64();
    summary.tokens += counts.getColumn(3).getInt64();
    if (!model.empty()) summary.models.push_back(std::move(model));
  }
  return list;
}

std::vector<SessionSummary> SqliteStore::list(int limit) {
  return guarded([&] {
    auto rows = prepare(*db_,
                        "SELECT id, title, updated FROM session WHERE deleted IS NULL"
                        " ORDER BY updated DESC, id DESC LIMIT ?",
                        limit);
    return summaries(rows);
  });
}

void SqliteStore::deleteSession(SessionId id) {
  inTransaction([&] {
    if (execute(*db_, "UPDATE session SET deleted = ? WHERE id = ? AND deleted IS NULL", nowMs(), id) == 0) {
      notFound("session", id);
    }
  });
}

void SqliteStore::undeleteSession(SessionId id) {
  inTransaction([&] {
    if (execute(*db_, "UPDATE session SET deleted = NULL WHERE id = ?", id) == 0) notFound("session", id);
  });
}

void SqliteStore::purgeDeleted() {
  inTransaction([&] {
    execute(*db_, "DELETE FROM message WHERE session IN (SELECT id FROM session WHERE deleted IS NOT NULL)");
    execute(*db_, "DELETE FROM session WHERE deleted IS NOT NULL");
  });
}

}  // namespace eyrie::sessions
