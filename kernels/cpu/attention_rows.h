// The arithmetic of attention over one tile of keys, for a few rows of queries. Keys and values of a tile lie
// `stride` floats apart. Per row, sums are made in the same order whatever the other rows.
#pragma once

#include <cstdint>

#include "kernels/cpu/attention_tiles.h"

namespace eyrie::kernels::cpu {

// scores[m * ldScores + n] = row m of q (rows, Dh) . key n. The values are fetched on the way.
void scoreKeys(const float* q, std::int64_t rows, const KeyTile& tile, std::int64_t stride, std::int64_t Dh,
               float* scores, std::int64_t ldScores);
// out (rows, Dh) += weights[m * ldWeights + n] * value n.
void mixValues(const float* weights, std::int64_t ldWeights, std::int64_t rows, const KeyTile& tile,
               std::int64_t stride, std::int64_t Dh, float* out);
// scores <- scale * scores; returns the largest.
float scaleScores(float* scores, std::int64_t n, float scale);
// scores <- e^(scores - largest) * factor; returns the sum.
float expScores(float* scores, std::int64_t n, float largest, float factor);

}  // namespace eyrie::kernels::cpu
