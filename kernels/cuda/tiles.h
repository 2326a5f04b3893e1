// Products of 16x16 tiles in shared memory by one warp: on tensor cores where the card has them for the type,
// in f32 arithmetic of the lanes where not (f32 itself, and bf16 before sm_80), with the same names. For .cu
// files.
//
//   sum = left right + sum, left (16 tokens, 16 k) row after row; right (16 k, 16 n) k after k, or n after n
//   where kByColumns is false, as a linear layer's weight or keys lie.
// Tiles start at multiples of 32 bytes, their rows at multiples of 16. All lanes of the warp must come.
#pragma once

#include <type_traits>

#include "kernels/cuda/device_code.h"
#include "kernels/cuda/stored.h"

namespace eyrie::kernels::cuda {

inline constexpr int kTile = 16;

template <class T>
inline constexpr bool kOnTensorCores = std::is_same_v<T, __half>;
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
template <>
inline constexpr bool kOnTensorCores<__nv_bfloat16> = true;
#endif

template <class T, bool = kOnTensorCores<T>>
struct Tiles {
  using Left = nvcuda::wmma::fragment<nvcuda::wmma::matrix_a, 16, 16, 16, T, nvcuda::wmma::row_major>;
  template <bool kByColumns>
  using Right = nvcuda::wmma::fragment<
      nvcuda::wmma::matrix_b, 16, 16, 16, T,
      std::conditional_t<kByColumns, nvcuda::wmma::row_major, nvcuda::wmma::col_major>>;
  using Sum = nvcuda::wmma::fragment<nvcuda::wmma::accumulator, 16, 16, 16, float>;

  static __device__ __forceinline__ void clear(Sum& sum) { nvcuda::wmma::fill_fragment(sum, 0.0F); }
  template <class Fragment>
  static __device__ __forceinline__ void load(Fragment& to, const T* from, unsigned stride) {
    nvcuda::wmma::load_matrix_sync(to, from, stride);
  }
  template <class Right>
  static __device__ __forceinline__ void multiply(Sum& sum, const Left& left, const Right& right) {
    nvcuda::wmma::mma_sync(sum, left, right, sum);
  }
  static __device__ __forceinline__ void loadSum(Sum& to, const float* from, unsigned stride) {
    nvcuda::wmma::load_matrix_sync(to, from, stride, nvcuda::wmma::mem_row_major);
  }
  static __device__ __forceinline__ void store(float* to, const Sum& sum, unsigned stride) {
    nvcuda::wmma::store_matrix_sync(to, sum, stride, nvcuda::wmma::mem_row_major);
  }
};

// Each lane sums two rows by four columns; "loading" remembers where the tile lies.
template <class T>
struct Tiles<T, false> {
  struct Left {
    const T* at;
    unsigned stride;
  };
  template <bool kByColumns>
  struct Right {
    const T* at;
    unsigned stride;
    __device__ __forceinline__ float element(int k, int n) const {
      return widened(kByColumns ? at[k * stride + n] : at[n * stride + k]);
    }
  };
  struct Sum {
    float x[8];
  };

  static __device__ __forceinline__ void clear(Sum& sum) {
    for (float& element : sum.x) element = 0;
  }
  template <class Fragment>
  static __device__ __forceinline__ void load(Fragment& to, const T* from, unsigned stride) {
    to.at = from;
    to.stride = stride;
  }
  template <class Right>
  static __device__ __forceinline__ void multiply(Sum& sum, const Left& left, const Right& right) {
    const int lane = static_cast<int>(threadIdx.x % kWarp);
    const T* const rows = left.at + lane / 4 * 2 * left.stride;
#pragma unroll
    for (int k = 0; k < kTile; ++k) {
      const float two[2] = {widened(rows[k]), widened(rows[left.stride + k])};
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        const float factor = right.element(k, lane % 4 * 4 + n);
        sum.x[n] += two[0] * factor;
        sum.x[4 + n] += two[1] * factor;
      }
    }
  }
  static __device__ __forceinline__ void loadSum(Sum& to, const float* from, unsigned stride) {
#pragma unroll
    for (int i = 0; i < 8; ++i) to.x[i] = from[offsetOf(i, stride)];
  }
  static __device__ __forceinline__ void store(float* to, const Sum& sum, unsigned stride) {
#pragma unroll
    for (int i = 0; i < 8; ++i) to[offsetOf(i, stride)] = sum.x[i];
  }

 private:
  static __device__ __forceinline__ unsigned offsetOf(int i, unsigned stride) {
    const unsigned lane = threadIdx.x % kWarp;
    return (lane / 4 * 2 + i / 4) * stride + lane % 4 * 4 + i % 4;
  }
};

}  // namespace eyrie::kernels::cuda
