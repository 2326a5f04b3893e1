// Tells a message that is being written from one whose writer died. Every store that writes takes a number
// from the database and locks that byte of a side file; the kernel drops the lock with the process.
#pragma once

#include <cstdint>
#include <filesystem>

namespace eyrie::sessions {

class WriterLock {
 public:
  explicit WriterLock(const std::filesystem::path& database);  // opens nothing yet
  ~WriterLock();
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;

  // False when another store holds that number, or locks do not work here.
  bool take(std::int64_t number);
  // Whether a living store holds the number. True when it cannot be known: nothing is then taken for dead.
  bool held(std::int64_t number);

 private:
  bool open();

  std::filesystem::path file_;
  int descriptor_ = -1;
};

}  // namespace eyrie::sessions
