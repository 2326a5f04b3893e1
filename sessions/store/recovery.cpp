// Opening whatever happened to the file before: damaged, newer, read-only, no space.
#include <SQLiteCpp/Backup.h>
#include <fmt/format.h>

#include <cstdlib>
#include <system_error>

#include "sessions/store/connection.h"
#include "sessions/store/sqlite_store.h"

namespace eyrie::sessions {
namespace {

namespace fs = std::filesystem;

// A copy of a store that can be read but not written may be this large in memory.
constexpr std::uintmax_t kCopyBytes = 512ULL << 20;

fs::path freeName(const fs::path& file) {
  for (int n = 1;; ++n) {
    fs::path name = file;
    name += fmt::format(".damaged-{}", n);
    std::error_code failed;
    if (!fs::exists(fs::symlink_status(name, failed))) return name;
  }
}

// The database and what SQLite keeps beside it. False: it stays where it is.
bool moveAside(const fs::path& file, const fs::path& aside) {
  std::error_code failed;
  fs::rename(file, aside, failed);
  if (failed) return false;
  for (const char* ending : {"-wal", "-shm"}) {
    fs::path from = file;
    fs::path to = aside;
    std::error_code none;
    fs::rename(from += ending, to += ending, none);
  }
  return true;
}

std::string uriOf(const fs::path& file) {
  std::string uri = "file:";
  for (const char c : fs::absolute(file).string()) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/';
    uri += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return uri;
}

// What a read-only store holds is still worth seeing: copied to memory where that is possible.
std::unique_ptr<SessionStore> copyToMemory(const fs::path& file) {
  std::error_code failed;
  if (fs::file_size(file, failed) > kCopyBytes || failed) return nullptr;
  // The second: a read-only folder has no place for the files that WAL wants beside the database. It shows
  // the sessions as they were when the write-ahead log was last emptied.
  for (const char* mode : {"?mode=ro", "?immutable=1"}) {
    try {
      auto memory =
          std::make_unique<SQLite::Database>(":memory:", SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
      {
        SQLite::Database source(uriOf(file) + mode, SQLite::OPEN_READONLY | SQLite::OPEN_URI);
        SQLite::Backup copy(*memory, source);
        copy.executeStep();
      }
      return std::make_unique<SqliteStore>(file, adoptMemory(std::move(memory), file), true);
    } catch (const std::exception&) {
      continue;
    }
  }
  return nullptr;
}

OpenedStore inMemory(const fs::path& file, const std::string& why, bool copy) {
  OpenedStore opened;
  if (copy) opened.store = copyToMemory(file);
  opened.notice = fmt::format(
      "{}. {} Until Eyrie is closed everything is kept in memory only.", why,
      opened.store ? "The sessions stored there are shown, changes are not saved." : "Nothing can be saved.");
  if (!opened.store) opened.store = SessionStore::open(":memory:");
  return opened;
}

}  // namespace

fs::path defaultStorePath() {
  const auto variable = [](const char* name) -> fs::path {
    const char* value = std::getenv(name);
    return value != nullptr ? value : "";
  };
  // The XDG rule: a relative path is as good as none.
  fs::path data = variable("XDG_DATA_HOME");
  if (!data.is_absolute()) {
    const fs::path home = variable("HOME");
    data = home.is_absolute() ? home / ".local" / "share" : fs::temp_directory_path();
  }
  return data / "eyrie" / "sessions.db";
}

OpenedStore openOrRecover(const fs::path& file) {
  try {
    return {SessionStore::open(file), ""};
  } catch (const OpenError& error) {
    if (error.failure() == OpenFailure::newer) return inMemory(file, error.what(), false);
    if (error.failure() == OpenFailure::unusable) return inMemory(file, error.what(), true);
    const fs::path aside = freeName(file);
    if (!moveAside(file, aside)) return inMemory(file, error.what(), false);
    try {
      return {SessionStore::open(file), fmt::format("{}. The file was kept as {}, and a new store was begun.",
                                                    error.what(), aside.filename().string())};
    } catch (const engine::Error& second) {
      return inMemory(file, second.what(), false);
    }
  } catch (const engine::Error& error) {
    return inMemory(file, error.what(), true);
  }
}

}  // namespace eyrie::sessions
