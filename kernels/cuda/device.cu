#include <cuda_runtime.h>

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/runtime.h"

namespace eyrie::kernels::cuda {
namespace {

// A device counts only where code of ours runs on it: the driver may be older than the runtime, or the card
// newer or older than what this program was compiled for. Empty: it does.
std::string whyUnusable(int index, cudaDeviceProp& properties) {
  try {
    check(cudaGetDeviceProperties(&properties, index), "asking for its properties");
    useDevice(index);
    probeDevice();
  } catch (const CudaError& error) {
    return "device " + std::to_string(index) + ": " + error.what();
  }
  return {};
}

}  // namespace

DeviceList listDevices(std::size_t most) {
  DeviceList list;
  if (cudaDriverGetVersion(&list.driver) != cudaSuccess) list.driver = 0;
  if (cudaRuntimeGetVersion(&list.runtime) != cudaSuccess) list.runtime = 0;
  int current = 0;
  const cudaError_t counted = cudaGetDeviceCount(&list.present);
  if (counted != cudaSuccess) {
    list.present = 0;
    list.reason = cudaGetErrorString(counted);
    return list;
  }
  const bool hasCurrent = cudaGetDevice(&current) == cudaSuccess;
  for (int index = 0; index < list.present && list.devices.size() < most; ++index) {
    cudaDeviceProp properties{};
    list.reason = whyUnusable(index, properties);
    if (!list.reason.empty()) continue;
    list.devices.push_back(
        {index, properties.name, properties.major, properties.minor, properties.totalGlobalMem});
  }
  if (hasCurrent) cudaSetDevice(current);
  cudaGetLastError();  // forgets what devices said that are none of ours
  if (!list.devices.empty()) list.reason.clear();
  if (list.devices.empty() && list.reason.empty()) list.reason = "the driver reports no device";
  return list;
}

}  // namespace eyrie::kernels::cuda
