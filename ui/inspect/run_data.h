// Reading a run for the views: which layer and token are shown, channels of a quantity, half-lives. Pure
// functions of run and selection.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ui/inspect/inspected_run.h"
#include "ui/selection.h"
#include "ui/theme/colour_map.h"

namespace eyrie::ui {

enum class GateQuantity { recurrence, input, decay, halfLife, write };
inline constexpr int kGateQuantities = 5;

QString gateQuantityName(GateQuantity quantity);  // as on the switch: "r recurrence"
ColourMap gateColourMap(GateQuantity quantity);

std::vector<int> recurrentLayers(const engine::ModelConfig& config);
std::vector<int> attentionLayers(const engine::ModelConfig& config);  // local and global

// The layer the views show; -1 if the model has none of the kind.
int shownRecurrentLayer(const InspectedRun& run, const Selection& selection);
int shownAttentionLayer(const InspectedRun& run, const Selection& selection);
// The layer `step` places further among `layers`, ends held.
int neighbourLayer(const std::vector<int>& layers, int layerIdx, int step);

// The selected token, or the newest with a frame; -1 if nothing is recorded.
std::int64_t shownToken(const InspectedRun& run, const Selection& selection);
// First token the local window of `token` still sees; 0 while all fit, -1 without local attention.
std::int64_t windowEdge(const InspectedRun& run, std::int64_t token);

// Half-life in tokens of a channel that keeps exp(logDecay) of itself a token; 0 at a reset.
float halfLife(float logDecay);

// One value a channel; empty where the trace lacks it. `write` is the absolute value.
std::vector<float> channelValues(const InspectedRun& run, int layerIdx, GateQuantity quantity,
                                 std::int64_t token);
// Channels by half-life at `token`, longest first; empty where unknown.
std::vector<int> halfLifeOrder(const InspectedRun& run, int layerIdx, std::int64_t token);
// Channels by their mean log half-life over up to 64 recorded tokens spread over [0, upTo).
std::vector<int> meanHalfLifeOrder(const InspectedRun& run, int layerIdx, std::int64_t upTo);

// 5, 25, 50, 75, 95 % of the half-lives (summary level); empty where unknown.
std::span<const float> halfLifeQuantiles(const InspectedRun& run, int layerIdx, std::int64_t token);
// Half-life of the channel at `place` in [0,1] when the longest stands at 0: between the quantiles, by their
// logarithms.
float halfLifeAtPlace(std::span<const float> quantiles, double place);

bool recordsAnything(const InspectedRun& run);
bool recordsFull(const InspectedRun& run, int layerIdx);

}  // namespace eyrie::ui
