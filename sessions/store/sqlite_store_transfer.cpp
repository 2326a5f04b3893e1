// Sessions in and out of the store as portable files, and copies of the whole store.
#include <fmt/format.h>

#include <fstream>
#include <map>
#include <system_error>

#include "sessions/export/output_file.h"
#include "sessions/store/session_file.h"
#include "sessions/store/sqlite_store.h"

namespace eyrie::sessions {
namespace {

namespace fs = std::filesystem;
using engine::Error;
using engine::ErrorCode;

// Base64 of more than this would make a file that no import takes.
constexpr std::size_t kMostStateBytes = 96ULL << 20;

std::string readWhole(const fs::path& file) {
  std::error_code failed;
  const auto status = fs::status(file, failed);
  if (!fs::exists(status))
    throw Error(ErrorCode::notFound, fmt::format("{}: there is no such file", file.string()));
  if (!fs::is_regular_file(status)) {
    throw Error(ErrorCode::badFile, fmt::format("{}: expected a file, found something else", file.string()));
  }
  std::ifstream in(file, std::ios::binary);
  const auto size = fs::file_size(file, failed);
  if (!in || failed) throw Error(ErrorCode::ioFailed, fmt::format("{}: it cannot be read", file.string()));
  if (size > kMostFileBytes) {
    throw Error(ErrorCode::badFile,
                fmt::format("{}: expected at most {} bytes, found {}", file.string(), kMostFileBytes, size));
  }
  std::string bytes(std::size_t(size), '\0');
  in.read(bytes.data(), std::streamsize(size));
  bytes.resize(std::size_t(in.gcount()));
  return bytes;
}

}  // namespace

void SqliteStore::exportSession(SessionId id, const fs::path& file) {
  SessionFile out;
  guarded([&] {
    // One read transaction: the session as it was at one moment, also while another process writes in it.
    SQLite::Transaction moment(*db_);
    out.session = readSession(id);
    for (Message& m : messages(id)) {
      std::vector<engine::TokenRecord> records = tokens(m.id);
      out.messages.push_back({std::move(m), std::move(records)});
    }
    if (out.session.selectedLeaf != 0) out.snapshot = snapshot(out.session.selectedLeaf);
  });
  if (out.snapshot && out.snapshot->state.size() > kMostStateBytes) out.snapshot.reset();
  if (out.snapshot) out.snapshotLeaf = out.session.selectedLeaf;
  OutputFile target(file);
  target.append(writeSessionFile(out));
  target.commit();
}

SessionId SqliteStore::importSession(const fs::path& file) {
  const std::string bytes = readWhole(file);
  const SessionFile in = parseSessionFile(bytes, file.filename().string());
  return inTransaction([&] {
    std::map<MessageId, MessageId> ids;
    Session fresh = in.session;
    fresh.selectedLeaf = 0;
    const SessionId session = insertSession(fresh);
    for (const auto& entry : in.messages) {
      Message m = entry.message;
      const MessageId old = m.id;
      m.session = session;
      if (m.parent != 0) m.parent = ids.at(m.parent);
      ids[old] = insertMessage(m, 0);
      insertBatch(ids[old], entry.tokens);
    }
    if (in.session.selectedLeaf != 0) {
      execute(*db_, "UPDATE session SET selected_leaf = ? WHERE id = ?", ids.at(in.session.selectedLeaf),
              session);
    }
    if (in.snapshot) insertSnapshot(session, ids.at(in.snapshotLeaf), *in.snapshot);
    return session;
  });
}

void SqliteStore::backup(const fs::path& file) {
  fs::path partial = file;
  partial += ".partial";
  std::error_code failed;
  fs::remove(partial, failed);
  try {
    guarded([&] { execute(*db_, "VACUUM INTO ?", partial.string()); });
    fs::rename(partial, file);
  } catch (const fs::filesystem_error& error) {
    fs::remove(partial, failed);
    throw Error(ErrorCode::ioFailed,
                fmt::format("{}: could not be written: {}", file.string(), error.code().message()));
  } catch (const Error& error) {
    fs::remove(partial, failed);
    throw Error(error.code(), fmt::format("backup to {} failed: {}", file.string(), error.what()));
  }
}

}  // namespace eyrie::sessions
