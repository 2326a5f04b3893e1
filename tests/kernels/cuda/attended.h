// What the tests of attention on a card share: sequences, and chunks of them attended to through a ring.
#pragma once

#include "tests/kernels/cuda/cuda_test.h"

namespace eyrie::kernels::test {

// Whole sequences; a chunk or a token of one is attended to through a ring of what came before.
struct Sequence {
  std::int64_t total, H, kvHeads, Dh;
  std::vector<float> q, k, v;

  Sequence(std::int64_t length, std::int64_t heads, std::int64_t kv, std::int64_t width,
           std::uint32_t seed = 71)
      : total(length),
        H(heads),
        kvHeads(kv),
        Dh(width),
        q(randomVector(total * H * Dh, seed)),
        k(randomVector(total * kvHeads * Dh, seed + 1)),
        v(randomVector(total * kvHeads * Dh, seed + 2)) {}
};

struct Result {
  std::vector<float> out, weights;
};

// Positions [first, first + T) of `s`; the ring was full of NaN before (trap 25).
template <class Run>
Result attended(const Sequence& s, std::int64_t first, std::int64_t T, std::int64_t older,
                std::int64_t capacity, std::int64_t span, Run run) {
  const std::int64_t rowSize = s.kvHeads * s.Dh;
  std::vector<float> keys(asSize(capacity * rowSize), NAN);
  std::vector<float> values = keys;
  const KvRing ring{keys.data(), values.data(), capacity};
  if (capacity > 0) ringAppend({s.k.data(), s.v.data(), ring, 0, first, s.kvHeads, s.Dh});
  Result result{std::vector<float>(asSize(T * s.H * s.Dh), NAN),
                std::vector<float>(asSize(T * s.H * span), NAN)};
  run(AttentionArgs{s.q.data() + first * s.H * s.Dh, s.k.data() + first * rowSize,
                    s.v.data() + first * rowSize, ring, first, older, T, s.H, s.kvHeads, s.Dh,
                    result.out.data(), span > 0 ? result.weights.data() : nullptr, span});
  return result;
}

inline void plainly(const AttentionArgs& args) {
  reference::attention(args);
}

}  // namespace eyrie::kernels::test
