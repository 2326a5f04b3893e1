// Fused forward and backward passes of the parts of a recurrent block that PyTorch runs slowly on a CPU.
// Plain C interface for ctypes; all arrays are contiguous fp32 unless a stride is given.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {
constexpr int kBlock = 32;  // width of one gate block
constexpr float kRate = 8.0f;

// exp to about 1e-7, written so that the compiler can vectorise it.
inline float exponential(float x) {
  x = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
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

inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

inline float tanh_by_exp(float x) { return 1.0f - 2.0f / (exponential(2.0f * x) + 1.0f); }

struct Gates {
  alignas(64) float input[kBlock], recurrence[kBlock], log_decay[kBlock], decay[kBlock], scale[kBlock];
};

// x: one block of a token; the gate matrices are [in][out].
inline void gates_of(const float* x, const float* wi, const float* bi, const float* wr, const float* br,
                     const float* softplus, bool first, Gates& g) {
  alignas(64) float i[kBlock], r[kBlock];
  std::memcpy(i, bi, sizeof i);
  std::memcpy(r, br, sizeof r);
  for (int k = 0; k < kBlock; ++k) {
    const float v = x[k];
#pragma omp simd
    for (int j = 0; j < kBlock; ++j) {
      i[j] += v * wi[k * kBlock + j];
      r[j] += v * wr[k * kBlock + j];
    }
  }
#pragma omp simd
  for (int j = 0; j < kBlock; ++j) {
    g.input[j] = sigmoid(i[j]);
    g.recurrence[j] = sigmoid(r[j]);
    g.log_decay[j] = -kRate * g.recurrence[j] * softplus[j];
    g.decay[j] = first ? 0.0f : exponential(g.log_decay[j]);
    // 1 - exp(2 log a), exact also where a is close to one
    const float y = 2.0f * g.log_decay[j];
    const float e = exponential(y);
    const float near_one = -y * (1.0f + y * (0.5f + y * (1.0f / 6 + y * (1.0f / 24))));
    g.scale[j] = first ? 1.0f : std::sqrt(y > -0.05f ? near_one : 1.0f - e);
  }
}
}  // namespace

