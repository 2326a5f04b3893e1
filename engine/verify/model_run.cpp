#include "engine/verify/model_run.h"

#include <fmt/core.h>

namespace eyrie::engine::verify {
namespace {

class Recorder final : public PrefillObserver {
 public:
  Recorder(ModelRun& run, const FrameLayout* layout) : run_(run), layout_(layout) {}
  void onLogits(std::int64_t position, std::span<const float> logits) override {
    (void)position;
    run_.logits.insert(run_.logits.end(), logits.begin(), logits.end());
  }
  void onFrame(const TraceFrame& frame) override {
    for (const TraceColumn& column : layout_->columns()) {
      std::vector<float>& values = run_.traces[column.name];
      const auto begin = frame.values.begin() + column.offset;
      values.insert(values.end(), begin, begin + column.size);
    }
  }

 private:
  ModelRun& run_;
  const FrameLayout* layout_;
};

}  // namespace

std::map<std::string, std::vector<float>> ModelRun::stateArrays() const {
  std::map<std::string, std::vector<float>> arrays;
  for (std::size_t i = 0; i < state.layers.size(); ++i) {
    const LayerState& layer = state.layers[i];
    const std::string prefix = fmt::format("layers.{}.", i);
    if (!layer.h.empty()) {
      arrays[prefix + "rg_lru.h"] = layer.h;
      arrays[prefix + "conv_1d.tail"] = layer.tail;
    } else {
      arrays[prefix + "attention.keys"] = layer.keys;
      arrays[prefix + "attention.values"] = layer.values;
    }
  }
  return arrays;
}

void feed(Model& model, SequenceState& state, std::span<const std::int32_t> tokens, const Feeding& feeding,
          const FrameLayout* layout, ModelRun& run) {
  Recorder recorder(run, layout);
  if (feeding.chunk > 0) {
    model.prefill(state, tokens, LogitRows::all, &recorder, layout, {}, feeding.chunk);
  } else {
    TraceFrame frame;
    for (const std::int32_t token : tokens) {
      const std::span<const float> logits =
          model.step(state, token, layout == nullptr ? nullptr : &frame, layout);
      if (layout != nullptr) recorder.onFrame(frame);
      recorder.onLogits(state.position() - 1, logits);
    }
  }
  run.state = state.download();
}

ModelRun runModel(Model& model, std::span<const std::int32_t> tokens, const Feeding& feeding,
                  const FrameLayout* layout) {
  ModelRun run;
  SequenceState state = model.newState();
  feed(model, state, tokens, feeding, layout, run);
  return run;
}

std::vector<float> chunkLogits(Backend& backend, const ModelConfig& config,
                               const std::vector<ChunkShare>& shares) {
  std::vector<ChunkPart> parts;
  std::int64_t T = 0;
  for (const ChunkShare& share : shares) {
    parts.push_back({share.state, share.position, share.tokens});
    T += std::ssize(share.tokens);
  }
  backend.begin(parts, {Observe::nothing, T});
  for (int layerIdx = 0; layerIdx < static_cast<int>(config.L); ++layerIdx) {
    if (config.blocks[static_cast<std::size_t>(layerIdx)] == BlockKind::recurrent)
      backend.recurrentBlock(layerIdx, Observe::nothing);
    else
      backend.attentionBlock(layerIdx, Observe::nothing);
    backend.mlpBlock(layerIdx);
  }
  backend.end();
  const auto logits = backend.head(0, T);
  return {logits.begin(), logits.end()};
}

std::vector<CheckResult> compareRuns(const std::string& name, const ModelRun& found, const ModelRun& expected,
                                     const Tolerance& logits, const Tolerance& state) {
  std::vector<CheckResult> results;
  results.push_back(compareArrays(name + " · logits", found.logits, expected.logits, logits));
  CheckResult worst =
      statement(name + " · state", found.state.position == expected.state.position, "position");
  worst.tolerance = state.limit;
  const auto arrays = found.stateArrays();
  for (const auto& [array, values] : expected.stateArrays()) {
    const auto it = arrays.find(array);
    CheckResult one =
        compareArrays(fmt::format("{} · {}", name, array),
                      it == arrays.end() ? std::span<const float>() : it->second, values, state);
    if (one.worst > worst.worst) worst = std::move(one);
  }
  results.push_back(std::move(worst));
  return results;
}

}  // namespace eyrie::engine::verify
