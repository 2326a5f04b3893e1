// Products of 16x16 tiles in shared memory by one warp: on tensor cores where the card has them for the
// type, or by plain f32 arithmetic of the lanes (f32, and bf16 before sm_80), with the same names. For .cu
// files.
//
//   sum += left right: left (16 rows, 16 k), rows one after the other; right (16 k, 16 columns), k after k
//   where kByColumns, or column after column, as a linear layer's weight or keys lie.
// Rows of tiles in shared memory start at multiples of 16 bytes. All lanes of the warp must come.
#pragma once

#include <type_traits>

#include "kernels/cuda/device_code.h"
#include "kernels/cuda/stored.h"

namespace eyrie::kernels::cuda {

inline constexpr int kTile = 16;
inline constexpr int kElementsOfLane = kTile * kTile / kWarp;

template <class T>
inline constexpr bool kOnTensorCores = std::is_same_v<T, __half>;
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
template <>
inline constexpr bool kOnTensorCores<__nv_bfloat16> = true;
#endif

template <class T, bool = kOnTensorCores<T>>
struct Tiles {
  struct Left {
    unsigned bits[4];
  };
  template <bool kByColumns>
  struct Right {
    unsigned bits[4];  // two for each eight columns
  };
  struct Sum {
    float x[kElementsOfLane] = {};
  };
  // Where in the tile element i of this lane's is.
  static __device__ __forceinline__ int row(int i) { return lane() / 4 + i % 4 / 2 * 8; }
  static __device__ __forceinline__ int column(int i) { return i / 4 * 8 + lane() % 4 * 2 + i % 2; }

  static __device__ __forceinline__ void load(Left& to, const T* from, int stride) {
    loadMatrices<false>(to.bits, from + lane() % 16 * stride + lane() / 16 * 8);
  }
  static __device__ __forceinline__ void load(Right<true>& to, const T* from, int stride) {
    loadMatrices<true>(to.bits, from + lane() % 16 * stride + lane() / 16 * 8);
  }
  static __device__ __forceinline__ void load(Right<false>& to, const T* from, int stride) {
    loadMatrices<false>(to.bits, from + (lane() % 8 + lane() / 16 * 8) * stride + lane() % 16 / 8 * 8);
  }
  template <class Right>
  static __device__ __forceinline__ void multiply(Sum& sum, const Left& left, const Right& right) {
    multiplyMatrices<T>(sum.x, left.bits, right.bits[0], right.bits[1]);
    multiplyMatrices<T>(sum.x + 4, left.bits, right.bits[2], right.bits[3]);
  }

 private:
  static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x % kWarp); }
};

// Each lane sums two rows by four columns; "loading" remembers where the tile lies.
template <class T>
struct Tiles<T, false> {
  struct Left {
    const T* at;
    int stride;
  };
  template <bool kByColumns>
  struct Right {
    const T* at;
    int stride;
    __device__ __forceinline__ float element(int k, int n) const {
      return widened(kByColumns ? at[k * stride + n] : at[n * stride + k]);
    }
  };
  struct Sum {
    float x[kElementsOfLane] = {};
  };
  static __device__ __forceinline__ int row(int i) { return lane() / 4 * 2 + i / 4; }
  static __device__ __forceinline__ int column(int i) { return lane() % 4 * 4 + i % 4; }

  template <class Fragment>
  static __device__ __forceinline__ void load(Fragment& to, const T* from, int stride) {
    to.at = from;
    to.stride = stride;
  }
  template <class Right>
  static __device__ __forceinline__ void multiply(Sum& sum, const Left& left, const Right& right) {
    const T* const rows = left.at + row(0) * left.stride;
#pragma unroll
    for (int k = 0; k < kTile; ++k) {
      const float two[2] = {widened(rows[k]), widened(rows[left.stride + k])};
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        const float factor = right.element(k, column(n));
        sum.x[n] += two[0] * factor;
        sum.x[4 + n] += two[1] * factor;
      }
    }
  }

 private:
  static __device__ __forceinline__ int lane() {
    return static_cast<int>(threadIdx.x % kWarp);
  }
};

}  // namespace eyrie::kernels::cuda
