// Quantised matrices of a model on disk, so that they are made once: one file a model and type in the user's
// cache folder. What does not fit, is damaged or belongs to other weights is made anew, never an error.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <stop_token>
#include <string>

#include "engine/checkpoint/checkpoint.h"
#include "kernels/dtype.h"
#include "kernels/thread_pool.h"

namespace eyrie::engine {

// The file: a header (magic, version, key, length, a checksum per 64 MiB, its own checksum) padded to 4096
// bytes, then the matrices as they lie in memory. The key is the model's fingerprint, which samples the
// weights, with size and time of its files, which notice an edit anywhere.
class WeightCache {
 public:
  WeightCache(std::filesystem::path folder, const Checkpoint& checkpoint, kernels::DType dtype);

  // Fills `out`; false (and `out` undefined) where no whole and undamaged file of this key and length is
  // there. Throws Error(cancelled).
  bool read(std::span<std::byte> out, kernels::ThreadPool& pool, const std::stop_token& stop) const;
  // Does nothing where the disk has no room to spare or the folder cannot be written to. Throws
  // Error(cancelled), leaving nothing.
  void write(std::span<const std::byte> data, kernels::ThreadPool& pool, const std::stop_token& stop) const;

  const std::filesystem::path& file() const { return file_; }

 private:
  std::string header(std::span<const std::uint64_t> checksums, std::size_t bytes) const;

  std::filesystem::path file_;
  std::string key_;
};

}  // namespace eyrie::engine
