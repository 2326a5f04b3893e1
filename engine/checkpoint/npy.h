// NumPy's .npy, version 1.0: one array, written row by row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "engine/checkpoint/file_io.h"

namespace eyrie::engine {

// Header of an array in C order, padded to 64 bytes. descr: "<f4", "<f2", "<i4" ...
std::string npyHeader(std::string_view descr, const std::vector<std::int64_t>& shape);

// finish() checks that the shape was filled and renames the file into place. Throws Error(ioFailed) and
// Error(badArgument).
class NpyWriter {
 public:
  NpyWriter(const std::filesystem::path& path, std::string_view descr,
            const std::vector<std::int64_t>& shape);
  void write(const void* data, std::size_t bytes);
  void finish();

 private:
  OutputFile file_;
  std::uint64_t expected_ = 0;
};

}  // namespace eyrie::engine
