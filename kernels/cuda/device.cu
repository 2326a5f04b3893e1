#include <cuda_runtime.h>

#include "kernels/cuda/device.h"

namespace eyrie::kernels::cuda {
namespace {

constexpr int kProbeAnswer = 0x0e791e;

__global__ void probe_kernel(int* answer) {
  *answer = kProbeAnswer;
}

// A device counts only where code of ours runs on it: the driver may be older than the runtime, or the card
// newer or older than what this file was compiled for.
cudaError_t probe(int index) {
  cudaError_t status = cudaSetDevice(index);
  if (status != cudaSuccess) return status;
  int* onDevice = nullptr;
  status = cudaMalloc(&onDevice, sizeof *onDevice);
  if (status != cudaSuccess) return status;
  probe_kernel<<<1, 1>>>(onDevice);
  status = cudaGetLastError();
  int answer = 0;
  if (status == cudaSuccess) status = cudaMemcpy(&answer, onDevice, sizeof answer, cudaMemcpyDeviceToHost);
  if (status == cudaSuccess && answer != kProbeAnswer) status = cudaErrorUnknown;
  cudaFree(onDevice);
  return status;
}

}  // namespace

DeviceList listDevices() {
  DeviceList list;
  if (cudaDriverGetVersion(&list.driver) != cudaSuccess) list.driver = 0;
  if (cudaRuntimeGetVersion(&list.runtime) != cudaSuccess) list.runtime = 0;
  int count = 0;
  int current = 0;
  const cudaError_t counted = cudaGetDeviceCount(&count);
  if (counted != cudaSuccess) {
    list.reason = cudaGetErrorString(counted);
    return list;
  }
  const bool hasCurrent = cudaGetDevice(&current) == cudaSuccess;
  for (int index = 0; index < count; ++index) {
    cudaDeviceProp properties{};
    cudaError_t status = cudaGetDeviceProperties(&properties, index);
    if (status == cudaSuccess) status = probe(index);
    if (status == cudaSuccess) {
      list.devices.push_back(
          {index, properties.name, properties.major, properties.minor, properties.totalGlobalMem});
    } else {
      list.reason = "device " + std::to_string(index) + ": " + cudaGetErrorString(status);
    }
  }
  if (hasCurrent) cudaSetDevice(current);
  cudaGetLastError();  // forgets what devices said that are none of ours
  if (!list.devices.empty()) list.reason.clear();
  if (list.devices.empty() && list.reason.empty()) list.reason = "the driver reports no device";
  return list;
}

}  // namespace eyrie::kernels::cuda
