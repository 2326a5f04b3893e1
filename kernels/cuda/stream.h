// A CUDA stream without CUDA's headers: what cudaStream_t is. Null is the default stream.
#pragma once

#include <stdexcept>
#include <string>

struct CUstream_st;

namespace eyrie::kernels::cuda {

using Stream = CUstream_st*;

// A CUDA call that failed; the engine makes its own error of it.
class CudaError : public std::runtime_error {
 public:
  CudaError(const std::string& what, int status) : std::runtime_error(what), status_(status) {}
  int status() const { return status_; }

 private:
  int status_;
};

}  // namespace eyrie::kernels::cuda
