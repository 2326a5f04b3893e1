// Fused causal attention with one key-value head of size 32, forward and backward, over exactly the keys each query sees.
// All arrays contiguous fp32. begin[n]: first visible key of query n (within its row of T tokens).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {
constexpr int kSize = 32;
typedef float Lane __attribute__((vector_size(32)));  // eight floats

inline Lane load(const float* p) {
  Lane v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, Lane v) { std::memcpy(p, &v, sizeof v); }
inline Lane all(float x) { return Lane{x, x, x, x, x, x, x, x}; }

inline float exponential(float x) {
  x = x < -87.0f ? -87.0f : x;
  const float n = std::floor(x * 1.44269504f + 0.5f);
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return p * power;
}

// x [T][32] -> xt [32][stride], stride a multiple of 8 with 16 floats of slack
void transpose(const float* x, float* xt, int64_t T, int64_t stride) {
  for (int64_t t = 0; t < T; ++t)
    for (int i = 0; i < kSize; ++i) xt[i * stride + t] = x[t * kSize + i];
}

// s[h][k - lo] = q[h] . x[k] for lo <= k < lo + count, x given transposed; rounds count up to 8
template <int H>
void products(const float* q, const float* xt, int64_t stride, int64_t lo, int64_t count, float* s, int64_t width) {
  for (int64_t k = 0; k < count; k += 8) {
    Lane sum[H] = {};
    for (int i = 0; i < kSize; ++i) {
      const Lane v = load(xt + i * stride + lo + k);
      for (int h = 0; h < H; ++h) sum[h] += all(q[h * kSize + i]) * v;
    }
    for (int h = 0; h < H; ++h) store(s + h * width + k, sum[h]);
  }
}

// out[h] = sum over k of p[h][k] x[lo + k]
template <int H>
void mix(const float* p, int64_t width, const float* x, int64_t lo, int64_t count, float* out) {
  for (int half = 0; half < 2; ++half) {
    Lane low[H] = {}, high[H] = {};
    for (int64_t k = 0; k < count; ++k) {
      const float* row = x + (lo + k) * kSize + half * 16;
      const Lane a = load(row), b = load(row + 8);
      for (int h = 0; h < H; ++h) {
        low[h] += all(p[h * width + k]) * a;
        high[h] += all(p[h * width + k]) * b;
      }
    }
    for (int h = 0; h < H; ++h) {
      store(out + h * kSize + half * 16, low[h]);
      store(out + h * kSize + half * 16 + 8, high[h]);
    }
  }
}

// dxt[i][lo + k] += sum over h of s[h][k] q[h][i]; s is 0 from count on
template <int H>
void spread(const float* s, int64_t width, const float* q, float* dxt, int64_t stride, int64_t lo, int64_t count) {
  for (int64_t k = 0; k < count; k += 8) {
    Lane w[H];
    for (int h = 0; h < H; ++h) w[h] = load(s + h * width + k);
    for (int i = 0; i < kSize; ++i) {
      float* to = dxt + i * stride + lo + k;
      Lane v = load(to);
      for (int h = 0; h < H; ++h) v += w[h] * all(q[h * kSize + i]);
      store(to, v);
    }
  }
}

template <int H>
void forward(const float* q, const float* k, const float* v, const int32_t* begin, float* out, float* norm, int64_t B,
             int64_t T) {
  const int64_t stride = (T + 7) / 8 * 8 + 16, width = stride;
  std::vector<float> kt(kSize * stride), s(H * width);
  for (int64_t b = 0; b < B; ++b) {
    transpose(k + b * T * kSize, kt.data(), T, stride);
    for (int64_t t = 0; t < T; ++t) {
      const int64_t n = b * T + t, lo = begin[n], count = t + 1 - lo;
      products<H>(q + n * H * kSize, kt.data(), stride, lo, count, s.data(), width);
      for (int h = 0; h < H; ++h) {
        float* row = s.data() + h * width;
        float top = row[0], sum = 0;
#pragma omp simd reduction(max : top)
        for (int64_t j = 0; j < count; ++j) top = row[j] > top ? row[j] : top;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < count; ++j) {
          row[j] = exponential(row[j] - top);
          sum += row[j];
        }
        const float inverse = 1.0f / sum;
#pragma omp simd
        for (int64_t j = 0; j < count; ++j) row[j] *= inverse;
        norm[n * H + h] = top + std::log(sum);
      }
      mix<H>(s.data(), width, v + b * T * kSize, lo, count, out + n * H * kSize);
    }
  }
}

