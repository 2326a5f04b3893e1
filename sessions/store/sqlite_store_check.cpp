// check(): is everything in the store sound? Says what is wrong, changes nothing.
#include <fmt/format.h>
#include <sqlite3.h>

#include "sessions/store/sqlite_store.h"
#include "sessions/store/token_batch.h"

namespace eyrie::sessions {
namespace {

constexpr std::size_t kMostProblems = 100;

void add(std::vector<std::string>& problems, std::string problem) {
  if (problems.size() < kMostProblems) problems.push_back(std::move(problem));
}

void checkPages(SQLite::Database& db, std::vector<std::string>& problems) {
  auto rows = prepare(db, "PRAGMA integrity_check(20)");
  while (rows.executeStep()) {
    const std::string found = oneLine(rows.getColumn(0).getString());
    if (found != "ok") add(problems, "The database's structure is damaged: " + found + ".");
  }
  auto keys = prepare(db, "PRAGMA foreign_key_check");
  while (keys.executeStep()) {
    add(problems, fmt::format("Row {} of table {} points to a row of {} that does not exist.",
                              keys.getColumn(1).getString(), keys.getColumn(0).getString(),
                              keys.getColumn(2).getString()));
  }
}

}  // namespace

void SqliteStore::checkTree(std::vector<std::string>& problems) {
  auto parents =
      prepare(*db_,
              "SELECT m.id, m.parent, p.session IS NOT m.session FROM message m LEFT JOIN message p"
              " ON p.id = m.parent WHERE m.parent IS NOT NULL"
              " AND (p.session IS NOT m.session OR m.parent >= m.id)");
  while (parents.executeStep()) {
    add(problems, fmt::format("Message {} answers message {}, which {}.", parents.getColumn(0).getInt64(),
                              parents.getColumn(1).getInt64(),
                              parents.getColumn(2).getInt() != 0 ? "is not of its session" : "is younger"));
  }
  auto leaves =
      prepare(*db_,
              "SELECT s.id, s.selected_leaf FROM session s WHERE s.selected_leaf <> 0 AND NOT EXISTS"
              " (SELECT 1 FROM message m WHERE m.id = s.selected_leaf AND m.session = s.id)");
  while (leaves.executeStep()) {
    add(problems, fmt::format("Session {} shows message {}, which is not one of its messages.",
                              leaves.getColumn(0).getInt64(), leaves.getColumn(1).getInt64()));
  }
  auto pieces = prepare(*db_,
                        "SELECT DISTINCT p.message FROM text_piece p JOIN message m ON m.id = p.message"
                        " WHERE m.status <> 0");
  while (pieces.executeStep()) {
    add(problems, fmt::format("Message {} is finished, but pieces of its text were never joined to it.",
                              pieces.getColumn(0).getInt64()));
  }
}

void SqliteStore::checkTokens(std::vector<std::string>& problems) {
  auto rows =
      prepare(*db_,
              "SELECT m.id, m.tokens, b.data FROM message m LEFT JOIN token_batch b ON b.message = m.id"
              " WHERE m.tokens <> 0 OR b.data IS NOT NULL ORDER BY m.id, b.number");
  MessageId current = 0;
  std::int64_t expected = 0;
  std::vector<engine::TokenRecord> records;
  const auto close = [&] {
    if (current != 0 && std::int64_t(records.size()) != expected) {
      add(problems,
          fmt::format("Message {} should have {} tokens and has {}.", current, expected, records.size()));
    }
    records.clear();
  };
  while (rows.executeStep()) {
    const MessageId id = rows.getColumn(0).getInt64();
    if (id != current) close();
    current = id;
    expected = rows.getColumn(1).getInt64();
    const auto data = rows.getColumn(2);
    if (data.isNull()) continue;
    try {
      decodeTokens({static_cast<const std::byte*>(data.getBlob()), std::size_t(data.getBytes())},
                   fmt::format("Tokens of message {}", id), records);
    } catch (const engine::Error& error) {
      add(problems, error.what() + std::string("."));
    }
  }
  close();
}

void SqliteStore::checkIndexes(std::vector<std::string>& problems) {
  for (const char* table : {"message_words", "message_trigrams", "title_words", "title_trigrams"}) {
    try {
      db_->exec(fmt::format("INSERT INTO {0}({0}, rank) VALUES ('integrity-check', 1)", table));
    } catch (const SQLite::Exception& error) {
      if (error.getErrorCode() != SQLITE_CORRUPT) throw;
      add(problems, fmt::format("The search index {} does not agree with the texts.", table));
    }
  }
}

std::vector<std::string> SqliteStore::check() {
  return guarded([&] {
    std::vector<std::string> problems;
    checkPages(*db_, problems);
    if (!problems.empty()) return problems;
    checkTree(problems);
    checkTokens(problems);
    checkIndexes(problems);
    return problems;
  });
}

}  // namespace eyrie::sessions
