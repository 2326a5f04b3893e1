#include "engine/checkpoint/fingerprint.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace eyrie::engine {
namespace {

constexpr std::size_t kSampleBytes = 4096;
constexpr std::size_t kSamples = 8;

// The bytes as they would lie in Hugging Face's layout; `copy` holds them where they lie otherwise.
const std::byte* bytesOf(const StoredTensor& tensor, std::uint64_t begin, std::size_t bytes,
                         std::vector<std::byte>& copy) {
  if (!tensor.transposed) return static_cast<const std::byte*>(tensor.data) + begin;
  const std::size_t element = kernels::dtypeSize(tensor.dtype);
  const std::uint64_t first = begin / element;
  const std::uint64_t count = (begin + bytes + element - 1) / element - first;
  copy.resize(count * element);
  copyElements(tensor, first, count, copy.data());
  return copy.data() + begin % element;
}

// Small tensors whole, large ones by eight samples spread over them.
void addSampledBytes(Digest& digest, const StoredTensor& tensor) {
  std::vector<std::byte> copy;
  if (tensor.bytes <= kSampleBytes * kSamples) {
    digest.add(bytesOf(tensor, 0, tensor.bytes, copy), tensor.bytes);
    return;
  }
  const std::uint64_t last = tensor.bytes - kSampleBytes;
  for (std::size_t i = 0; i < kSamples; ++i)
    digest.add(bytesOf(tensor, last / (kSamples - 1) * i, kSampleBytes, copy), kSampleBytes);
}

}  // namespace

void Digest::mix(std::uint64_t word) {
  a_ = std::rotl(a_ ^ (word * 0x87c37b91114253d5U), 31) * 0x4cf5ad432745937fU + 0x52dce729U;
  b_ = (std::rotl(b_ + word, 27) ^ a_) * 0x9fb21c651e98df25U;
}

void Digest::add(const void* data, std::size_t bytes) {
  mix(bytes);
  const auto* from = static_cast<const std::byte*>(data);
  while (bytes > 0) {
    std::uint64_t word = 0;
    const std::size_t part = std::min(bytes, sizeof word);
    std::memcpy(&word, from, part);
    mix(word);
    from += part;
    bytes -= part;
  }
}

std::string Digest::hex() const {
  const auto finish = [](std::uint64_t x) {
    x = (x ^ (x >> 32U)) * 0xd6e8feb86659fd93U;
    x = (x ^ (x >> 32U)) * 0xd6e8feb86659fd93U;
    return x ^ (x >> 32U);
  };
  return fmt::format("{:016x}{:016x}", finish(a_ ^ std::rotl(b_, 17)), finish(b_));
}

std::string fingerprintOf(const ModelConfig& config, const std::vector<StoredTensor>& tensors) {
  Digest digest;
  digest.add(std::string_view("eyrie model 1"));
  digest.add(writeConfig(config, ""));
  digest.add(config.gateBlocks);
  for (const StoredTensor& tensor : tensors) {
    digest.add(tensor.name);
    digest.add(std::string_view(kernels::dtypeName(tensor.dtype)));
    for (const std::int64_t dim : tensor.shape) digest.add(dim);
    addSampledBytes(digest, tensor);
  }
  return digest.hex();
}

}  // namespace eyrie::engine
