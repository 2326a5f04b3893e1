// How attention walks over keys without ever holding a T x T matrix: the keys a block of queries can see, as
// runs of rows that lie one behind the other (the ring's two ends, then the chunk's own keys).
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/attention.h"

namespace eyrie::kernels::cpu {

struct KeyTile {
  const float* keys = nullptr;    // row of the first position, of one KV head
  const float* values = nullptr;  // likewise
  std::int64_t first = 0;         // position of the first key
  std::int64_t count = 0;
};

inline std::int64_t firstVisible(const AttentionArgs& args, std::int64_t position) {
  return std::max<std::int64_t>(0, position - args.older);
}

// The longest run from `position` on, at most `limit` keys and ending before position `end`.
inline KeyTile keyTileAt(const AttentionArgs& args, std::int64_t kvHead, std::int64_t position,
                         std::int64_t end, std::int64_t limit) {
  const bool inChunk = position >= args.firstPosition;
  const std::int64_t row = inChunk ? position - args.firstPosition : position % args.ring.capacity;
  const std::int64_t run =
      inChunk ? end - position
              : std::min(std::min(end, args.firstPosition) - position, args.ring.capacity - row);
  const std::int64_t offset = (row * args.kvHeads + kvHead) * args.Dh;
  return {(inChunk ? args.k : args.ring.keys) + offset, (inChunk ? args.v : args.ring.values) + offset,
          position, std::min(run, limit)};
}

}  // namespace eyrie::kernels::cpu
