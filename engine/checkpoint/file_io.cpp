#include "engine/checkpoint/file_io.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "engine/error.h"

namespace eyrie::engine {
namespace {

std::string reason(int code) {
  return std::generic_category().message(code);
}

// An open descriptor, closed on every way out.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  int value_;
};

// Opens for reading and returns the size; a pipe without a writer must not block the caller.
std::size_t openedSize(const std::filesystem::path& path, int descriptor, int openError) {
  if (descriptor < 0) {
    const auto code = openError == ENOENT || openError == ENOTDIR ? ErrorCode::notFound : ErrorCode::ioFailed;
    throw Error(code, fmt::format("{}: cannot be opened: {}", path.string(), reason(openError)));
  }
  struct stat info {};
  if (::fstat(descriptor, &info) != 0)
    throw Error(ErrorCode::ioFailed, fmt::format("{}: {}", path.string(), reason(errno)));
  if (!S_ISREG(info.st_mode))
    throw Error(ErrorCode::ioFailed, fmt::format("{}: expected a regular file, found {}", path.string(),
                                                 S_ISDIR(info.st_mode) ? "a folder" : "a device or pipe"));
  if (info.st_size == 0) throw Error(ErrorCode::badFile, fmt::format("{}: the file is empty", path.string()));
  return static_cast<std::size_t>(info.st_size);
}

constexpr std::size_t kBufferBytes = 1U << 18;

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  const int openError = errno;
  const std::size_t size = openedSize(path, file.get(), openError);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
  if (data == MAP_FAILED)
    throw Error(ErrorCode::ioFailed,
                fmt::format("{}: cannot be mapped ({} bytes): {}", path.string(), size, reason(errno)));
  data_ = data;
  size_ = size;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

void MappedFile::dropPages(const void* data, std::uint64_t bytes) const {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto from = reinterpret_cast<std::uintptr_t>(data);
  const auto file = reinterpret_cast<std::uintptr_t>(data_);
  if (from < file || from + bytes > file + size_) return;
  const std::uintptr_t begin = (from + page - 1) / page * page;
  const std::uintptr_t end = (from + bytes) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

std::string readFile(const std::filesystem::path& path, std::uint64_t maxBytes) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  const int openError = errno;
  const std::size_t size = openedSize(path, file.get(), openError);
  if (size > maxBytes)
    throw Error(ErrorCode::badFile,
                fmt::format("{}: expected at most {} bytes, found {}", path.string(), maxBytes, size));
  std::string text(size, '\0');
  std::size_t filled = 0;
  while (filled < size) {
    const ssize_t got = ::read(file.get(), text.data() + filled, size - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(ErrorCode::ioFailed, fmt::format("{}: {}", path.string(), reason(errno)));
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  text.resize(filled);
  return text;
}

std::filesystem::path outputTarget(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  const auto refuse = [&](const std::string& expected, const std::string& found) {
    throw Error(ErrorCode::ioFailed,
                fmt::format("{}: expected {}, found {}", path.string(), expected, found));
  };
  std::error_code failed;
  fs::path target = path;
  if (fs::is_symlink(path, failed) && fs::exists(path, failed)) target = fs::canonical(path, failed);
  if (failed) target = path;
  if (!target.has_filename() || fs::is_directory(target, failed)) refuse("a file's name", "a folder");
  const fs::path folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
  if (!fs::is_directory(folder, failed))
    refuse(fmt::format("a folder {} for it", folder.string()),
           fs::exists(folder, failed) ? "a file" : "none");
  return target;
}

bool isDeviceOrPipe(const std::filesystem::path& path) {
  std::error_code failed;
  return std::filesystem::is_other(path, failed);
}

OutputFile::OutputFile(std::filesystem::path path) : path_(outputTarget(path)) {
  static std::atomic<unsigned> counter{0};
  if (isDeviceOrPipe(path_)) {
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  } else {
    // The name is cut so that a long but possible target does not make an impossible temporary one.
    temporary_ = path_.parent_path() / fmt::format(".{:.100}.{}-{}.part", path_.filename().string(),
                                                   ::getpid(), counter.fetch_add(1));
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  }
  if (descriptor_ < 0) fail("cannot be created");
}

OutputFile::~OutputFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  if (!isDirect()) ::unlink(temporary_.c_str());
}

void OutputFile::fail(const char* what) const {
  throw Error(ErrorCode::ioFailed, fmt::format("{}: {}: {}", path_.string(), what, reason(errno)));
}

void OutputFile::write(const void* data, std::size_t bytes) {
  written_ += bytes;
  const std::string_view part(static_cast<const char*>(data), bytes);
  if (buffer_.size() + bytes < kBufferBytes) {
    buffer_ += part;
    return;
  }
  put(buffer_);
  buffer_.clear();
  put(part);
}

void OutputFile::put(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(descriptor_, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail("cannot be written");
    bytes.remove_prefix(static_cast<std::size_t>(done));
    handedOver_ += static_cast<std::uint64_t>(done);
  }
  startWriteOut();
}

// The disk works while more is computed, and commit() waits for little. Only a hint: a failure is no error.
void OutputFile::startWriteOut() {
  constexpr std::uint64_t kStep = 8U << 20U;
  if (isDirect() || handedOver_ < startedOut_ + kStep) return;
  ::sync_file_range(descriptor_, static_cast<off_t>(startedOut_),
                    static_cast<off_t>(handedOver_ - startedOut_), SYNC_FILE_RANGE_WRITE);
  startedOut_ = handedOver_;
}

void OutputFile::commit() {
  put(buffer_);
  buffer_.clear();
  if (::fsync(descriptor_) != 0 && errno != EINVAL && errno != EROFS) fail("cannot be written");
  if (!isDirect() && ::rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot be put in place");
  ::close(std::exchange(descriptor_, -1));
}

void writeFile(const std::filesystem::path& path, std::string_view text) {
  OutputFile file(path);
  file.write(text.data(), text.size());
  file.commit();
}

}  // namespace eyrie::engine
