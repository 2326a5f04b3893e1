#include "sessions/export/output_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <system_error>

#include "engine/checkpoint/file_io.h"
#include "engine/error.h"

namespace eyrie::sessions {
namespace {

constexpr std::size_t kBufferBytes = 1 << 18;

}  // namespace

OutputFile::OutputFile(const std::filesystem::path& target) : target_(engine::outputTarget(target)) {
  static std::atomic<unsigned> serial{0};
  if (engine::isDeviceOrPipe(target_)) {
    throw engine::Error(engine::ErrorCode::ioFailed,
                        fmt::format("{}: expected a file, found a device or pipe", target_.string()));
  }
  // The name is cut so that a long but possible target does not make an impossible partial one.
  partial_ = target_.parent_path() / fmt::format(".{:.100}.{}-{}.partial", target_.filename().string(),
                                                 ::getpid(), serial.fetch_add(1));
  descriptor_ = ::open(partial_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail("written", errno);
}

OutputFile::~OutputFile() {
  discard();
}

void OutputFile::fail(const char* doing, int error) const {
  throw engine::Error(engine::ErrorCode::ioFailed,
                      fmt::format("{}: could not be {}: {}", target_.string(), doing,
                                  std::generic_category().message(error)));
}

void OutputFile::append(std::string_view bytes) {
  buffer_ += bytes;
  if (buffer_.size() >= kBufferBytes) flush();
}

void OutputFile::flush() {
  if (buffer_.empty()) return;
  writeAt(end_, buffer_.data(), buffer_.size());
  end_ += std::int64_t(buffer_.size());
  buffer_.clear();
}

void OutputFile::writeAt(std::int64_t offset, const void* data, std::size_t bytes) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t done = ::pwrite(descriptor_, at, bytes, offset);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) fail("written", done < 0 ? errno : ENOSPC);
    at += done;
    offset += done;
    bytes -= std::size_t(done);
  }
}

void OutputFile::readAt(std::int64_t offset, void* data, std::size_t bytes) {
  char* at = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t done = ::pread(descriptor_, at, bytes, offset);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) fail("read back", done < 0 ? errno : EIO);
    at += done;
    offset += done;
    bytes -= std::size_t(done);
  }
}

void OutputFile::resize(std::int64_t bytes) {
  if (::ftruncate(descriptor_, bytes) != 0) fail("written", errno);
}

void OutputFile::commit() {
  flush();
  // Some file systems report a full disk only here.
  if (::fsync(descriptor_) != 0 && errno != EINVAL && errno != EROFS) fail("written", errno);
  const int closed = ::close(descriptor_);
  descriptor_ = -1;
  std::error_code failed;
  if (closed == 0) std::filesystem::rename(partial_, target_, failed);
  if (closed != 0 || failed) {
    const int error = closed != 0 ? errno : failed.value();
    std::filesystem::remove(partial_, failed);
    partial_.clear();
    fail("written", error);
  }
  partial_.clear();
}

void OutputFile::discard() noexcept {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
  if (!partial_.empty()) ::unlink(partial_.c_str());
  partial_.clear();
}

}  // namespace eyrie::sessions
