#include "engine/weight_cache.h"

#define XXH_INLINE_ALL
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <vector>

#include "engine/error.h"
#include "kernels/packed_matrix.h"

namespace eyrie::engine {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "EYRIEWT1";
constexpr std::size_t kChunk = std::size_t{64} << 20;
constexpr std::size_t kPiece = std::size_t{1} << 20;  // read and summed while it is in the cache
constexpr std::size_t kHeaderUnit = 4096;

class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags) : value_(open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  ~Descriptor() {
    if (value_ >= 0) close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  explicit operator bool() const { return value_ >= 0; }
  int get() const { return value_; }

 private:
  int value_;
};

bool readAt(int descriptor, std::byte* to, std::size_t bytes, std::size_t offset) {
  while (bytes > 0) {
    const ssize_t got = pread(descriptor, to, bytes, static_cast<off_t>(offset));
    if (got <= 0) return false;
    to += got;
    offset += static_cast<std::size_t>(got);
    bytes -= static_cast<std::size_t>(got);
  }
  return true;
}

bool writeAll(int descriptor, const void* from, std::size_t bytes) {
  const auto* at = static_cast<const std::byte*>(from);
  while (bytes > 0) {
    const ssize_t put = ::write(descriptor, at, std::min(bytes, kChunk));
    if (put <= 0) return false;
    at += put;
    bytes -= static_cast<std::size_t>(put);
  }
  return true;
}

std::size_t chunksOf(std::size_t bytes) {
  return (bytes + kChunk - 1) / kChunk;
}

template <class Work>
void forEachChunk(std::size_t bytes, kernels::ThreadPool& pool, const Work& work) {
  pool.parallelFor(
      static_cast<std::int64_t>(chunksOf(bytes)), 1, [&](std::int64_t begin, std::int64_t end, int) {
        for (auto chunk = static_cast<std::size_t>(begin); chunk < static_cast<std::size_t>(end); ++chunk) {
          work(chunk, chunk * kChunk, std::min(kChunk, bytes - chunk * kChunk));
        }
      });
}

void throwIfStopped(const std::stop_token& stop) {
  if (stop.stop_requested()) throw Error(ErrorCode::cancelled, "loading was cancelled");
}

template <class Value>
void append(std::string& text, Value value) {
  text.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// Sizes and times of the files the tensors come from.
std::string filesOf(const Checkpoint& checkpoint) {
  std::set<std::string> names;
  for (const StoredTensor& tensor : checkpoint.tensors()) names.insert(tensor.file);
  std::string text;
  for (const std::string& name : names) {
    std::error_code ignored;
    const fs::path file = checkpoint.folder() / name;
    text += fmt::format("{}:{}:{};", name, fs::file_size(file, ignored),
                        fs::last_write_time(file, ignored).time_since_epoch().count());
  }
  return text;
}

}  // namespace

WeightCache::WeightCache(fs::path folder, const Checkpoint& checkpoint, kernels::DType dtype)
    : file_(std::move(folder) / fmt::format("{}.{}", checkpoint.fingerprint(), kernels::dtypeName(dtype))),
      key_(fmt::format("{}|{}|{}|{}", checkpoint.fingerprint(), kernels::dtypeName(dtype),
                       kernels::kPackedVersion, filesOf(checkpoint))) {}

std::string WeightCache::header(std::span<const std::uint64_t> checksums, std::size_t bytes) const {
  std::string text(kMagic);
  append(text, XXH3_64bits(key_.data(), key_.size()));
  append(text, static_cast<std::uint64_t>(bytes));
  for (const std::uint64_t checksum : checksums) append(text, checksum);
  text.resize(kernels::roundUp(static_cast<std::int64_t>(text.size() + sizeof(std::uint64_t)), kHeaderUnit) -
              sizeof(std::uint64_t));
  append(text, XXH3_64bits(text.data(), text.size()));
  return text;
}

bool WeightCache::read(std::span<std::byte> out, kernels::ThreadPool& pool,
                       const std::stop_token& stop) const {
  const Descriptor file(file_, O_RDONLY);
  if (!file) return false;
  std::vector<std::uint64_t> checksums(chunksOf(out.size()));
  std::string stored(header(checksums, out.size()).size(), '\0');
  if (!readAt(file.get(), reinterpret_cast<std::byte*>(stored.data()), stored.size(), 0)) return false;
  std::memcpy(checksums.data(), stored.data() + kMagic.size() + 2 * sizeof(std::uint64_t),
              checksums.size() * sizeof(std::uint64_t));
  if (stored != header(checksums, out.size())) return false;
  std::atomic<bool> good{true};
  forEachChunk(out.size(), pool, [&](std::size_t chunk, std::size_t offset, std::size_t bytes) {
    XXH3_state_t sum;
    XXH3_64bits_reset(&sum);
    for (std::size_t at = 0; at < bytes && good && !stop.stop_requested(); at += kPiece) {
      const std::size_t here = std::min(kPiece, bytes - at);
      std::byte* to = out.data() + offset + at;
      if (!readAt(file.get(), to, here, stored.size() + offset + at)) good = false;
      XXH3_64bits_update(&sum, to, here);
    }
    if (XXH3_64bits_digest(&sum) != checksums[chunk]) good = false;
  });
  throwIfStopped(stop);
  return good;
}

void WeightCache::write(std::span<const std::byte> data, kernels::ThreadPool& pool,
                        const std::stop_token& stop) const {
  std::error_code failed;
  fs::create_directories(file_.parent_path(), failed);
  const fs::space_info space = fs::space(file_.parent_path(), failed);
  if (failed || space.available < 2 * data.size()) return;
  std::vector<std::uint64_t> checksums(chunksOf(data.size()));
  forEachChunk(data.size(), pool, [&](std::size_t chunk, std::size_t offset, std::size_t bytes) {
    checksums[chunk] = XXH3_64bits(data.data() + offset, bytes);
  });
  const std::string head = header(checksums, data.size());
  const fs::path temporary = file_.string() + fmt::format(".{}.tmp", getpid());
  bool written = false;
  {
    const Descriptor file(temporary, O_WRONLY | O_CREAT | O_TRUNC);
    written = file && writeAll(file.get(), head.data(), head.size());
    for (std::size_t at = 0; written && at < data.size() && !stop.stop_requested(); at += kChunk) {
      written = writeAll(file.get(), data.data() + at, std::min(kChunk, data.size() - at));
    }
  }
  if (written && !stop.stop_requested()) fs::rename(temporary, file_, failed);
  if (!written || failed || stop.stop_requested()) fs::remove(temporary, failed);
  throwIfStopped(stop);
}

}  // namespace eyrie::engine
