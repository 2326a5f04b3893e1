// A file that appears whole or not at all: written beside its target under another name, then renamed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace eyrie::sessions {

// One thread at a time. Throws Error(ioFailed): "FILE: could not be written: REASON".
class OutputFile {
 public:
  // Throws also where no file can be: a folder, a device, a missing folder. A symbolic link is followed.
  explicit OutputFile(const std::filesystem::path& target);
  ~OutputFile();  // discards what was not committed
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  const std::filesystem::path& target() const { return target_; }
  void append(std::string_view bytes);  // buffered
  void writeAt(std::int64_t offset, const void* data, std::size_t bytes);
  void readAt(std::int64_t offset, void* data, std::size_t bytes);
  void resize(std::int64_t bytes);
  void commit();            // to the disk, then to its name; replaces what stood there
  void discard() noexcept;  // leaves nothing

 private:
  void flush();
  [[noreturn]] void fail(const char* doing, int error) const;

  std::filesystem::path target_;
  std::filesystem::path partial_;
  int descriptor_ = -1;
  std::string buffer_;
  std::int64_t end_ = 0;  // where append() goes on
};

}  // namespace eyrie::sessions
