// What a .cu file of ours is written in. nvcc sees CUDA's own headers; the tests compile the same files as
// C++ against an emulator (tests/cuda_emulator) that gives the same names the same meaning on the CPU.
// Whatever is not the same on both sides stands here, under one name; no inline PTX anywhere else.
//
//   EYRIE_SHARED(float, tile, [32][33]);     __shared__ float tile[32][33];
//   EYRIE_DYNAMIC_SHARED(float, rows);       float* rows: the launch's sharedBytes, 128-byte aligned
//   copyAsync16, commitCopies, waitForCopies<groupsLeft>   16 bytes global to shared memory without registers
//   syncGrid()                               barrier of all blocks of a cooperative launch
#pragma once

#ifdef EYRIE_CUDA_EMULATOR
#include <cuda_emulator.h>
#else
#include <cooperative_groups.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_pipeline.h>
#include <cuda_runtime.h>
#include <mma.h>

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

}  // namespace eyrie::kernels::cuda
#endif

namespace eyrie::kernels::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffU;

}  // namespace eyrie::kernels::cuda