extern "C" {

// x, h: [B][T][H*32]; position: [B][T], 0 where a document starts.
void rglru_forward(const float* x, const int32_t* position, const float* wi, const float* bi, const float* wr,
                   const float* br, const float* softplus, float* h, int64_t B, int64_t T, int64_t H) {
  const int64_t R = H * kBlock;
  for (int64_t b = 0; b < B; ++b)
    for (int64_t block = 0; block < H; ++block) {
      alignas(64) float state[kBlock] = {};
      const int64_t o = block * kBlock;
      Gates g;
      for (int64_t t = 0; t < T; ++t) {
        const float* in = x + (b * T + t) * R + o;
        float* out = h + (b * T + t) * R + o;
        gates_of(in, wi + o * kBlock, bi + o, wr + o * kBlock, br + o, softplus + o, position[b * T + t] == 0, g);
#pragma omp simd
        for (int j = 0; j < kBlock; ++j) {
          state[j] = g.decay[j] * state[j] + in[j] * g.input[j] * g.scale[j];
          out[j] = state[j];
        }
      }
    }
}

// Gradients; dx is written, the d-parameters are added to.
void rglru_backward(const float* x, const int32_t* position, const float* wi, const float* bi, const float* wr,
                    const float* br, const float* softplus, const float* h, const float* dh, float* dx, float* dwi,
                    float* dbi, float* dwr, float* dbr, float* dsoftplus, int64_t B, int64_t T, int64_t H) {
  const int64_t R = H * kBlock;
  std::vector<float> di(T * kBlock), dr(T * kBlock);
  alignas(64) float wit[kBlock * kBlock], wrt[kBlock * kBlock];
  for (int64_t block = 0; block < H; ++block) {
    const int64_t o = block * kBlock;
    for (int k = 0; k < kBlock; ++k)
      for (int j = 0; j < kBlock; ++j) {
        wit[j * kBlock + k] = wi[(o + k) * kBlock + j];
        wrt[j * kBlock + k] = wr[(o + k) * kBlock + j];
      }
    for (int64_t b = 0; b < B; ++b) {
      alignas(64) float carry[kBlock] = {}, dsp[kBlock] = {}, sum_i[kBlock] = {}, sum_r[kBlock] = {};
      const float zero[kBlock] = {};
      Gates g;
      for (int64_t t = T - 1; t >= 0; --t) {
        const int64_t at = (b * T + t) * R + o;
        const bool first = position[b * T + t] == 0;
        const float* in = x + at;
        const float* before = t > 0 ? h + at - R : zero;
        const float* up = dh + at;
        float* pi = di.data() + t * kBlock;
        float* pr = dr.data() + t * kBlock;
        alignas(64) float direct[kBlock];
        gates_of(in, wi + o * kBlock, bi + o, wr + o * kBlock, br + o, softplus + o, first, g);
#pragma omp simd
        for (int j = 0; j < kBlock; ++j) {
          const float d = up[j] + carry[j];
          carry[j] = d * g.decay[j];
          direct[j] = d * g.input[j] * g.scale[j];
          const float a = g.decay[j];
          // sqrt's derivative is held at 1000, as in the original training code
          const float slope = std::fmin(a * a / g.scale[j], 2000.0f * a * a);
          const float dlog = first ? 0.0f : d * before[j] * a - d * in[j] * g.input[j] * slope;
          dsp[j] += -kRate * g.recurrence[j] * dlog;
          pr[j] = -kRate * softplus[j + o] * dlog * g.recurrence[j] * (1.0f - g.recurrence[j]);
          pi[j] = d * in[j] * g.scale[j] * g.input[j] * (1.0f - g.input[j]);
          sum_i[j] += pi[j];
          sum_r[j] += pr[j];
        }
        for (int k = 0; k < kBlock; ++k) {
          const float vi = pi[k], vr = pr[k];
#pragma omp simd
          for (int j = 0; j < kBlock; ++j) direct[j] += vi * wit[k * kBlock + j] + vr * wrt[k * kBlock + j];
        }
        std::memcpy(dx + at, direct, sizeof direct);
      }
      for (int j = 0; j < kBlock; ++j) {
        dsoftplus[o + j] += dsp[j];
        dbi[o + j] += sum_i[j];
        dbr[o + j] += sum_r[j];
      }
      for (int k = 0; k < kBlock; ++k) {
        alignas(64) float acc_i[kBlock] = {}, acc_r[kBlock] = {};
        for (int64_t t = 0; t < T; ++t) {
          const float v = x[(b * T + t) * R + o + k];
          const float* pi = di.data() + t * kBlock;
          const float* pr = dr.data() + t * kBlock;
#pragma omp simd
          for (int j = 0; j < kBlock; ++j) {
            acc_i[j] += v * pi[j];
            acc_r[j] += v * pr[j];
          }
        }
        for (int j = 0; j < kBlock; ++j) {
          dwi[(o + k) * kBlock + j] += acc_i[j];
          dwr[(o + k) * kBlock + j] += acc_r[j];
        }
      }
    }
  }
}

// Causal depthwise convolution of width 4; weight [4][R], row 3 is the token itself.
// The input may be a slice: row_stride floats from one token to the next.
void conv_forward(const float* u, int64_t row_stride, const int32_t* position, const float* w, const float* bias,
                  float* y, int64_t B, int64_t T, int64_t R) {
  for (int64_t n = 0; n < B * T; ++n) {
    const int taps = position[n] < 3 ? position[n] : (n % T < 3 ? int(n % T) : 3);
    float* out = y + n * R;
    const float* in = u + n * row_stride;
#pragma omp simd
    for (int64_t j = 0; j < R; ++j) out[j] = bias[j] + w[3 * R + j] * in[j];
    for (int k = 1; k <= taps; ++k) {
      const float* old = in - k * row_stride;
      const float* row = w + (3 - k) * R;
#pragma omp simd
      for (int64_t j = 0; j < R; ++j) out[j] += row[j] * old[j];
    }
  }
}

// du has the same row stride as u and is written; dw, db are added to.
void conv_backward(const float* u, int64_t row_stride, const int32_t* position, const float* w, const float* dy,
                   float* du, int64_t du_stride, float* dw, float* db, int64_t B, int64_t T, int64_t R) {
  for (int64_t n = 0; n < B * T; ++n) {
    const float* up = dy + n * R;
    const float* in = u + n * row_stride;
    float* out = du + n * du_stride;
#pragma omp simd
    for (int64_t j = 0; j < R; ++j) {
      out[j] = w[3 * R + j] * up[j];
      db[j] += up[j];
      dw[3 * R + j] += up[j] * in[j];
    }
    const int taps = position[n] < 3 ? position[n] : (n % T < 3 ? int(n % T) : 3);
    for (int k = 1; k <= taps; ++k) {
      const float* row = w + (3 - k) * R;
      float* drow = dw + (3 - k) * R;
      const float* old = in - k * row_stride;
      float* earlier = out - k * du_stride;
#pragma omp simd
      for (int64_t j = 0; j < R; ++j) {
        earlier[j] += row[j] * up[j];
        drow[j] += up[j] * old[j];
      }
    }
  }
}

// y = gelu_tanh(g) * u; g and u may be slices.
void geglu_forward(const float* g, int64_t gs, const float* u, int64_t us, float* y, int64_t N, int64_t E) {
  for (int64_t n = 0; n < N; ++n) {
    const float* a = g + n * gs;
    const float* b = u + n * us;
    float* out = y + n * E;
#pragma omp simd
    for (int64_t j = 0; j < E; ++j) {
      const float x = a[j];
      const float t = tanh_by_exp(0.7978845608f * (x + 0.044715f * x * x * x));
      out[j] = 0.5f * x * (1.0f + t) * b[j];
    }
  }
}

void geglu_backward(const float* g, int64_t gs, const float* u, int64_t us, const float* dy, float* dg, int64_t dgs,
                    float* du, int64_t dus, int64_t N, int64_t E) {
  for (int64_t n = 0; n < N; ++n) {
    const float* a = g + n * gs;
    const float* b = u + n * us;
    const float* up = dy + n * E;
    float* da = dg + n * dgs;
    float* db = du + n * dus;
#pragma omp simd
    for (int64_t j = 0; j < E; ++j) {
      const float x = a[j];
      const float t = tanh_by_exp(0.7978845608f * (x + 0.044715f * x * x * x));
      const float half = 0.5f * (1.0f + t);
      const float slope = half + 0.5f * x * (1.0f - t * t) * 0.7978845608f * (1.0f + 0.134145f * x * x);
      db[j] = x * half * up[j];
      da[j] = slope * b[j] * up[j];
    }
  }
}

// Root-mean-square norm with factor 1 + w; r keeps 1 / rms per row.
void norm_forward(const float* x, const float* w, float* y, float* r, int64_t N, int64_t D) {
  for (int64_t n = 0; n < N; ++n) {
    const float* in = x + n * D;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < D; ++j) sum += in[j] * in[j];
    const float inverse = 1.0f / std::sqrt(sum / D + 1e-6f);
    r[n] = inverse;
    float* out = y + n * D;
#pragma omp simd
    for (int64_t j = 0; j < D; ++j) out[j] = in[j] * inverse * (1.0f + w[j]);
  }
}

