// What this machine reaches at best, measured: benchmarks print their figures as percentages of these. Any
// other load on the machine lowers them, so they are measured in the same run.
#pragma once

#include <cstdint>

namespace eyrie::kernels {
class ThreadPool;
}

namespace eyrie::kernels::cpu {

// Bytes a second at which the pool's threads read `bytes` of memory, each a contiguous part of it; the best
// of `passes`. Throws std::bad_alloc.
double readBandwidth(ThreadPool& pool, std::int64_t bytes, int passes);

// FLOPs a second of f32 matrix products (T, cols) x (rows, cols)^T through BLAS, the rows shared among the
// threads; the best of `passes`.
double gemmRate(ThreadPool& pool, std::int64_t T, std::int64_t rows, std::int64_t cols, int passes);

}  // namespace eyrie::kernels::cpu
