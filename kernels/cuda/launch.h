// Starts a kernel: in place of <<<...>>>, which C++ compilers cannot read. For .cu files.
#pragma once

#include <type_traits>
#include <utility>

#include "kernels/cuda/device_code.h"
#include "kernels/cuda/stream.h"

namespace eyrie::kernels::cuda {

struct Shape {
  dim3 grid;
  dim3 block;
  std::size_t sharedBytes = 0;  // EYRIE_DYNAMIC_SHARED
  bool cooperative = false;     // syncGrid() may be used; the grid must fit the card at once
};

#ifdef EYRIE_CUDA_EMULATOR

template <class... Parameters>
void launch(void (*kernel)(Parameters...), const Shape& shape, Stream stream,
            std::type_identity_t<Parameters>... args) {
  emulator::enqueue(stream, [=] {
    emulator::run({shape.grid, shape.block, shape.sharedBytes, shape.cooperative}, [=] { kernel(args...); });
  });
}

#else

inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess)
    throw CudaError(std::string(what) + ": " + cudaGetErrorString(status), static_cast<int>(status));
}

// No synchronisation and no allocation: a graph can capture it. Faults of the kernel itself show at the next
// call.
template <class... Parameters>
void launch(void (*kernel)(Parameters...), const Shape& shape, Stream stream,
            std::type_identity_t<Parameters>... args) {
  constexpr std::size_t kWithoutAsking = 48 * 1024;
  if (shape.sharedBytes > kWithoutAsking) {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                               cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shape.sharedBytes)),
          "shared memory of a kernel");
  }
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeCooperative;
  attribute.val.cooperative = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.sharedBytes;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = shape.cooperative ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, args...), "launch");
}

#endif

}  // namespace eyrie::kernels::cuda