void norm_backward(const float* x, const float* w, const float* r, const float* dy, float* dx, float* dw, int64_t N,
                   int64_t D) {
  for (int64_t n = 0; n < N; ++n) {
    const float* in = x + n * D;
    const float* up = dy + n * D;
    float* out = dx + n * D;
    float dot = 0;
    const float inverse = r[n];
#pragma omp simd reduction(+ : dot)
    for (int64_t j = 0; j < D; ++j) {
      dot += up[j] * (1.0f + w[j]) * in[j];
      dw[j] += up[j] * in[j] * inverse;
    }
    const float pull = dot * inverse * inverse / D;
#pragma omp simd
    for (int64_t j = 0; j < D; ++j) out[j] = inverse * (up[j] * (1.0f + w[j]) - in[j] * pull);
  }
}

// Capped cross-entropy: turns raw logits [N][V] into their gradient (times weight[n]) in place, losses into loss.
void cross_entropy(float* logits, const int64_t* target, const float* weight, float* loss, float cap, int64_t N,
                   int64_t V) {
  std::vector<float> e(V);
  for (int64_t n = 0; n < N; ++n) {
    float* row = logits + n * V;
    const float scale = cap > 0 ? 2.0f / cap : 0.0f;
    float sum = 0;
    float top = -1e30f;
    if (cap > 0) {
#pragma omp simd
      for (int64_t j = 0; j < V; ++j) row[j] = 1.0f - 2.0f / (exponential(row[j] * scale) + 1.0f);
      const float high = cap;  // capped logits never pass the cap
#pragma omp simd reduction(+ : sum)
      for (int64_t j = 0; j < V; ++j) {
        e[j] = exponential(cap * row[j] - high);
        sum += e[j];
      }
      loss[n] = std::log(sum) + high - cap * row[target[n]];
    } else {
      for (int64_t j = 0; j < V; ++j) top = row[j] > top ? row[j] : top;
      const float chosen = row[target[n]];
#pragma omp simd reduction(+ : sum)
      for (int64_t j = 0; j < V; ++j) {
        e[j] = exponential(row[j] - top);
        sum += e[j];
      }
      loss[n] = std::log(sum) + top - chosen;
    }
    const float inverse = weight[n] / sum;
    const float t = row[target[n]];
#pragma omp simd
    for (int64_t j = 0; j < V; ++j) {
      const float slope = cap > 0 ? 1.0f - row[j] * row[j] : 1.0f;
      row[j] = e[j] * inverse * slope;
    }
    row[target[n]] -= weight[n] * (cap > 0 ? 1.0f - t * t : 1.0f);
  }
}
}
