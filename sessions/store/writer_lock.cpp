#include "sessions/store/writer_lock.h"

#include <fcntl.h>
#include <unistd.h>

namespace eyrie::sessions {
namespace {

// Locks of an open file description: two stores of one process see each other, unlike with plain fcntl locks.
struct flock byteLock(std::int64_t number) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = number;
  lock.l_len = 1;
  return lock;
}

}  // namespace

WriterLock::WriterLock(const std::filesystem::path& database) : file_(database) {
  file_ += ".writers";
}

WriterLock::~WriterLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool WriterLock::open() {
  if (descriptor_ < 0) descriptor_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  return descriptor_ >= 0;
}

bool WriterLock::take(std::int64_t number) {
  struct flock lock = byteLock(number);
  return open() && ::fcntl(descriptor_, F_OFD_SETLK, &lock) == 0;
}

bool WriterLock::held(std::int64_t number) {
  struct flock lock = byteLock(number);
  if (!open() || ::fcntl(descriptor_, F_OFD_GETLK, &lock) != 0) return true;
  return lock.l_type != F_UNLCK;
}

}  // namespace eyrie::sessions
