// The smallest kernel there is.
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/runtime.h"

namespace eyrie::kernels::cuda {
namespace {

constexpr int kProbeAnswer = 0x0e791e;

__global__ void probe_kernel(int* answer) {
  *answer = kProbeAnswer;
}

}  // namespace

void probeDevice() {
  const DeviceMemory onDevice(sizeof(int));
  const OwnedStream stream;
  launch(probe_kernel, {dim3(1), dim3(1)}, stream, reinterpret_cast<int*>(onDevice.data()));
  int answer = 0;
  copyToHost(&answer, onDevice.data(), sizeof answer, stream);
  stream.wait();
  if (answer != kProbeAnswer) throw CudaError("a kernel ran and wrote nothing", 0);
}

}  // namespace eyrie::kernels::cuda
