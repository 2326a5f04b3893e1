// What a card reaches at best, measured: as kernels/cpu/ceilings.h, on the current device. A probe keeps its
// device memory, filled with noise: products of zeros are quicker. Throw CudaError, also where the build has
// no CUDA. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/cpu/ceilings.h"
#include "kernels/op_cost.h"

namespace eyrie::kernels::cuda {

class CopyProbe {
 public:
  explicit CopyProbe(std::int64_t bytes);
  ~CopyProbe();
  // At which all of it is copied within the card's memory: bytes read and bytes written.
  double bytesPerSecond();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// Copies from the host to the card.
class UploadProbe {
 public:
  explicit UploadProbe(std::int64_t bytes);
  ~UploadProbe();
  // From pinned memory, at once: what the bus gives.
  double busBytesPerSecond();
  // From ordinary memory, as weights travel (uploader.h).
  double bytesPerSecond();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// bf16 products of such shapes by cuBLAS: bf16 in and out, sums in f32. Throws CudaError where there is none.
class GemmProbe {
 public:
  explicit GemmProbe(std::vector<cpu::GemmShape> shapes);
  ~GemmProbe();
  // Over all shapes; NaN where cuBLAS cannot do one of them.
  double flopsPerSecond();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// The RG-LRU of `batch` sequences in one call, T tokens of R channels each.
class ScanProbe {
 public:
  ScanProbe(std::int64_t T, std::int64_t R, std::int64_t batch);
  ~ScanProbe();
  double seconds();
  OpCost cost() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace eyrie::kernels::cuda
