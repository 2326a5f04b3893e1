// The one place where connections to the database are opened, and where SQLite's errors become the engine's.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "engine/error.h"

namespace eyrie::sessions {

// Why a database cannot be opened; openOrRecover decides by it.
enum class OpenFailure { damaged, newer, unusable };

class OpenError : public engine::Error {
 public:
  OpenError(OpenFailure failure, engine::ErrorCode code, const std::string& message)
      : Error(code, message), failure_(failure) {}
  OpenFailure failure() const { return failure_; }

 private:
  OpenFailure failure_;
};

// Opened, checked (magic, version, structure) and migrated. Throws OpenError.
std::unique_ptr<SQLite::Database> openConnection(const std::filesystem::path& file);

// A database already filled in memory, configured and migrated; `file` is where its content came from.
std::unique_ptr<SQLite::Database> adoptMemory(std::unique_ptr<SQLite::Database> db,
                                              const std::filesystem::path& file);

bool isMemory(const std::filesystem::path& file);

// Rethrows what SQLite said as Error(ioFailed or badFile) naming the file.
[[noreturn]] void rethrow(const std::filesystem::path& file, const SQLite::Exception& error);

// What SQLite's own checks found, fit for a sentence.
std::string oneLine(std::string found);

template <class... Args>
SQLite::Statement prepare(SQLite::Database& db, const std::string& sql, const Args&... args) {
  SQLite::Statement statement(db, sql);
  int at = 0;
  (void)at;
  (statement.bind(++at, args), ...);
  return statement;
}

template <class... Args>
int execute(SQLite::Database& db, const std::string& sql, const Args&... args) {
  return prepare(db, sql, args...).exec();
}

}  // namespace eyrie::sessions
