// A stretch of the program's time by name, for a profiler (NVTX): from construction to destruction. Costs
// some nanoseconds where nobody looks, nothing but a call in a build without CUDA.
#pragma once

namespace eyrie::kernels::cuda {

class Range {
 public:
  explicit Range(const char* name);
  ~Range();
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;
};

}  // namespace eyrie::kernels::cuda
