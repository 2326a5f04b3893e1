// Device memory that is grown and never shrunk: a place in the backend's arena, or where more is needed,
// memory of its own.
#pragma once

#include "kernels/cuda/runtime.h"

namespace eyrie::engine {

class CudaBuffer {
 public:
  void takeFrom(kernels::cuda::DeviceArena& arena, std::size_t bytes) {
    data_ = arena.take(bytes);
    bytes_ = bytes;
  }
  // Whether it lies elsewhere now; where this throws, it lies nowhere. What it held is lost.
  bool atLeast(std::size_t bytes) {
    if (bytes <= bytes_) return false;
    own_ = {};  // the old one first: both together may not fit
    data_ = nullptr;
    bytes_ = 0;
    own_ = kernels::cuda::DeviceMemory(bytes);
    data_ = own_.data();
    bytes_ = bytes;
    return true;
  }
  template <class T = float>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
  kernels::cuda::DeviceMemory own_;
};

}  // namespace eyrie::engine
