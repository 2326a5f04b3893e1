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
#include "kernels/pages.h"

namespace eyrie::engine {

struct RecurrentWeights {
  kernels::MatrixView linearX;         // (R, D)
  kernels::MatrixView linearY;         // (R, D)
  kernels::MatrixView linearOut;       // (D, R)
  kernels::MatrixView inputGate;       // (R, channels / gateBlocks): blocks [in][out]
  kernels::MatrixView recurrenceGate;  // likewise
  std::vector<float> linearXBias;      // (R)
  std::vector<float> linearYBias;      // (R)
  std::vector<float> linearOutBias;    // (D)
  std::vector<float> convWeight;       // (K, R), row K-1 for the current token
  std::vector<float> convBias;         // (R)
  std::vector<float> inputGateBias;    // (channels)
  std::vector<float> recurrenceGateBias;
  std::vector<float> decayRate;  // (channels): 8 softplus(p), folded in f32 (trap 47)
  std::vector<float> angleRate;  // (channels); empty unless the RG-LRU is complex
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

// Immutable after load. Keeps the checkpoint, and so its mappings, alive. Matrices that were converted
// (converted_weights.h) or moved (weight_mover.h) lie in `pages`.
struct Weights {
  std::shared_ptr<const Checkpoint> checkpoint;
  kernels::MatrixView embedding;  // (V, D)
  kernels::MatrixView head;       // (V, D): the embedding itself unless an untied lm_head differs (trap 19)
  std::vector<float> finalNorm;   // (D)
  std::vector<LayerWeights> layers;
  // Matrices that lie transposed in their file, and views point to.
  std::vector<std::shared_ptr<const std::vector<std::byte>>> turned;
  std::shared_ptr<const kernels::Pages> pages;
};

// The large matrices of a layer, in the order in which a step reads them. Not the gates.
std::vector<kernels::MatrixView*> largeMatrices(LayerWeights& layer);
// The matrices that may be stored in fewer bits, in the order in which a step reads them: all but the
// embedding, of which a step reads one row, and the gates (traps 37, 38).
std::vector<kernels::MatrixView*> convertibleMatrices(Weights& weights);
// These bytes are not needed in memory for now, if they lie in a mapped file (Checkpoint::dropPages).
void letGo(const Checkpoint& checkpoint, const kernels::MatrixView& matrix);
// What one step reads of the weights: everything but the embedding table.
std::uint64_t stepBytes(const Weights& weights);

// Converts the small vectors; big matrices are not read, but for those that lie transposed in their file
// (DeepMind's layout), which are copied. Throws Error.
std::shared_ptr<const Weights> loadWeights(std::shared_ptr<const Checkpoint> checkpoint,
                                           const std::function<void(double fraction)>& progress = {},
                                           std::stop_token stop = {});

}  // namespace eyrie::engine
