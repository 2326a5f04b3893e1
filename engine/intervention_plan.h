// Interventions checked against one model, and what they come to at one position: the form that backends
// read.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/config.h"
#include "engine/interventions.h"
#include "kernels/rg_lru.h"

namespace eyrie::engine {

// Columns first..end-1 of every row become value, or value times themselves.
struct ColumnEdit {
  InterventionAction action = InterventionAction::set;
  float value = 0;
  std::int64_t first = 0;
  std::int64_t end = 0;
};

// rows: (T, width). In the order given.
void editColumns(const std::vector<ColumnEdit>& edits, float* rows, std::int64_t T, std::int64_t width);

// The arrays of kernels::RgLruOverrides, (R) each; empty where no rule acts in the recurrence.
struct ScanEdits {
  struct Channels {
    std::vector<float> scale;
    std::vector<float> offset;
  };
  Channels recurrenceGate, inputGate, logDecay, multiplier, state;

  bool empty() const { return state.scale.empty(); }
  kernels::RgLruOverrides view() const;
};

struct LayerEdits {
  ScanEdits scan;
  std::vector<ColumnEdit> conv;      // (T, R): the convolution's output
  std::vector<ColumnEdit> heads;     // (T, H Dh): mixed values before o_proj
  std::vector<ColumnEdit> temporal;  // (T, D): what the temporal block adds
  std::vector<ColumnEdit> mlp;       // (T, D): what the MLP adds
  std::int64_t older = -1;           // keys before its own that a query sees; -1: as the configuration says
};

// What acts at every position first..end-1; `layers` has L entries.
struct ChunkEdits {
  std::uint64_t serial = 0;  // its copies', and nobody else's in this process
  IndexRange positions;
  std::vector<LayerEdits> layers;
};

// Keys before its own that a query of an attention layer sees at most: what the configuration says, or an
// intervention. kAllKeys where attention is global.
inline constexpr std::int64_t kAllKeys = std::int64_t{1} << 60;
std::int64_t olderKeys(const ModelConfig& config, int layerIdx, const ChunkEdits* edits);

// Immutable, shared by the states it acts on.
class InterventionPlan {
 public:
  // Throws Error(badArgument) naming the rule: a layer, channel or head that the model does not have, a
  // target that none of its layers has, a window larger than the model's.
  InterventionPlan(Interventions rules, const ModelConfig& config);

  const Interventions& rules() const { return rules_; }
  // Positions around `position` at which the same rules act.
  IndexRange unchanged(std::int64_t position) const;
  ChunkEdits at(std::int64_t position) const;

 private:
  Interventions rules_;
  ModelConfig config_;
};

// No rules without a plan.
const Interventions& rulesOf(const std::shared_ptr<const InterventionPlan>& plan);

// Null for no rules, so that nothing is asked about them later. Throws as InterventionPlan does.
std::shared_ptr<const InterventionPlan> planInterventions(const Interventions& rules,
                                                          const ModelConfig& config);

// The edits of the chunk being read, kept while the same plan goes on unchanged. One thread.
class EditCache {
 public:
  // Null where no rule acts at `position`. Valid until the next call.
  const ChunkEdits* at(const std::shared_ptr<const InterventionPlan>& plan, std::int64_t position);

 private:
  std::shared_ptr<const InterventionPlan> plan_;
  ChunkEdits edits_;
};

}  // namespace eyrie::engine
