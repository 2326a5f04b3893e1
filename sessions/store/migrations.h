// The schema as numbered SQL files; PRAGMA user_version says which of them a database has seen.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

namespace eyrie::sessions {

inline constexpr std::int64_t kApplicationId = 0x45595249;  // "EYRI"

// Entry n leads from version n to n + 1.
const std::vector<std::string_view>& migrationSteps();
std::int64_t latestVersion();

// Runs the missing steps, each in a transaction of its own, safely against other processes doing the same.
void migrate(SQLite::Database& db, const std::filesystem::path& file);
// The same with other steps; for tests of the mechanism.
void migrate(SQLite::Database& db, const std::filesystem::path& file,
             const std::vector<std::string_view>& steps);

}  // namespace eyrie::sessions
