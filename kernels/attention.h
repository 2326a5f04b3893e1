// Multi-query / grouped local attention over a ring of older keys plus the chunk's own keys.
// A query at position p sees keys at positions max(0, p - older) .. p. REFERENCE §1.2; traps 22-26.
#pragma once

#include <cstdint>

namespace eyrie::kernels {

class ThreadPool;

// Keys and values of earlier positions; position s lives in slot s mod capacity. Keys are stored after RoPE.
struct KvRing {
  float* keys = nullptr;    // (capacity, kvHeads, Dh)
  float* values = nullptr;  // (capacity, kvHeads, Dh)
  std::int64_t capacity = 0;
};

struct AttentionArgs {
  const float* q = nullptr;  // (T, H, Dh) after RoPE, not yet scaled
  const float* k = nullptr;  // (T, kvHeads, Dh) after RoPE: the chunk's own keys
  const float* v = nullptr;  // (T, kvHeads, Dh)
  KvRing ring;  // positions before firstPosition; read only here; never-written slots are not read
  std::int64_t firstPosition = 0;
  std::int64_t older = 0;  // how many keys before its own a query sees (W for DeepMind counting, W-1 for hf);
                           // ring.capacity >= min(older, firstPosition)
  std::int64_t T = 0;
  std::int64_t H = 0;
  std::int64_t kvHeads = 0;  // divides H; query head h uses KV head h / (H / kvHeads)
  std::int64_t Dh = 0;
  float* out = nullptr;  // (T, H, Dh); must not overlap q, k, v
  // Optional (T, H, span): column span-1 is the token itself, span-1-j the token j back, 0 where there is
  // none.
  float* weights = nullptr;
  std::int64_t span = 0;
};

struct RingAppendArgs {
  const float* k = nullptr;  // (T, kvHeads, Dh)
  const float* v = nullptr;
  KvRing ring;  // written: the last min(T, capacity) rows
  std::int64_t firstPosition = 0;
  std::int64_t T = 0;
  std::int64_t kvHeads = 0;
  std::int64_t Dh = 0;
};

namespace reference {
void attention(const AttentionArgs& args);
}
namespace cpu {
void attention(const AttentionArgs& args, ThreadPool& pool);
}
// A copy: the same for every CPU implementation.
void ringAppend(const RingAppendArgs& args);

}  // namespace eyrie::kernels
