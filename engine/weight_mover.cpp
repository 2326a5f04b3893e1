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

std::shared_ptr<const Weights> copyOf(const Weights& weights, const std::stop_token& stop) {
  auto moved = std::make_shared<Weights>(weights);
  const auto matrices = convertibleMatrices(*moved);
  const auto pages = std::make_shared<const kernels::Pages>(static_cast<std::size_t>(spaceFor(matrices)));
  std::byte* to = pages->bytes().data();
  for (kernels::MatrixView* matrix : matrices) {
    if (stop.stop_requested()) return nullptr;
    const std::int64_t bytes = kernels::matrixBytes(*matrix);
    std::memcpy(to, matrix->data, static_cast<std::size_t>(bytes));
    weights.checkpoint->dropPages(matrix->data, static_cast<std::uint64_t>(bytes));
    matrix->data = to;
    to += kernels::roundUp(bytes, kAlignment);
  }
  moved->pages = pages;
  return moved;
}

}  // namespace

WeightMover::WeightMover(std::shared_ptr<const Weights> weights, std::uint64_t worthwhile) {
  Weights views = *weights;
  const auto bytes = static_cast<std::uint64_t>(spaceFor(convertibleMatrices(views)));
  if (weights->pages || bytes < worthwhile || availableMemory() < bytes + bytes / 4) return;
  thread_ = std::jthread([this, weights = std::move(weights)](const std::stop_token& stop) {
    try {
      auto moved = copyOf(*weights, stop);
      const std::lock_guard lock(mutex_);
      moved_ = std::move(moved);
    } catch (const std::bad_alloc&) {
      return;  // the file serves as well
    }
  });
}

std::shared_ptr<const Weights> WeightMover::take() {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  return lock.owns_lock() ? std::move(moved_) : nullptr;
}

void WeightMover::wait() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace eyrie::engine
