#include "sessions/store/migrations.h"

#include <fmt/format.h>

#include "sessions/embedded.h"
#include "sessions/store/connection.h"

namespace eyrie::sessions {

const std::vector<std::string_view>& migrationSteps() {
  static const std::vector<std::string_view> steps = {embedded::initialSql()};
  return steps;
}

std::int64_t latestVersion() {
  return std::int64_t(migrationSteps().size());
}

void migrate(SQLite::Database& db, const std::filesystem::path& file) {
  migrate(db, file, migrationSteps());
}

void migrate(SQLite::Database& db, const std::filesystem::path& file,
             const std::vector<std::string_view>& steps) {
  const auto version = [&db] { return db.execAndGet("PRAGMA user_version").getInt64(); };
  while (version() < std::int64_t(steps.size())) {
    SQLite::Transaction transaction(db, SQLite::TransactionBehavior::IMMEDIATE);
    // Another process may have been faster while this one waited for the lock.
    const std::int64_t from = version();
    if (from >= std::int64_t(steps.size())) break;
    if (from < 0) {
      throw OpenError(OpenFailure::damaged, engine::ErrorCode::badFile,
                      fmt::format("{}: expected a version from 0 on, found {}", file.string(), from));
    }
    db.exec(std::string(steps[std::size_t(from)]));
    db.exec(fmt::format("PRAGMA user_version = {}", from + 1));
    db.exec(fmt::format("PRAGMA application_id = {}", kApplicationId));
    transaction.commit();
  }
}

}  // namespace eyrie::sessions
