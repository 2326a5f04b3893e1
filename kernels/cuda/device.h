// Which CUDA devices this process can use. Never fails: where there is none, the list is empty and says why.
#pragma once

#include <cstddef>
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
  int driver = 0;               // the newest CUDA that the driver knows: 13010 is 13.1; 0: no driver
  int runtime = 0;              // and the one in this program
};

// The calling thread uses the same device afterwards as before.
DeviceList listDevices();

}  // namespace eyrie::kernels::cuda
