// Tensor-core fragments, nvcuda::wmma as far as kernels/cuda uses it: each lane holds its share of a matrix,
// the product needs all 32. Which element lies in which lane is nobody's business: here element e of the
// matrix is in lane e % 32, which CUDA's own arrangement is not.
#pragma once

#include "tests/cuda_emulator/intrinsics.h"

namespace nvcuda::wmma {

struct matrix_a {};
struct matrix_b {};
struct accumulator {};
struct row_major {};
struct col_major {};
enum layout_t { mem_row_major, mem_col_major };

template <class Use, int M, int N, int K>
constexpr int rowsOf() {
  return std::is_same_v<Use, matrix_b> ? K : M;
}
template <class Use, int M, int N, int K>
constexpr int colsOf() {
  return std::is_same_v<Use, matrix_a> ? K : N;
}

template <class Use, int M, int N, int K, class T, class Layout = void>
struct fragment {
  static constexpr int kRows = rowsOf<Use, M, N, K>();
  static constexpr int kCols = colsOf<Use, M, N, K>();
  static constexpr int num_elements = kRows * kCols / 32;
  T x[num_elements];
};

inline float widened(__nv_bfloat16 value) {
  return __bfloat162float(value);
}
inline float widened(__half value) {
  return __half2float(value);
}
inline float widened(float value) {
  return value;
}

template <class Fragment, class T>
void fill_fragment(Fragment& to, T value) {
  for (auto& element : to.x) element = value;
}

// CUDA wants 16-byte steps between rows and 32-byte aligned tiles.
template <class T>
void checkTile(const T* tile, unsigned step) {
  if (reinterpret_cast<std::uintptr_t>(tile) % 32 != 0)
    eyrie::emulator::fail("wmma: tile is not 32-byte aligned");
  if (step * sizeof(T) % 16 != 0) eyrie::emulator::fail("wmma: rows do not start every 16 bytes");
}

template <class Use, int M, int N, int K, class T, class Layout>
void load_matrix_sync(fragment<Use, M, N, K, T, Layout>& to, const T* from, unsigned step,
                      eyrie::emulator::Where where = eyrie::emulator::Where::current()) {
  using Fragment = fragment<Use, M, N, K, T, Layout>;
  __syncwarp(0xffffffffU, where);
  checkTile(from, step);
  for (int i = 0; i < Fragment::num_elements; ++i) {
    const int element = 32 * i + int(eyrie::emulator::laneId());
    const int row = element / Fragment::kCols;
    const int col = element % Fragment::kCols;
    const bool byRows = std::is_same_v<Layout, row_major>;
    to.x[i] = from[byRows ? row * int(step) + col : col * int(step) + row];
  }
}

template <int M, int N, int K>
void load_matrix_sync(fragment<accumulator, M, N, K, float>& to, const float* from, unsigned step,
                      layout_t layout, eyrie::emulator::Where where = eyrie::emulator::Where::current()) {
  __syncwarp(0xffffffffU, where);
  checkTile(from, step);
  for (int i = 0; i < M * N / 32; ++i) {
    const int element = 32 * i + int(eyrie::emulator::laneId());
    const int row = element / N;
    const int col = element % N;
    to.x[i] = from[layout == mem_row_major ? row * int(step) + col : col * int(step) + row];
  }
}

template <int M, int N, int K>
void store_matrix_sync(float* to, const fragment<accumulator, M, N, K, float>& from, unsigned step,
                       layout_t layout, eyrie::emulator::Where where = eyrie::emulator::Where::current()) {
  __syncwarp(0xffffffffU, where);
  checkTile(to, step);
  for (int i = 0; i < M * N / 32; ++i) {
    const int element = 32 * i + int(eyrie::emulator::laneId());
    const int row = element / N;
    const int col = element % N;
    to[layout == mem_row_major ? row * int(step) + col : col * int(step) + row] = from.x[i];
  }
}

// d = a b + c; products of 16-bit values are exact in f32.
template <int M, int N, int K, class T, class LayoutA, class LayoutB>
void mma_sync(fragment<accumulator, M, N, K, float>& d, const fragment<matrix_a, M, N, K, T, LayoutA>& a,
              const fragment<matrix_b, M, N, K, T, LayoutB>& b,
              const fragment<accumulator, M, N, K, float>& c,
              eyrie::emulator::Where where = eyrie::emulator::Where::current()) {
  using A = fragment<matrix_a, M, N, K, T, LayoutA>;
  using B = fragment<matrix_b, M, N, K, T, LayoutB>;
  using C = fragment<accumulator, M, N, K, float>;
  struct Mine {
    const A* a;
    const B* b;
    const C* c;
    C result;
  } mine{&a, &b, &c, {}};
  eyrie::emulator::meet(
      0xffffffffU, &mine,
      [](unsigned, const eyrie::emulator::LanePointers& lanes) {
        const auto of = [&](int element) -> Mine& {
          return *static_cast<Mine*>(lanes[std::size_t(element % 32)]);
        };
        for (int row = 0; row < M; ++row) {
          for (int col = 0; col < N; ++col) {
            const int at = row * N + col;
            float sum = of(at).c->x[at / 32];
            for (int k = 0; k < K; ++k) {
              const int left = row * K + k;
              const int right = k * N + col;
              sum += widened(of(left).a->x[left / 32]) * widened(of(right).b->x[right / 32]);
            }
            of(at).result.x[at / 32] = sum;
          }
        }
      },
      where);
  d = mine.result;
}

}  // namespace nvcuda::wmma