template <int H>
void backward(const float* q, const float* k, const float* v, const int32_t* begin, const float* out,
              const float* norm, const float* dout, float* dq, float* dk, float* dv, int64_t B, int64_t T) {
  const int64_t stride = (T + 7) / 8 * 8 + 16, width = stride;
  std::vector<float> kt(kSize * stride), vt(kSize * stride), p(H * width), ds(H * width);
  std::vector<float> dkt(kSize * stride), dvt(kSize * stride);
  for (int64_t b = 0; b < B; ++b) {
    transpose(k + b * T * kSize, kt.data(), T, stride);
    transpose(v + b * T * kSize, vt.data(), T, stride);
    std::fill(dkt.begin(), dkt.end(), 0.0f);
    std::fill(dvt.begin(), dvt.end(), 0.0f);
    for (int64_t t = 0; t < T; ++t) {
      const int64_t n = b * T + t, lo = begin[n], count = t + 1 - lo;
      const float* up = dout + n * H * kSize;
      products<H>(q + n * H * kSize, kt.data(), stride, lo, count, p.data(), width);
      products<H>(up, vt.data(), stride, lo, count, ds.data(), width);
      for (int h = 0; h < H; ++h) {
        float *row = p.data() + h * width, *drow = ds.data() + h * width;
        const float* mixed = out + (n * H + h) * kSize;
        float dot = 0;
        for (int i = 0; i < kSize; ++i) dot += mixed[i] * up[h * kSize + i];
        const float z = norm[n * H + h];
#pragma omp simd
        for (int64_t j = 0; j < count; ++j) {
          row[j] = exponential(row[j] - z);
          drow[j] = row[j] * (drow[j] - dot);
        }
        for (int64_t j = count; j < (count + 7) / 8 * 8; ++j) row[j] = drow[j] = 0.0f;
      }
      mix<H>(ds.data(), width, k + b * T * kSize, lo, count, dq + n * H * kSize);
      spread<H>(ds.data(), width, q + n * H * kSize, dkt.data(), stride, lo, count);
      spread<H>(p.data(), width, up, dvt.data(), stride, lo, count);
    }
    for (int64_t t = 0; t < T; ++t)
      for (int i = 0; i < kSize; ++i) {
        dk[(b * T + t) * kSize + i] = dkt[i * stride + t];
        dv[(b * T + t) * kSize + i] = dvt[i * stride + t];
      }
  }
}
}  // namespace

extern "C" {
// q, out, dout, dq: [B][T][H][32] (q already scaled); k, v: [B][T][32]; norm: [B][T][H]. H is 2 or 5.
void attention_forward(const float* q, const float* k, const float* v, const int32_t* begin, float* out, float* norm,
                       int64_t B, int64_t T, int64_t H) {
  H == 5 ? forward<5>(q, k, v, begin, out, norm, B, T) : forward<2>(q, k, v, begin, out, norm, B, T);
}

void attention_backward(const float* q, const float* k, const float* v, const int32_t* begin, const float* out,
                        const float* norm, const float* dout, float* dq, float* dk, float* dv, int64_t B, int64_t T,
                        int64_t H) {
  H == 5 ? backward<5>(q, k, v, begin, out, norm, dout, dq, dk, dv, B, T)
         : backward<2>(q, k, v, begin, out, norm, dout, dq, dk, dv, B, T);
}
}
