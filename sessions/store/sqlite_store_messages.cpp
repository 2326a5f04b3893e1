// Messages, their tokens while they stream, and snapshots.
#include <fmt/format.h>

#include <algorithm>

#include "sessions/store/sqlite_store.h"
#include "sessions/store/token_batch.h"

namespace eyrie::sessions {
namespace {

using engine::Error;
using engine::ErrorCode;

constexpr int kSnapshotsKept = 3;

std::string selectMessages(const char* rest, const char* with = "") {
  return fmt::format(
      "{} SELECT m.id, m.session, ifnull(m.parent, 0), m.role, m.text, m.model, m.fingerprint, m.status, "
      "m.seed,"
      " m.tokens_per_second, m.created, m.tokens FROM message m {}",
      with, rest);
}

std::span<const std::byte> blobOf(const SQLite::Column& column) {
  return {static_cast<const std::byte*>(column.getBlob()), std::size_t(column.getBytes())};
}

void bindBlob(SQLite::Statement& statement, int at, const void* data, std::size_t bytes) {
  constexpr std::size_t kMost = 1'000'000'000;  // SQLite's limit
  if (bytes > kMost) {
    throw Error(ErrorCode::ioFailed,
                fmt::format("a state of {} bytes is too large for the store (limit {})", bytes, kMost));
  }
  // A null pointer would be stored as NULL.
  statement.bindNoCopy(at, bytes == 0 ? static_cast<const void*>("") : data, int(bytes));
}

}  // namespace

MessageId SqliteStore::insertMessage(const Message& m, std::int64_t writer) {
  auto insert =
      prepare(*db_,
              "INSERT INTO message(session, parent, role, text, model, fingerprint, status, seed,"
              " tokens_per_second, created, writer) VALUES (?1,nullif(?2,0),?3,?4,?5,?6,?7,?8,?9,?10,?11)",
              m.session, m.parent, int(m.role), m.text, m.model, m.fingerprint, int(m.status),
              std::int64_t(m.seed), m.tokensPerSecond, m.created != 0 ? m.created : nowMs());
  if (m.status == MessageStatus::writing) insert.bind(11, writer);
  insert.exec();
  return db_->getLastInsertRowid();
}

MessageId SqliteStore::addMessage(const Message& message) {
  return inTransaction([&] {
    requireSession(message.session);
    if (message.parent != 0) {
      auto parent = prepare(*db_, "SELECT 1 FROM message WHERE id = ? AND session = ?", message.parent,
                            message.session);
      if (!parent.executeStep()) {
        throw Error(ErrorCode::notFound, fmt::format("there is no message {} in session {} to answer",
                                                     message.parent, message.session));
      }
    }
    const MessageId id =
        insertMessage(message, message.status == MessageStatus::writing ? writerNumber() : 0);
    execute(*db_, "UPDATE session SET selected_leaf = ?, updated = ? WHERE id = ?", id, nowMs(),
            message.session);
    return id;
  });
}

MessageStatus SqliteStore::statusOf(MessageId id) {
  auto row = prepare(*db_, "SELECT status FROM message WHERE id = ?", id);
  if (!row.executeStep()) notFound("message", id);
  return MessageStatus(row.getColumn(0).getInt());
}

void SqliteStore::insertBatch(MessageId id, const std::vector<engine::TokenRecord>& tokens) {
  if (tokens.empty()) return;
  const std::string data = encodeTokens(tokens);
  SQLite::Statement insert(*db_,
                           "INSERT INTO token_batch(message, number, data) VALUES (?1,"
                           " (SELECT ifnull(max(number), 0) + 1 FROM token_batch WHERE message = ?1), ?2)");
  insert.bind(1, id);
  bindBlob(insert, 2, data.data(), data.size());
  insert.exec();
  execute(*db_, "UPDATE message SET tokens = tokens + ? WHERE id = ?", std::int64_t(tokens.size()), id);
}

void SqliteStore::appendTokens(MessageId id, const std::string& text,
                               const std::vector<engine::TokenRecord>& tokens) {
  inTransaction([&] {
    if (statusOf(id) != MessageStatus::writing && !text.empty()) {
      throw Error(
          ErrorCode::badArgument,
          fmt::format("message {} is finished: expected no more text, found {} bytes", id, text.size()));
    }
    if (!text.empty()) {
      execute(*db_,
              "INSERT INTO text_piece(message, number, text) VALUES (?1,"
              " (SELECT ifnull(max(number), 0) + 1 FROM text_piece WHERE message = ?1), ?2)",
              id, text);
    }
    insertBatch(id, tokens);
  });
}

// The streamed text so far, taken out of the table of pieces.
std::string SqliteStore::takePieces(MessageId id) {
  std::string text;
  auto rows = prepare(*db_, "SELECT text FROM text_piece WHERE message = ? ORDER BY number", id);
  while (rows.executeStep()) text += rows.getColumn(0).getString();
  rows.reset();
  execute(*db_, "DELETE FROM text_piece WHERE message = ?", id);
  return text;
}

void SqliteStore::finishMessage(MessageId id, MessageStatus status, std::uint64_t seed,
                                double tokensPerSecond) {
  if (status == MessageStatus::writing) {
    throw Error(ErrorCode::badArgument, fmt::format("message {}: `writing` is not a way to finish", id));
  }
  inTransaction([&] {
    statusOf(id);
    execute(*db_,
            "UPDATE message SET text = text || ?, status = ?, seed = ?, tokens_per_second = ?, writer = NULL"
            " WHERE id = ?",
            takePieces(id), int(status), std::int64_t(seed), tokensPerSecond, id);
    execute(*db_, "UPDATE session SET updated = ? WHERE id = (SELECT session FROM message WHERE id = ?)",
            nowMs(), id);
  });
}

std::vector<Message> SqliteStore::readMessages(SQLite::Statement& row) {
  std::vector<Message> list;
  while (row.executeStep()) {
    Message m;
    m.id = row.getColumn(0).getInt64();
    m.session = row.getColumn(1).getInt64();
    m.parent = row.getColumn(2).getInt64();
    m.role = engine::Role(row.getColumn(3).getInt());
    m.text = row.getColumn(4).getString();
    m.model = row.getColumn(5).getString();
    m.fingerprint = row.getColumn(6).getString();
    m.status = MessageStatus(row.getColumn(7).getInt());
    m.seed = std::uint64_t(row.getColumn(8).getInt64());
    m.tokensPerSecond = row.getColumn(9).getDouble();
    m.created = row.getColumn(10).getInt64();
    m.tokens = row.getColumn(11).getInt64();
    if (m.status == MessageStatus::writing) {
      auto pieces = prepare(*db_, "SELECT text FROM text_piece WHERE message = ? ORDER BY number", m.id);
      while (pieces.executeStep()) m.text += pieces.getColumn(0).getString();
    }
    list.push_back(std::move(m));
  }
  return list;
}

Message SqliteStore::message(MessageId id) {
  return guarded([&] {
    auto row = prepare(*db_, selectMessages("WHERE m.id = ?"), id);
    auto found = readMessages(row);
    if (found.empty()) notFound("message", id);
    return std::move(found.front());
  });
}

std::vector<Message> SqliteStore::children(SessionId session, MessageId parent) {
  return guarded([&] {
    auto rows =
        prepare(*db_, selectMessages("WHERE m.session = ? AND m.parent IS nullif(?, 0) ORDER BY m.id"),
                session, parent);
    return readMessages(rows);
  });
}

std::vector<Message> SqliteStore::path(MessageId leaf) {
  return guarded([&] {
    // Parents are older than their children, so ids rise along a path, and a damaged tree cannot loop.
    auto rows = prepare(*db_,
                        selectMessages("WHERE m.id IN (SELECT id FROM up) ORDER BY m.id",
                                       "WITH RECURSIVE up(id) AS (SELECT ?1 UNION ALL SELECT m.parent"
                                       " FROM message m, up WHERE m.id = up.id AND m.parent < m.id)"),
                        leaf);
    auto found = readMessages(rows);
    if (found.empty()) notFound("message", leaf);
    return found;
  });
}

std::vector<Message> SqliteStore::messages(SessionId session) {
  return guarded([&] {
    requireSession(session);
    auto rows = prepare(*db_, selectMessages("WHERE m.session = ? ORDER BY m.id"), session);
    return readMessages(rows);
  });
}

std::vector<engine::TokenRecord> SqliteStore::tokens(MessageId id) {
  return guarded([&] {
    statusOf(id);
    std::vector<engine::TokenRecord> out;
    auto rows = prepare(*db_, "SELECT data FROM token_batch WHERE message = ? ORDER BY number", id);
    while (rows.executeStep()) {
      decodeTokens(blobOf(rows.getColumn(0)), fmt::format("{}: tokens of message {}", file_.string(), id),
                   out);
    }
    return out;
  });
}

void SqliteStore::insertSnapshot(SessionId session, MessageId leaf, const engine::Snapshot& snapshot) {
  const std::string ids = encodeIds(snapshot.tokens);
  SQLite::Statement insert(
      *db_, "INSERT INTO snapshot(message, session, fingerprint, tokens, state) VALUES (?,?,?,?,?)");
  insert.bind(1, leaf);
  insert.bind(2, session);
  insert.bind(3, snapshot.fingerprint);
  bindBlob(insert, 4, ids.data(), ids.size());
  bindBlob(insert, 5, snapshot.state.data(), snapshot.state.size());
  insert.exec();
}

void SqliteStore::saveSnapshot(MessageId leaf, const engine::Snapshot& snapshot) {
  inTransaction([&] {
    auto owner = prepare(*db_, "SELECT session FROM message WHERE id = ?", leaf);
    if (!owner.executeStep()) notFound("message", leaf);
    const SessionId session = owner.getColumn(0).getInt64();
    owner.reset();
    execute(*db_, "DELETE FROM snapshot WHERE message = ?", leaf);
    insertSnapshot(session, leaf, snapshot);
    execute(*db_,
            "DELETE FROM snapshot WHERE session = ?1 AND id NOT IN"
            " (SELECT id FROM snapshot WHERE session = ?1 ORDER BY id DESC LIMIT ?2)",
            session, kSnapshotsKept);
  });
}

std::optional<engine::Snapshot> SqliteStore::snapshot(MessageId leaf) {
  return guarded([&]() -> std::optional<engine::Snapshot> {
    auto row = prepare(*db_, "SELECT fingerprint, tokens, state FROM snapshot WHERE message = ?", leaf);
    if (!row.executeStep()) return std::nullopt;
    engine::Snapshot snapshot;
    snapshot.fingerprint = row.getColumn(0).getString();
    snapshot.tokens =
        decodeIds(blobOf(row.getColumn(1)), fmt::format("{}: snapshot of message {}", file_.string(), leaf));
    const auto state = blobOf(row.getColumn(2));
    snapshot.state.assign(state.begin(), state.end());
    return snapshot;
  });
}

}  // namespace eyrie::sessions
