// The safetensors format: 8 bytes header length (little endian), a JSON header, the tensors' bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/checkpoint/file_io.h"
#include "kernels/dtype.h"

namespace eyrie::engine {

struct SafetensorsTensor {
  std::string name;
  std::string dtype;                // as in the file: "F32", "BF16", "I32" ...
  std::vector<std::int64_t> shape;  // row-major; empty for a scalar
  std::uint64_t begin = 0;          // first byte, counted from the start of the file (parse only)
  std::uint64_t bytes = 0;
  const void* data = nullptr;  // into the span that was parsed where it holds the bytes; the source for write
};

struct SafetensorsFile {
  std::vector<SafetensorsTensor> tensors;  // in order of their bytes
  std::map<std::string, std::string> metadata;
};

// Bytes of one element, or 0 for a name that is not a dtype.
std::size_t safetensorsElementSize(std::string_view dtype);
// The dtypes weights are computed from; nothing for the others.
std::optional<kernels::DType> kernelDType(std::string_view dtype);

// Parses `bytes`, at least the header region of a file of `fileSize` bytes named `file` in errors. Checks
// that offsets, shapes and dtypes agree, that nothing overflows, and that the tensors cover the buffer
// exactly. Throws Error(badFile) naming the tensor, what was expected and what was found.
SafetensorsFile parseSafetensors(std::span<const std::byte> bytes, std::uint64_t fileSize,
                                 const std::string& file);

// Streams a file whose header is known beforehand: every tensor's bytes in the order given. Renamed into
// place by finish(). Throws Error(ioFailed); Error(badArgument) where sizes do not agree.
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::filesystem::path& path, const std::vector<SafetensorsTensor>& tensors,
                    const std::map<std::string, std::string>& metadata = {});
  void write(const void* data, std::size_t bytes);
  void finish();

 private:
  OutputFile file_;
  std::uint64_t expected_ = 0;  // whole size
};

// All at once, from the tensors' `data`.
void writeSafetensors(const std::filesystem::path& path, const std::vector<SafetensorsTensor>& tensors,
                      const std::map<std::string, std::string>& metadata = {});

}  // namespace eyrie::engine
