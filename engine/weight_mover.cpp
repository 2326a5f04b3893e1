#include "engine/weight_mover.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <string>

#include "kernels/packed_matrix.h"

namespace eyrie::engine {
namespace {

constexpr std::int64_t kAlignment = 4096;
constexpr std::uint64_t kSlice = std::uint64_t{32} << 20U;

std::int64_t spaceFor(const std::vector<kernels::MatrixView*>& matrices) {
  std::int64_t bytes = 0;
  for (const auto* matrix : matrices) bytes += kernels::roundUp(kernels::matrixBytes(*matrix), kAlignment);
  return bytes;
}

// What could be allocated without swapping; 0 where the system does not say.
std::uint64_t availableMemory() {
  std::ifstream file("/proc/meminfo");
  std::string line;
  while (std::getline(file, line)) {
    constexpr std::string_view kKey = "MemAvailable:";
    if (line.starts_with(kKey)) return std::strtoull(line.c_str() + kKey.size(), nullptr, 10) * 1024;
  }
  return 0;
}

}  // namespace

WeightMover::WeightMover(std::shared_ptr<const Weights> weights, std::uint64_t worthwhile)
    : weights_(std::move(weights)), unmoved_(weights_->layers.size() + 1) {
  Weights views = *weights_;
  const auto bytes = static_cast<std::uint64_t>(spaceFor(convertibleMatrices(views)));
  if (weights_->pages || bytes < worthwhile || availableMemory() < bytes + bytes / 4) return;
  thread_ = std::jthread([this](const std::stop_token& stop) {
    try {
      run(stop);
    } catch (const std::bad_alloc&) {
      return;  // the file serves as well
    }
  });
}

void WeightMover::run(const std::stop_token& stop) {
  auto moved = std::make_shared<Weights>(*weights_);
  const auto all = convertibleMatrices(*moved);
  const auto pages = std::make_shared<const kernels::Pages>(static_cast<std::size_t>(spaceFor(all)));
  moved->pages = pages;
  moved_ = moved;
  std::byte* to = pages->bytes().data();
  const auto move = [&](kernels::MatrixView* matrix) {
    const auto bytes = static_cast<std::uint64_t>(kernels::matrixBytes(*matrix));
    const auto* from = static_cast<const std::byte*>(matrix->data);
    for (std::uint64_t at = 0; at < bytes; at += kSlice) {
      if (stop.stop_requested()) return false;
      const std::uint64_t size = std::min(kSlice, bytes - at);
      std::memcpy(to + at, from + at, size);
      weights_->checkpoint->dropPages(from + at, size);
    }
    matrix->data = to;
    to += kernels::roundUp(static_cast<std::int64_t>(bytes), kAlignment);
    return true;
  };
  if (!move(&moved->head)) return;
  unmoved_.fetch_sub(1, std::memory_order_release);
  const std::size_t L = moved->layers.size();
  for (std::size_t layerIdx = L; layerIdx-- > 0;) {
    const auto matrices = largeMatrices(moved->layers[layerIdx]);
    if (!std::all_of(matrices.begin(), matrices.end(), move)) return;
    unmoved_.fetch_sub(1, std::memory_order_release);
    // Where the loop was in that layer as it moved, it has fetched pages back.
    if (layerIdx + 1 < L) letGo(layerIdx + 1);
  }
}

void WeightMover::letGo(std::size_t layerIdx) const {
  LayerWeights views = weights_->layers[layerIdx];
  for (const kernels::MatrixView* matrix : largeMatrices(views)) {
    engine::letGo(*weights_->checkpoint, *matrix);
  }
}

void WeightMover::wait() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace eyrie::engine
