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
  bool early = false;           // may begin before the kernel before it has ended: see waitForPrior()
};

inline Shape early(Shape shape) {
  shape.early = true;
  return shape;
}

// A block has 48 KiB of shared memory without asking. So much of it is left to a kernel's own arrays, which
// launch() does not know of; the emulator refuses more.
inline constexpr std::size_t kOwnSharedBytes = 16 * 1024;

#ifdef EYRIE_CUDA_EMULATOR

template <class... Parameters>
void launch(void (*kernel)(Parameters...), const Shape& shape, Stream stream,
            std::type_identity_t<Parameters>... args) {
  emulator::enqueue(stream, emulator::LaunchedKernel{
                                {shape.grid, shape.block, shape.sharedBytes, shape.cooperative, shape.early},
                                reinterpret_cast<const void*>(kernel),
                                [=] { kernel(args...); }});
}

inline int processors() {
  return 4;
}

#else

inline void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // forgets it, or the next launch would be blamed for it
  throw CudaError(std::string(what) + ": " + cudaGetErrorString(status), static_cast<int>(status));
}

inline int deviceAttribute(cudaDeviceAttr attribute) {
  int device = 0;
  int value = 0;
  check(cudaGetDevice(&device), "device");
  check(cudaDeviceGetAttribute(&value, attribute, device), "properties of the device");
  return value;
}

// Multiprocessors of the current device.
inline int processors() {
  return deviceAttribute(cudaDevAttrMultiProcessorCount);
}

// Whether kernels launched early do wait for those before: whether they were compiled for what waitForPrior()
// asks for. A card newer than all they were compiled for runs what its driver makes of older code, which does
// not wait. Asked of the first such kernel only: all are compiled for the same, and one device runs them.
inline bool waitsForPrior(const void* kernel) {
  constexpr int kFirstThatWaits = 90;
  static const int compiledFor = [&] {
    cudaFuncAttributes attributes{};
    check(cudaFuncGetAttributes(&attributes, kernel), "attributes of a kernel");
    return attributes.ptxVersion;  // the virtual architecture, whatever card the code was then made for
  }();
  return compiledFor >= kFirstThatWaits;
}

// No synchronisation and no allocation: a graph can capture it. Faults of the kernel itself show at the next
// call.
template <class... Parameters>
void launch(void (*kernel)(Parameters...), const Shape& shape, Stream stream,
            std::type_identity_t<Parameters>... args) {
  constexpr std::size_t kWithoutAsking = 48 * 1024 - kOwnSharedBytes;
  if (shape.sharedBytes > kWithoutAsking) {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                               cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shape.sharedBytes)),
          "shared memory of a kernel");
  }
  cudaLaunchAttribute attributes[2]{};
  unsigned count = 0;
  if (shape.cooperative) {
    attributes[count].id = cudaLaunchAttributeCooperative;
    attributes[count++].val.cooperative = 1;
  }
  if (shape.early && waitsForPrior(reinterpret_cast<const void*>(kernel))) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.sharedBytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = count;
  check(cudaLaunchKernelEx(&config, kernel, args...), "launch");
}

#endif

}  // namespace eyrie::kernels::cuda
