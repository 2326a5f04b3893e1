// Which CUDA devices this process can use. Never fails: where there is none, the list is empty and says why.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace eyrie::kernels::cuda {

struct Device {
  int index = 0;  // as the runtime counts
  std::string name;
  int majorCapability = 0;  // 9.0 is an H100 or H200
  int minorCapability = 0;
  std::size_t totalMemory = 0;  // bytes
};

struct DeviceList {
  std::vector<Device> devices;  // those that ran a test kernel
  std::string reason;           // why `devices` is empty, one line; empty where it is not
  int present = 0;              // devices that the driver has, whether or not they run our code
  int driver = 0;               // the newest CUDA that the driver knows: 13010 is 13.1; 0: no driver
  int runtime = 0;              // and the one in this program
};

// Ends with the `most`-th usable device: asking one leaves hundreds of megabytes of the process on it. The
// calling thread uses the same device afterwards as before.
DeviceList listDevices(std::size_t most = SIZE_MAX);

// Runs a test kernel on the calling thread's device. Throws CudaError where that does not work.
void probeDevice();

}  // namespace eyrie::kernels::cuda
