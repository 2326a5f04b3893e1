#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace eyrie::kernels::reference {
namespace {

// Row of `chunk` (T, kvHeads, Dh) or of `ring` that holds `position` of KV head `kvHead`.
const float* rowAt(const AttentionArgs& args, const float* chunk, const float* ring, std::int64_t position,
                   std::int64_t kvHead) {
  const bool inChunk = position >= args.firstPosition;
  const std::int64_t row = inChunk ? position - args.firstPosition : position % args.ring.capacity;
  return (inChunk ? chunk : ring) + (row * args.kvHeads + kvHead) * args.Dh;
}

float dot(const float* a, const float* b, std::int64_t n) {
  float sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

void softmax(std::vector<float>& scores) {
  const float largest = *std::max_element(scores.begin(), scores.end());
  float sum = 0;
  for (float& score : scores) sum += score = std::exp(score - largest);
  for (float& score : scores) score /= sum;
}

void writeWeights(const AttentionArgs& args, const std::vector<float>& scores, float* row) {
  std::fill_n(row, args.span, 0.0F);
  const auto visible = static_cast<std::int64_t>(scores.size());
  const std::int64_t shown = std::min(visible, args.span);
  std::copy_n(scores.begin() + (visible - shown), shown, row + (args.span - shown));
}

void attendOne(const AttentionArgs& args, std::int64_t t, std::int64_t head, std::vector<float>& scores) {
  const std::int64_t position = args.firstPosition + t;
  const std::int64_t first = std::max<std::int64_t>(0, position - args.older);
  const std::int64_t kvHead = head / (args.H / args.kvHeads);
  const std::int64_t queryRow = t * args.H + head;
  const float scale = 1.0F / std::sqrt(static_cast<float>(args.Dh));
  scores.resize(static_cast<std::size_t>(position - first + 1));
  for (std::int64_t s = first; s <= position; ++s) {
    const float* key = rowAt(args, args.k, args.ring.keys, s, kvHead);
    scores[static_cast<std::size_t>(s - first)] = dot(args.q + queryRow * args.Dh, key, args.Dh) * scale;
  }
  softmax(scores);
  float* out = args.out + queryRow * args.Dh;
  std::fill_n(out, args.Dh, 0.0F);
  for (std::int64_t s = first; s <= position; ++s) {
    const float* value = rowAt(args, args.v, args.ring.values, s, kvHead);
    const float weight = scores[static_cast<std::size_t>(s - first)];
    for (std::int64_t d = 0; d < args.Dh; ++d) out[d] += weight * value[d];
  }
  if (args.weights != nullptr) writeWeights(args, scores, args.weights + queryRow * args.span);
}

}  // namespace

void attention(const AttentionArgs& args) {
  std::vector<float> scores;
  for (std::int64_t t = 0; t < args.T; ++t) {
    for (std::int64_t head = 0; head < args.H; ++head) attendOne(args, t, head, scores);
  }
}

}  // namespace eyrie::kernels::reference
