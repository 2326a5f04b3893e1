// What a .cu file of ours is written in. nvcc sees CUDA's own headers; the tests compile the same files as
// C++ against an emulator (tests/cuda_emulator) that gives the same names the same meaning on the CPU.
// Whatever is not the same on both sides stands here, under one name; no inline PTX anywhere else.
//
//   EYRIE_SHARED(float, tile, [32][33]);     __shared__ float tile[32][33];
//   EYRIE_DYNAMIC_SHARED(float, rows);       float* rows: the launch's sharedBytes, 128-byte aligned
//   copyAsync16, commitCopies, waitForCopies<groupsLeft>   16 bytes global to shared memory without registers
//   syncGrid()                               barrier of all blocks of a cooperative launch
//   letNextBegin(), waitForPrior()           between kernels of a stream, see below
//   loadMatrices, multiplyMatrices           ldmatrix and mma.m16n8k16; which lane has which element:
//                                            tests/cuda_emulator/matrices.h
//
// letNextBegin(): blocks of the next kernel, if it is launched `early` (launch.h), may begin where this one's
// leave room. waitForPrior(): what the kernels before have written is there. Until then a kernel launched
// early may read only what nobody writes (weights); some thread of it must come there, so that it cannot end
// before those it did not wait for.
#pragma once

#ifdef EYRIE_CUDA_EMULATOR
#include <cuda_emulator.h>
#else
#include <cooperative_groups.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_pipeline.h>
#include <cuda_runtime.h>

#include <type_traits>

#define EYRIE_SHARED(type, name, dimensions) __shared__ __align__(128) type name dimensions

#define EYRIE_DYNAMIC_SHARED(type, name)                        \
  extern __shared__ __align__(128) unsigned char eyrieShared[]; \
  type* const name = reinterpret_cast<type*>(eyrieShared)

namespace eyrie::kernels::cuda {

__device__ __forceinline__ void copyAsync16(void* to, const void* from) {
  __pipeline_memcpy_async(to, from, 16);
}
__device__ __forceinline__ void commitCopies() {
  __pipeline_commit();
}
template <int kGroupsLeft>
__device__ __forceinline__ void waitForCopies() {
  __pipeline_wait_prior(kGroupsLeft);
}
__device__ __forceinline__ void syncGrid() {
  cooperative_groups::this_grid().sync();
}
// Programmatic dependent launch, of cards from sm_90 on; others begin when the kernel before has ended.
__device__ __forceinline__ void letNextBegin() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cudaTriggerProgrammaticLaunchCompletion();
#endif
}
__device__ __forceinline__ void waitForPrior() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
#endif
}

// Four 8x8 matrices of 16-bit elements; lane l gives the address in shared memory of row l % 8 of matrix
// l / 8.
template <bool kTransposed>
__device__ __forceinline__ void loadMatrices(unsigned (&to)[4], const void* row) {
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
  }
}

// sums (16, 8) += left (16, 16) right (16, 8), of __half or, from sm_80 on, __nv_bfloat16.
template <class T>
__device__ __forceinline__ void multiplyMatrices(float* sums, const unsigned (&left)[4], unsigned right0,
                                                 unsigned right1) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  if constexpr (std::is_same_v<T, __half>) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%8}, {%0, %1, %2, "
        "%3};\n"
        "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%6, %7}, {%9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right0), "r"(right1));
  } else {
    __trap();
  }
#else
  if constexpr (std::is_same_v<T, __half>) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right0), "r"(right1));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right0), "r"(right1));
  }
#endif
}

}  // namespace eyrie::kernels::cuda
#endif

namespace eyrie::kernels::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffU;

}  // namespace eyrie::kernels::cuda
