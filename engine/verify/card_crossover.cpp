// From how many rows on tensor cores are faster than kernels that read the weights once for a few rows.
#include <algorithm>
#include <deque>

#include "engine/cuda/cuda_backend.h"
#include "engine/verify/card_cases.h"
#include "engine/verify/card_clock.h"
#include "engine/verify/card_ops.h"
#include "kernels/cuda/matmul.h"

namespace eyrie::engine::verify {
namespace {

namespace cuda = kernels::cuda;
using kernels::DType;

constexpr std::int64_t kMostRows = CardCrossover::kMostRows;

// A normed row through one matrix, both ways, as CudaBackend does it.
class BothWays {
 public:
  BothWays(CardMemory& memory, const CardShape& shape, DType dtype)
      : dtype_(dtype),
        D_(shape.D),
        E_(shape.E),
        blas_(memory.blas()),
        x_(memory.normals(kMostRows * D_)),
        norm_(memory.normals(D_, 0.1F)),
        out_(memory.room(kMostRows * E_)),
        operand_(memory.bytes(kMostRows * D_ * std::int64_t{sizeof(float)})) {
    if (kernels::isPacked(dtype)) {
      packed_ = memory.packed(E_, D_, dtype).card;
      workspace_ = memory.bytes(cuda::packedMatmulWorkspace(E_, D_));
    } else {
      plain_ = memory.matrix(E_, D_, dtype).card;
    }
  }

  void few(std::int64_t rows, cuda::Stream stream) const {
    if (kernels::isPacked(dtype_)) {
      cuda::PackedProjectionArgs args{x_.card, norm_.card, kNormEps, rows, {}, false};
      args.outputs[0] = {packed_, nullptr, out_.card};
      return cuda::packedProjections(args, stream);
    }
    cuda::ProjectionArgs args{x_.card, norm_.card, kNormEps, rows, {}, false};
    args.outputs[0] = {plain_, nullptr, out_.card};
    cuda::projections(args, stream);
  }

  void many(std::int64_t rows, cuda::Stream stream) const {
    cuda::operand({x_.card, norm_.card, kNormEps, rows, D_, cuda::operandType(dtype_), operand_}, stream);
    if (kernels::isPacked(dtype_)) {
      cuda::PackedMatmulArgs args{operand_, packed_, nullptr, rows, out_.card};
      args.workspace = workspace_;
      return cuda::packedMatmul(args, blas_, stream);
    }
    cuda::matmul({operand_, plain_, nullptr, rows, out_.card}, blas_, stream);
  }

  double weightBytes() const {
    return static_cast<double>(kernels::isPacked(dtype_)
                                   ? kernels::packedBytes(dtype_, E_, D_)
                                   : E_ * D_ * static_cast<std::int64_t>(kernels::dtypeSize(dtype_)));
  }
  bool hasBlas() const { return blas_ != nullptr; }

 private:
  DType dtype_;
  std::int64_t D_, E_;
  cuda::Blas* blas_;
  Twin<float> x_, norm_, out_;
  void* operand_;
  kernels::MatrixView plain_;
  cuda::PackedRows packed_;
  void* workspace_ = nullptr;
};

}  // namespace

CardCrossover measureCrossover(std::int64_t divisor) {
  return onCard([&](const cuda::DeviceFacts& device) {
    CardCrossover found;
    bool hasBlas = false;
    for (const DType dtype : cuda::MatmulCrossover::kTypes) {
      std::deque<CardMemory> memories;
      std::deque<BothWays> copies;
      do {
        copies.emplace_back(memories.emplace_back(kCardSeed), largeCardShape(divisor), dtype);
      } while (std::ssize(copies) < copiesBeyondCache(copies[0].weightBytes(), divisor));
      hasBlas = copies[0].hasBlas();
      const auto secondsOf = [&](auto way, std::int64_t rows) {
        std::size_t next = 0;
        return secondsOnCard(
            [&](cuda::Stream stream) { (copies[next++ % copies.size()].*way)(rows, stream); },
            std::ssize(copies));
      };
      const auto manyAreFaster = [&](std::int64_t rows) {
        return secondsOf(&BothWays::many, rows) < secondsOf(&BothWays::few, rows);
      };
      std::int64_t rows = 2;  // single tokens have kernels of their own
      while (rows <= kMostRows && !manyAreFaster(rows)) rows += 1 + rows / 4;
      found.measured.rows(dtype) = std::min(rows, kMostRows + 1);
    }
    found.backend = CudaBackend::nameOf(device, hasBlas);
    if (!hasBlas) found.estimated = cuda::kCrossoverWithoutBlas;
    return found;
  });
}

}  // namespace eyrie::engine::verify
