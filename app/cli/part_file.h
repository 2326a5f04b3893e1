// A long result that grows beside its place and survives the program: FILE.part until it is whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace eyrie::app {

// Unlike engine::OutputFile it is kept when the program ends early, and continued. Throws engine::Error:
// ioFailed; badFile where the part is shorter than what is to be kept.
class PartFile {
 public:
  // Goes on after the first `keep` bytes of the part; what lies behind them is dropped.
  PartFile(const std::filesystem::path& file, std::uint64_t keep);
  ~PartFile();
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  void write(std::string_view bytes);
  std::uint64_t size() const { return size_; }  // with what is not yet on disk
  void sync();                                  // all that was written is on disk afterwards
  void commit();                                // and in place

 private:
  void flush();
  [[noreturn]] void fail(const char* what) const;

  std::filesystem::path target_;
  std::filesystem::path part_;
  std::string buffer_;
  std::uint64_t size_ = 0;
  int descriptor_ = -1;
};

}  // namespace eyrie::app
