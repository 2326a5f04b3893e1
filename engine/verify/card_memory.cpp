#include "engine/verify/card_memory.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/rg_lru.h"
#include "kernels/thread_pool.h"

namespace eyrie::engine::verify {
namespace {

namespace cuda = kernels::cuda;
using kernels::DType;

constexpr std::int64_t kDrawn = 65536;

std::size_t sized(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

// `tile` again and again, `n` elements in all.
template <class T>
std::vector<T> repeated(const std::vector<T>& tile, std::size_t n) {
  std::vector<T> all(n);
  for (std::size_t at = 0; at < n; at += tile.size())
    std::copy_n(tile.begin(), std::min(tile.size(), n - at), all.begin() + static_cast<std::ptrdiff_t>(at));
  return all;
}

}  // namespace

std::byte* CardMemory::upload(const void* from, std::size_t bytes) {
  onCard_.emplace_back(bytes);
  std::byte* const to = onCard_.back().data();
  if (bytes > 0) cuda::copyToDevice(to, from, bytes, stream_);
  stream_.wait();
  return to;
}

Twin<float> CardMemory::normals(std::int64_t n, float scale) {
  return put(repeated(random_.normals(std::min(n, kDrawn), scale), sized(n)));
}

Twin<float> CardMemory::decayRates(std::int64_t n) {
  Values rates(sized(n));
  for (float& rate : rates) rate = kernels::decayRateOf(-4 + 2 * random_.normal());
  return put(std::move(rates));
}

Twin<float> CardMemory::room(std::int64_t n) {
  return put(Values(sized(n), std::numeric_limits<float>::quiet_NaN()));
}

MatrixTwin CardMemory::matrix(std::int64_t rows, std::int64_t cols, DType dtype) {
  const float scale = 1.0F / std::sqrt(static_cast<float>(cols));
  const Values drawn = random_.normals(std::min(rows * cols, kDrawn), scale);
  const auto bytes = put(repeated(stored(drawn, dtype), sized(rows * cols) * kernels::dtypeSize(dtype)));
  return {{bytes.host, dtype, rows, cols}, {bytes.card, dtype, rows, cols}};
}

PackedTwin CardMemory::packed(std::int64_t rows, std::int64_t cols, DType dtype) {
  const MatrixTwin plain = matrix(rows, cols, DType::f32);
  std::vector<std::byte> packed(sized(kernels::packedBytes(dtype, rows, cols)));
  kernels::ThreadPool pool(0);
  kernels::cpu::pack(plain.host, dtype, packed.data(), pool);
  const auto host = std::make_shared<std::vector<std::byte>>(std::move(packed));
  kept_.push_back(host);
  const kernels::MatrixView view{host->data(), dtype, rows, cols};
  std::vector<std::byte> codes(sized(rows * cuda::packedRowBytes(dtype, cols)));
  std::vector<std::uint16_t> scales(sized(rows * cuda::packedRowGroups(dtype, cols)));
  cuda::toRows(view, codes.data(), scales.data(), pool);
  return {view, {put(std::move(codes)).card, put(std::move(scales)).card, dtype, rows, cols}};
}

std::byte* CardMemory::bytes(std::int64_t n) {
  onCard_.emplace_back(sized(n));
  return onCard_.back().data();
}

cuda::Blas* CardMemory::blas() {
  if (!blasAsked_) {
    blasAsked_ = true;
    try {
      blas_ = std::make_unique<cuda::Blas>(bytes(cuda::Blas::kWorkspaceBytes));
    } catch (const cuda::CudaError&) {
      blas_ = nullptr;  // the ops' own kernels then
    }
  }
  return blas_.get();
}

Values readCard(const float* from, std::int64_t n) {
  Values values(sized(n));
  const cuda::OwnedStream stream;
  if (n > 0) cuda::copyToHost(values.data(), from, values.size() * sizeof(float), stream);
  stream.wait();
  return values;
}

}  // namespace eyrie::engine::verify
