#include "app/cli/part_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "engine/checkpoint/file_io.h"
#include "engine/error.h"

namespace eyrie::app {

using engine::Error;
using engine::ErrorCode;

namespace {

constexpr std::size_t kBufferBytes = 1U << 18U;

}  // namespace

PartFile::PartFile(const std::filesystem::path& file, std::uint64_t keep)
    : target_(engine::outputTarget(file)), part_(target_.string() + ".part"), size_(keep) {
  if (engine::isDeviceOrPipe(target_)) {
    throw Error(
        ErrorCode::ioFailed,
        fmt::format("{}: expected a file that can be continued, found a device or pipe", target_.string()));
  }
  descriptor_ = ::open(part_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (descriptor_ < 0) fail("cannot be created");
  struct stat info {};
  if (::fstat(descriptor_, &info) != 0) fail("cannot be read");
  const auto found = static_cast<std::uint64_t>(info.st_size);
  if (found < keep) {
    ::close(std::exchange(descriptor_, -1));
    throw Error(ErrorCode::badFile,
                fmt::format("{}: expected at least the {} bytes of the checkpoint, found {}", part_.string(),
                            keep, found));
  }
  const auto end = static_cast<off_t>(keep);
  if (::ftruncate(descriptor_, end) != 0 || ::lseek(descriptor_, end, SEEK_SET) != end) fail("cannot be cut");
}

PartFile::~PartFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void PartFile::fail(const char* what) const {
  throw Error(ErrorCode::ioFailed,
              fmt::format("{}: {}: {}", part_.string(), what, std::generic_category().message(errno)));
}

void PartFile::write(std::string_view bytes) {
  buffer_ += bytes;
  size_ += bytes.size();
  if (buffer_.size() >= kBufferBytes) flush();
}

void PartFile::flush() {
  std::string_view left = buffer_;
  while (!left.empty()) {
    const ssize_t done = ::write(descriptor_, left.data(), left.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail("cannot be written");
    left.remove_prefix(static_cast<std::size_t>(done));
  }
  buffer_.clear();
}

void PartFile::sync() {
  flush();
  if (::fsync(descriptor_) != 0) fail("cannot be written");
}

void PartFile::commit() {
  sync();
  if (::rename(part_.c_str(), target_.c_str()) != 0) fail("cannot be put in place");
  ::close(std::exchange(descriptor_, -1));
}

}  // namespace eyrie::app
