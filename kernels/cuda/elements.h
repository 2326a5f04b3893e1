// Launches of one thread an element. For .cu files.
#pragma once

#include <cstdint>

#include "kernels/cuda/launch.h"

namespace eyrie::kernels::cuda {

inline constexpr unsigned kElementThreads = 256;

// Of this thread, among all of a launch over elementShape.
__device__ __forceinline__ std::int64_t elementIndex() {
  return static_cast<std::int64_t>(blockIdx.x) * kElementThreads + threadIdx.x;
}

// `count` > 0 threads or a few more, in y rows of blocks.
inline Shape elementShape(std::int64_t count, std::int64_t rows = 1) {
  const auto blocks = static_cast<unsigned>((count + kElementThreads - 1) / kElementThreads);
  return {dim3(blocks, static_cast<unsigned>(rows)), dim3(kElementThreads)};
}

}  // namespace eyrie::kernels::cuda
