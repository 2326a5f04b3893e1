// Files as the engine uses them: mapped read-only, read whole up to a limit, or written beside and renamed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace eyrie::engine {

// A regular, non-empty file mapped read-only. Movable. The bytes stay where they are until destruction.
class MappedFile {
 public:
  MappedFile() = default;
  // Throws Error: notFound, ioFailed (unreadable, a folder, a pipe), badFile (empty).
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }
  // The whole pages of [data, data + bytes), where that lies in this file, leave the process's memory until
  // they are read again.
  void dropPages(const void* data, std::uint64_t bytes) const;

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

// The whole file. Throws like MappedFile, and Error(badFile) when it is larger than maxBytes.
std::string readFile(const std::filesystem::path& path, std::uint64_t maxBytes);

// Where writing to `path` ends up: the file a symbolic link leads to, else the path itself. Throws
// Error(ioFailed) where there can be no file: a folder stands there, or the folder to hold it is missing.
std::filesystem::path outputTarget(const std::filesystem::path& path);
// A device or pipe: it is written as it is and never replaced by a file.
bool isDeviceOrPipe(const std::filesystem::path& path);

// Writes a temporary file beside the outputTarget of `path`; commit() syncs it and renames it into place, so
// readers see the old file or the new one, never half of it. Destroyed without commit: nothing is left. A
// device or pipe is written directly. Throws Error(ioFailed).
class OutputFile {
 public:
  explicit OutputFile(std::filesystem::path path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(const void* data, std::size_t bytes);
  std::uint64_t written() const { return written_; }
  void commit();

 private:
  bool isDirect() const { return temporary_.empty(); }
  void put(std::string_view bytes);
  void startWriteOut();
  [[noreturn]] void fail(const char* what) const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;  // empty: written directly
  std::string buffer_;
  std::uint64_t written_ = 0;
  std::uint64_t handedOver_ = 0;  // to the system
  std::uint64_t startedOut_ = 0;  // of these, asked to go to the disk
  int descriptor_ = -1;
};

// Writes `text` as the whole of `path`, by OutputFile.
void writeFile(const std::filesystem::path& path, std::string_view text);

}  // namespace eyrie::engine
