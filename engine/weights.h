// A checkpoint's tensors as the kernels want them: matrices where they are mapped, small vectors as f32
// copies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <vector>

#include "engine/checkpoint/checkpoint.h"

namespace eyrie::engine {

struct RecurrentWeights {
  kernels::MatrixView linearX;         // (R, D)
  kernels::MatrixView linearY;         // (R, D)
  kernels::MatrixView linearOut;       // (D, R)
  kernels::MatrixView inputGate;       // (R, R / gateBlocks): blocks [in][out]
  kernels::MatrixView recurrenceGate;  // likewise
  std::vector<float> linearXBias;      // (R)
  std::vector<float> linearYBias;      // (R)
  std::vector<float> linearOutBias;    // (D)
  std::vector<float> convWeight;       // (K, R), row K-1 for the current token
  std::vector<float> convBias;         // (R)
  std::vector<float> inputGateBias;    // (R)
  std::vector<float> recurrenceGateBias;
  std::vector<float> decayRate;  // (R): 8 softplus(p), folded in f32 (trap 47)
};

struct AttentionWeights {
  kernels::MatrixView q;     // (H Dh, D)
  kernels::MatrixView k;     // (kvHeads Dh, D)
  kernels::MatrixView v;     // (kvHeads Dh, D)
  kernels::MatrixView o;     // (D, H Dh)
  std::vector<float> oBias;  // (D)
};

struct MlpWeights {
  kernels::MatrixView gate;  // (E, D)
  kernels::MatrixView up;    // (E, D)
  kernels::MatrixView down;  // (D, E)
  std::vector<float> gateBias;
  std::vector<float> upBias;
  std::vector<float> downBias;
};

struct LayerWeights {
  std::vector<float> temporalNorm;  // (D): w of (1 + w)
  std::vector<float> channelNorm;   // (D)
  RecurrentWeights recurrent;       // empty in attention layers
  AttentionWeights attention;       // empty in recurrent layers
  MlpWeights mlp;
};

// Immutable after load. Keeps the checkpoint, and so its mappings, alive.
struct Weights {
  std::shared_ptr<const Checkpoint> checkpoint;
  kernels::MatrixView embedding;  // (V, D)
  kernels::MatrixView head;       // (V, D): the embedding itself unless an untied lm_head differs (trap 19)
  std::vector<float> finalNorm;   // (D)
  std::vector<LayerWeights> layers;
  std::vector<std::vector<std::byte>>
      turned;  // matrices that lie transposed in their file, and views point to
};

// Converts the small vectors; big matrices are not read, but for those that lie transposed in their file
// (DeepMind's layout), which are copied. Throws Error.
std::shared_ptr<const Weights> loadWeights(std::shared_ptr<const Checkpoint> checkpoint,
                                           const std::function<void(double fraction)>& progress = {},
                                           std::stop_token stop = {});

}  // namespace eyrie::engine
