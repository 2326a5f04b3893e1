#include "sessions/store/connection.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <system_error>

#include "sessions/store/migrations.h"

namespace eyrie::sessions {
namespace {

using engine::ErrorCode;

constexpr int kBusyMilliseconds = 5000;
// Above this size only the tables that hold what cannot be made again are walked at every start: snapshots
// are large and replaceable.
constexpr std::uintmax_t kQuickCheckBytes = 64ULL << 20;

std::string reason(const SQLite::Exception& error) {
  switch (error.getErrorCode()) {
    case SQLITE_FULL:
      return "the disk is full";
    case SQLITE_READONLY:
      return "it is read-only";
    case SQLITE_IOERR:
      return "reading or writing failed (disk full, or the medium has errors)";
    case SQLITE_CANTOPEN:
      return "it cannot be opened (missing folder or no permission)";
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return "no permission";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return "another program keeps it locked";
    case SQLITE_NOTADB:
      return "expected an SQLite database, found other content";
    case SQLITE_CORRUPT:
      return "expected a sound database, found damaged pages";
    case SQLITE_TOOBIG:
      return "a value is larger than a database can hold";
    default:
      return error.what();
  }
}

bool meansDamage(int code) {
  return code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_FORMAT;
}

// SQLite takes an empty file for a new database and other files only by luck: look before it does.
void checkMagic(const std::filesystem::path& file) {
  std::error_code ignored;
  const auto status = std::filesystem::status(file, ignored);
  if (!std::filesystem::exists(status)) return;
  if (!std::filesystem::is_regular_file(status)) {
    throw OpenError(OpenFailure::unusable, ErrorCode::ioFailed,
                    fmt::format("{}: expected a file, found something else", file.string()));
  }
  std::ifstream in(file, std::ios::binary);
  if (!in) {
    throw OpenError(OpenFailure::unusable, ErrorCode::ioFailed,
                    fmt::format("{}: cannot be read (no permission)", file.string()));
  }
  std::array<char, 16> head{};
  in.read(head.data(), head.size());
  if (in.gcount() == 0) return;
  if (in.gcount() != 16 || std::memcmp(head.data(), "SQLite format 3", 16) != 0) {
    throw OpenError(
        OpenFailure::damaged, ErrorCode::badFile,
        fmt::format("{}: expected an SQLite database, found another kind of file", file.string()));
  }
}

std::int64_t pragma(SQLite::Database& db, const char* sql) {
  return db.execAndGet(sql).getInt64();
}

void checkKind(SQLite::Database& db, const std::filesystem::path& file) {
  const auto version = pragma(db, "PRAGMA user_version");
  const auto application = pragma(db, "PRAGMA application_id");
  const auto objects = pragma(db, "SELECT count(*) FROM sqlite_master");
  if (application != kApplicationId && (objects != 0 || version != 0 || application != 0)) {
    throw OpenError(
        OpenFailure::damaged, ErrorCode::badFile,
        fmt::format("{}: expected a store of Eyrie's sessions, found a database of another program",
                    file.string()));
  }
  if (version > latestVersion()) {
    throw OpenError(OpenFailure::newer, ErrorCode::badFile,
                    fmt::format("{}: expected version {} or older, found version {} of a newer Eyrie",
                                file.string(), latestVersion(), version));
  }
}

void checkStructure(SQLite::Database& db, const std::filesystem::path& file) {
  std::error_code ignored;
  const auto bytes = std::filesystem::file_size(file, ignored);
  if (!ignored && bytes == 0) return;
  const bool all = ignored || bytes <= kQuickCheckBytes;
  const std::array<const char*, 3> parts = {"PRAGMA quick_check(session)", "PRAGMA quick_check(message)",
                                            "PRAGMA quick_check(token_batch)"};
  const auto check = [&](const char* sql) {
    const std::string found = oneLine(db.execAndGet(sql).getString());
    if (found != "ok") {
      throw OpenError(OpenFailure::damaged, ErrorCode::badFile,
                      fmt::format("{}: expected a sound database, found: {}", file.string(), found));
    }
  };
  if (all) {
    check("PRAGMA quick_check(1)");
  } else {
    for (const char* sql : parts) check(sql);
  }
}

void prepareFolder(const std::filesystem::path& file) {
  std::error_code failed;
  if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path(), failed);
  if (failed) {
    throw OpenError(
        OpenFailure::unusable, ErrorCode::ioFailed,
        fmt::format("{}: the folder cannot be created ({})", file.parent_path().string(), failed.message()));
  }
}

void configure(SQLite::Database& db, bool memory) {
  db.exec("PRAGMA foreign_keys = ON");
  sqlite3_db_config(db.getHandle(), SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  if (memory) return;
  db.execAndGet("PRAGMA journal_mode = WAL");
  // A killed process loses nothing; a power cut may lose the last commits but damages nothing.
  db.exec("PRAGMA synchronous = NORMAL");
  db.exec("PRAGMA journal_size_limit = 67108864");
}

std::unique_ptr<SQLite::Database> connect(const std::filesystem::path& file) {
  const bool memory = isMemory(file);
  auto db = std::make_unique<SQLite::Database>(file.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE,
                                               kBusyMilliseconds);
  if (!memory) {
    if (sqlite3_db_readonly(db->getHandle(), "main") == 1) {
      throw OpenError(OpenFailure::unusable, ErrorCode::ioFailed,
                      fmt::format("{}: it is read-only", file.string()));
    }
    checkKind(*db, file);
    checkStructure(*db, file);
  }
  configure(*db, memory);
  migrate(*db, file);
  return db;
}

}  // namespace

std::string oneLine(std::string found) {
  const std::string heading = "*** in database main ***\n";
  if (found.compare(0, heading.size(), heading) == 0) found.erase(0, heading.size());
  std::replace(found.begin(), found.end(), '\n', ' ');
  return found;
}

bool isMemory(const std::filesystem::path& file) {
  return file == ":memory:";
}

void rethrow(const std::filesystem::path& file, const SQLite::Exception& error) {
  const bool damage = meansDamage(error.getErrorCode());
  throw engine::Error(damage ? ErrorCode::badFile : ErrorCode::ioFailed,
                      fmt::format("{}: {}", file.string(), reason(error)));
}

std::unique_ptr<SQLite::Database> adoptMemory(std::unique_ptr<SQLite::Database> db,
                                              const std::filesystem::path& file) {
  checkKind(*db, file);
  configure(*db, true);
  migrate(*db, file);
  return db;
}

std::unique_ptr<SQLite::Database> openConnection(const std::filesystem::path& file) {
  try {
    if (!isMemory(file)) {
      prepareFolder(file);
      checkMagic(file);
    }
    return connect(file);
  } catch (const SQLite::Exception& error) {
    const bool damage = meansDamage(error.getErrorCode());
    throw OpenError(damage ? OpenFailure::damaged : OpenFailure::unusable,
                    damage ? ErrorCode::badFile : ErrorCode::ioFailed,
                    fmt::format("{}: {}", file.string(), reason(error)));
  }
}

}  // namespace eyrie::sessions
