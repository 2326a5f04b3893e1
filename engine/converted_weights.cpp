#include "engine/converted_weights.h"

#include <cstring>

#include "engine/error.h"
#include "engine/weight_cache.h"
#include "kernels/packed_matrix.h"

namespace eyrie::engine {
namespace {

using kernels::DType;
using kernels::MatrixView;

constexpr std::int64_t kAlignment = 4096;
constexpr std::uint64_t kWorthKeeping = std::uint64_t{64} << 20;  // bytes

void roundTo(const MatrixView& from, DType to, std::byte* out, kernels::ThreadPool& pool) {
  const auto rows = [&](std::int64_t begin, std::int64_t end, int) {
    std::vector<float> row(static_cast<std::size_t>(from.cols));
    const std::size_t stored = kernels::dtypeSize(from.dtype);
    for (std::int64_t r = begin; r < end; ++r) {
      const auto first = static_cast<std::size_t>(r * from.cols);
      kernels::widen(static_cast<const std::byte*>(from.data) + first * stored, from.dtype, row.size(),
                     row.data());
      for (std::size_t c = 0; c < row.size(); ++c) {
        const std::uint16_t bits =
            to == DType::bf16 ? kernels::floatToBf16(row[c]) : kernels::floatToF16(row[c]);
        std::memcpy(out + 2 * (first + c), &bits, sizeof bits);
      }
    }
  };
  pool.parallelFor(from.rows, 16, rows);
}

// Where each matrix goes in one piece of memory.
struct Plan {
  std::vector<MatrixView*> matrices;
  std::vector<std::int64_t> offsets;
  std::int64_t bytes = 0;
};

Plan planOf(Weights& weights, DType to) {
  Plan plan;
  plan.matrices = convertibleMatrices(weights);
  for (const MatrixView* matrix : plan.matrices) {
    plan.offsets.push_back(plan.bytes);
    const std::int64_t bytes = kernels::matrixBytes({nullptr, to, matrix->rows, matrix->cols});
    plan.bytes += kernels::roundUp(bytes, kAlignment);
  }
  return plan;
}

// Backwards: the last, the head, is by far the largest, and there is most room for its pages in the
// beginning.
void fill(const Plan& plan, const Conversion& conversion, const Checkpoint& checkpoint, std::byte* memory,
          kernels::ThreadPool& pool) {
  for (std::size_t i = plan.matrices.size(); i-- > 0;) {
    if (conversion.stop.stop_requested()) throw Error(ErrorCode::cancelled, "loading was cancelled");
    const MatrixView& from = *plan.matrices[i];
    std::byte* out = memory + plan.offsets[i];
    if (from.dtype == conversion.to) {
      std::memcpy(out, from.data, static_cast<std::size_t>(kernels::matrixBytes(from)));
    } else if (kernels::isPacked(conversion.to)) {
      kernels::cpu::pack(from, conversion.to, out, pool);
    } else {
      roundTo(from, conversion.to, out, pool);
    }
    letGo(checkpoint, from);
    if (conversion.progress) {
      const auto total = static_cast<double>(plan.matrices.size());
      conversion.progress((total - static_cast<double>(i)) / total);
    }
  }
}

}  // namespace

std::shared_ptr<const Weights> convertWeights(std::shared_ptr<const Weights> weights,
                                              const Conversion& conversion, kernels::ThreadPool& pool) {
  auto converted = std::make_shared<Weights>(*weights);
  const Plan plan = planOf(*converted, conversion.to);
  const bool same = std::all_of(plan.matrices.begin(), plan.matrices.end(),
                                [&](const MatrixView* matrix) { return matrix->dtype == conversion.to; });
  if (same) return weights;
  const auto pages = std::make_shared<const kernels::Pages>(static_cast<std::size_t>(plan.bytes));
  const std::span<std::byte> memory = pages->bytes();
  const bool kept =
      kernels::isPacked(conversion.to) && !conversion.cacheFolder.empty() && memory.size() >= kWorthKeeping;
  const WeightCache cache(conversion.cacheFolder, *weights->checkpoint, conversion.to);
  if (!kept || !cache.read(memory, pool, conversion.stop)) {
    fill(plan, conversion, *weights->checkpoint, memory.data(), pool);
    if (kept) cache.write(memory, pool, conversion.stop);
  }
  for (std::size_t i = 0; i < plan.matrices.size(); ++i) {
    letGo(*weights->checkpoint, *plan.matrices[i]);  // the fingerprint has fetched some
    plan.matrices[i]->data = memory.data() + plan.offsets[i];
    plan.matrices[i]->dtype = conversion.to;
  }
  converted->pages = pages;
  return converted;
}

}  // namespace eyrie::engine
