#include "kernels/cuda/device.h"

namespace eyrie::kernels::cuda {

DeviceList listDevices() {
  return {{}, "built without CUDA"};
}

}  // namespace eyrie::kernels::cuda
