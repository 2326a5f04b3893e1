#include "engine/model.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

#include "engine/converted_weights.h"
#include "engine/cpu_backend.h"
#include "engine/cuda/make_cuda_backend.h"
#include "engine/error.h"
#include "engine/frame_builder.h"
#include "engine/intervention_plan.h"
#include "engine/weights.h"
#include "kernels/cuda/range.h"

namespace eyrie::engine {
namespace {

// Bounds, in floats, on what a chunk holds beside its activations.
constexpr std::int64_t kLogitFloats = std::int64_t{4} << 20;
constexpr std::int64_t kFrameFloats = std::int64_t{16} << 20;
constexpr std::int64_t kWeightFloats = std::int64_t{8} << 20;

class LoadedModel final : public Model {
 public:
  LoadedModel(std::shared_ptr<const Checkpoint> checkpoint, std::unique_ptr<Backend> backend,
              std::uint64_t stepBytes, std::optional<kernels::DType> converted)
      : checkpoint_(std::move(checkpoint)),
        config_(checkpoint_->config()),
        backend_(std::move(backend)),
        stepBytes_(stepBytes),
        converted_(converted) {}

  const ModelConfig& config() const override { return config_; }
  const Checkpoint& checkpoint() const override { return *checkpoint_; }
  std::string backendName() const override { return backend_->name(); }
  std::string backendRemark() const override { return backend_->remark(); }
  ModelSummary summary() const override { return summarise(*checkpoint_, converted_); }
  std::string fingerprint() const override;
  std::uint64_t stepBytes() const override { return stepBytes_; }
  std::int64_t maxChunk() const override { return backend_->maxChunk(); }
  SequenceState newState() const override { return {backend_->newState(), 0}; }
  SequenceState restoreState(const HostState& state) const override {
    checkState(state, config_);
    return {backend_->restoreState(state), state.position};
  }

  std::vector<float> prefill(SequenceState& state, std::span<const std::int32_t> tokens, LogitRows rows,
                             PrefillObserver* observer, const FrameLayout* trace, std::stop_token stop,
                             std::int64_t chunk) override;
  using Model::step;
  std::span<const float> step(std::span<const SequenceStep> steps, const FrameLayout* trace) override;
  using Model::predict;
  std::span<const Prediction> predict(std::span<const SequenceStep> steps, const FrameLayout* trace) override;
  std::span<const float> predictedLogits(std::int64_t which) override { return backend_->head(which, 1); }

 private:
  // A step; what it returns, its logits, is made by `head` before its frames are.
  template <typename Head>
  auto advance(std::span<const SequenceStep> steps, std::span<const kernels::DrawRule> draws,
               const FrameLayout* trace, const Head& head);
  std::int64_t chunkRows(std::int64_t position, std::int64_t wanted, const FrameLayout* trace) const;
  void checkToken(std::size_t index, std::int32_t token) const;
  void checkSteps(std::span<const SequenceStep> steps) const;
  // At most `wanted` rows on which the same interventions act.
  static std::int64_t rowsAlike(const SequenceState& state, std::int64_t wanted);
  // The layer loop. No builders: taps are off. afterLayer(layers done) says whether to go on; false: given
  // up, with states half advanced.
  template <typename AfterLayer>
  bool runChunk(std::span<const ChunkPart> parts, ChunkPlan plan, std::span<FrameBuilder> builders,
                const AfterLayer& afterLayer);
  void runLayer(int layerIdx, std::span<FrameBuilder> builders);
  // Frames of what the backend shows late.
  void buildLate(std::span<FrameBuilder> builders);
  // Of one sequence; given up, its state is as it was. `frames` is empty when taps are off.
  template <typename AfterLayer>
  bool readChunk(SequenceState& state, std::span<const std::int32_t> tokens, std::int64_t headRows,
                 const FrameLayout* trace, std::span<TraceFrame> frames, bool mayStop,
                 const AfterLayer& afterLayer);
  void report(std::int64_t firstPosition, std::int64_t rows, LogitRows wanted, std::span<TraceFrame> frames,
              PrefillObserver* observer);
  std::int64_t headSlice() const { return std::max<std::int64_t>(1, kLogitFloats / config_.V); }

  std::shared_ptr<const Checkpoint> checkpoint_;
  const ModelConfig& config_;
  std::unique_ptr<Backend> backend_;
  std::vector<EditCache> edits_{1};  // one for each sequence of a step
  struct LayerView {
    RecurrentView recurrent;
    AttentionView attention;
  };
  std::vector<Prediction> predictions_;
  std::vector<LayerView> late_;  // of each layer of the chunk begun, where views come late
  std::uint64_t stepBytes_;
  std::optional<kernels::DType> converted_;
};

// Such a model's states are not those of the original.
std::string LoadedModel::fingerprint() const {
  return converted_ ? checkpoint_->fingerprint() + "-" + summary().dtype : checkpoint_->fingerprint();
}

void LoadedModel::checkToken(std::size_t index, std::int32_t token) const {
  if (token >= 0 && token < config_.V) return;
  throw Error(ErrorCode::badArgument,
              fmt::format("token {}: expected 0 to {}, found {}", index, config_.V - 1, token));
}

void LoadedModel::checkSteps(std::span<const SequenceStep> steps) const {
  if (steps.empty() || std::ssize(steps) > maxChunk()) {
    throw Error(ErrorCode::badArgument,
                fmt::format("step: expected 1 to {} sequences, found {}", maxChunk(), steps.size()));
  }
  std::vector<const SequenceState*> states;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    checkToken(i, steps[i].token);
    states.push_back(steps[i].state);
  }
  std::sort(states.begin(), states.end());
  if (std::adjacent_find(states.begin(), states.end()) == states.end()) return;
  throw Error(ErrorCode::badArgument, "step: expected different sequences, found one of them twice");
}

// Frames and attention weights of a traced chunk are bounded: long contexts are traced in shorter chunks.
std::int64_t LoadedModel::chunkRows(std::int64_t position, std::int64_t wanted,
                                    const FrameLayout* trace) const {
  std::int64_t rows = std::min(wanted, maxChunk());
  if (trace == nullptr) return rows;
  rows = std::min(rows, kFrameFloats / std::max<std::int64_t>(1, trace->frameSize()));
  if (config_.hasKind(BlockKind::localAttention) || config_.hasKind(BlockKind::globalAttention)) {
    const bool global = config_.hasKind(BlockKind::globalAttention);
    const std::int64_t reach = position + rows;
    const std::int64_t span = global ? reach : std::min(config_.olderKeys() + 1, reach);
    rows = std::min(rows, kWeightFloats / (config_.H * span));
  }
  return std::max<std::int64_t>(1, rows);
}

std::int64_t LoadedModel::rowsAlike(const SequenceState& state, std::int64_t wanted) {
  if (state.interventions() == nullptr) return wanted;
  return std::min(wanted, state.interventions()->unchanged(state.position()).end - state.position());
}

void LoadedModel::runLayer(int layerIdx, std::span<FrameBuilder> builders) {
  Observe observe = Observe::nothing;
  for (const FrameBuilder& builder : builders) observe = std::max(observe, builder.observeLayer(layerIdx));
  const auto at = static_cast<std::size_t>(layerIdx);
  const bool late = !builders.empty() && backend_->viewsComeLate();
  if (config_.blocks[at] == BlockKind::recurrent) {
    const kernels::cuda::Range range("recurrent block");
    late_[at].recurrent = backend_->recurrentBlock(layerIdx, observe);
    if (!late) {
      for (FrameBuilder& builder : builders) builder.recurrent(layerIdx, late_[at].recurrent);
    }
  } else {
    const kernels::cuda::Range range("attention block");
    late_[at].attention = backend_->attentionBlock(layerIdx, observe);
    if (!late) {
      for (FrameBuilder& builder : builders) builder.attention(layerIdx, late_[at].attention);
    }
  }
  const kernels::cuda::Range range("MLP block");
  backend_->mlpBlock(layerIdx);
}

void LoadedModel::buildLate(std::span<FrameBuilder> builders) {
  if (builders.empty() || !backend_->viewsComeLate()) return;
  backend_->showViews();
  for (int layerIdx = 0; layerIdx < static_cast<int>(config_.L); ++layerIdx) {
    const auto at = static_cast<std::size_t>(layerIdx);
    for (FrameBuilder& builder : builders) {
      config_.blocks[at] == BlockKind::recurrent ? builder.recurrent(layerIdx, late_[at].recurrent)
                                                 : builder.attention(layerIdx, late_[at].attention);
    }
  }
}

template <typename AfterLayer>
bool LoadedModel::runChunk(std::span<const ChunkPart> parts, ChunkPlan plan, std::span<FrameBuilder> builders,
                           const AfterLayer& afterLayer) {
  late_.assign(static_cast<std::size_t>(config_.L), {});
  if (!builders.empty()) plan.observe = Observe::full;
  backend_->begin(parts, plan);
  for (int layerIdx = 0; layerIdx < static_cast<int>(config_.L); ++layerIdx) {
    runLayer(layerIdx, builders);
    const bool goOn = afterLayer(layerIdx + 1);
    if (!goOn && layerIdx + 1 < config_.L) return false;
  }
  backend_->end();
  return true;
}

template <typename AfterLayer>
bool LoadedModel::readChunk(SequenceState& state, std::span<const std::int32_t> tokens, std::int64_t headRows,
                            const FrameLayout* trace, std::span<TraceFrame> frames, bool mayStop,
                            const AfterLayer& afterLayer) {
  // Layers advance their part of the state one by one: giving up needs a copy, little beside a chunk's work.
  std::optional<SequenceState> before;
  if (mayStop) before.emplace(state.clone());
  const ChunkPart part{&state.impl(), state.position(), tokens,
                       edits_[0].at(state.interventions(), state.position())};
  std::vector<FrameBuilder> builders;
  if (!frames.empty()) builders.emplace_back(config_, *trace, part, 0, frames);
  if (!runChunk(std::span(&part, 1), {.headRows = headRows}, builders, afterLayer)) {
    if (before) state.takeBack(std::move(*before));  // always: nothing else gives up
    return false;
  }
  buildLate(builders);
  state.advance(tokens);
  return true;
}

void LoadedModel::report(std::int64_t firstPosition, std::int64_t rows, LogitRows wanted,
                         std::span<TraceFrame> frames, PrefillObserver* observer) {
  const std::int64_t slice = headSlice();
  std::span<const float> logits;
  for (std::int64_t row = 0; row < rows; ++row) {
    if (!frames.empty()) observer->onFrame(frames[static_cast<std::size_t>(row)]);
    if (wanted != LogitRows::all) continue;
    if (row % slice == 0) logits = backend_->head(row, std::min(slice, rows - row));
    const auto V = static_cast<std::size_t>(config_.V);
    observer->onLogits(firstPosition + row, logits.subspan(static_cast<std::size_t>(row % slice) * V, V));
  }
}

std::vector<float> LoadedModel::prefill(SequenceState& state, std::span<const std::int32_t> tokens,
                                        LogitRows rows, PrefillObserver* observer, const FrameLayout* trace,
                                        std::stop_token stop, std::int64_t chunk) {
  for (std::size_t i = 0; i < tokens.size(); ++i) checkToken(i, tokens[i]);
  const bool tracing = observer != nullptr && trace != nullptr && trace->frameSize() > 0;
  const LogitRows reported = observer == nullptr && rows == LogitRows::all ? LogitRows::last : rows;
  const std::int64_t wanted = chunk > 0 ? chunk : maxChunk();
  std::vector<TraceFrame> frames;
  std::size_t done = 0;
  while (done < tokens.size()) {
    if (stop.stop_requested()) return {};
    const auto left = static_cast<std::int64_t>(tokens.size() - done);
    const std::int64_t position = state.position();
    const std::int64_t alike = rowsAlike(state, std::min(left, wanted));
    const std::int64_t n = chunkRows(position, alike, tracing ? trace : nullptr);
    if (tracing) frames.resize(static_cast<std::size_t>(n));
    const bool last = rows != LogitRows::none && done + static_cast<std::size_t>(n) == tokens.size();
    const std::int64_t headRows = reported == LogitRows::all ? std::min(n, headSlice()) : last ? 1 : 0;
    const auto afterLayer = [&](int layers) {
      const double share = static_cast<double>(layers) / static_cast<double>(config_.L);
      if (observer != nullptr) observer->onWork(static_cast<double>(done) + share * static_cast<double>(n));
      return !stop.stop_requested();
    };
    if (!readChunk(state, tokens.subspan(done, static_cast<std::size_t>(n)), headRows, trace, frames,
                   stop.stop_possible(), afterLayer)) {
      return {};
    }
    done += static_cast<std::size_t>(n);
    if (tracing || reported == LogitRows::all) report(position, n, reported, frames, observer);
    if (!last) continue;
    const std::span<const float> logits = backend_->head(n - 1, 1);
    return {logits.begin(), logits.end()};
  }
  return {};
}

template <typename Head>
auto LoadedModel::advance(std::span<const SequenceStep> steps, std::span<const kernels::DrawRule> draws,
                          const FrameLayout* trace, const Head& head) {
  checkSteps(steps);
  if (edits_.size() < steps.size()) edits_.resize(steps.size());
  const bool tracing = trace != nullptr && trace->frameSize() > 0;
  std::vector<ChunkPart> parts;
  std::vector<FrameBuilder> builders;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    SequenceState& state = *steps[i].state;
    parts.push_back({&state.impl(), state.position(), std::span(&steps[i].token, 1),
                     edits_[i].at(state.interventions(), state.position())});
    if (!tracing || steps[i].frame == nullptr) continue;
    builders.emplace_back(config_, *trace, parts.back(), static_cast<std::int64_t>(i),
                          std::span(steps[i].frame, 1));
  }
  runChunk(parts, {.headRows = std::ssize(steps), .draws = draws}, builders, [](int) { return true; });
  for (const SequenceStep& step : steps) step.state->advance(std::span(&step.token, 1));
  buildLate(builders);
  return head();
}

std::span<const float> LoadedModel::step(std::span<const SequenceStep> steps, const FrameLayout* trace) {
  return advance(steps, {}, trace, [&] { return backend_->head(0, std::ssize(steps)); });
}

std::span<const Prediction> LoadedModel::predict(std::span<const SequenceStep> steps,
                                                 const FrameLayout* trace) {
  std::vector<kernels::DrawRule> draws;
  for (const SequenceStep& step : steps) draws.push_back(step.draw);
  return advance(steps, draws, trace, [&]() -> std::span<const Prediction> {
    predictions_.clear();
    for (const RankedLogits& row : backend_->ranked(0, std::ssize(steps))) predictions_.push_back({{}, row});
    if (!predictions_.empty()) return predictions_;
    const auto V = static_cast<std::size_t>(config_.V);
    const std::span<const float> logits = backend_->head(0, std::ssize(steps));
    for (std::size_t i = 0; i < steps.size(); ++i)
      predictions_.push_back({logits.subspan(i * V, V), std::nullopt});
    return predictions_;
  });
}

// Where nobody chose, the card if there is one with room for the model.
std::unique_ptr<Backend> makeBackend(std::shared_ptr<const Weights> weights, const LoadOptions& options) {
  if (options.backend == BackendKind::cuda)
    return makeCudaBackend(*weights, options.cacheFolder, options.graphs);
  if (options.backend == BackendKind::automatic && options.ops == nullptr) {
    try {
      return makeCudaBackend(*weights, options.cacheFolder, options.graphs);
    } catch (const Error& error) {
      const bool noCard = error.code() == ErrorCode::unsupported || error.code() == ErrorCode::outOfMemory ||
                          error.code() == ErrorCode::deviceFailed;
      if (!noCard) throw;
    }
  }
  const CpuOps& own = options.backend == BackendKind::reference ? referenceOps() : fastOps();
  return std::make_unique<CpuBackend>(std::move(weights), options.ops == nullptr ? own : *options.ops,
                                      options.threads, options.movedFrom);
}

}  // namespace

std::optional<kernels::DType> conversionNamed(std::string_view word) {
  if (word == "bf16") return kernels::DType::bf16;
  if (word == "f16") return kernels::DType::f16;
  if (word == "int8") return kernels::DType::int8;
  if (word == "int4") return kernels::DType::int4;
  return std::nullopt;
}

std::shared_ptr<Model> Model::load(std::shared_ptr<const Checkpoint> checkpoint, const LoadOptions& options) {
  const bool asked = options.weights && *options.weights != kernels::DType::f32;
  // Converting takes by far the longest.
  const double reading = asked ? 0.1 : 1.0;
  const auto share = [&options](double from, double part) {
    return [&options, from, part](double done) {
      if (options.progress) options.progress(from + part * done);
    };
  };
  auto weights = loadWeights(checkpoint, share(0, reading), options.stop);
  if (asked) {
    kernels::ThreadPool pool(options.threads);
    const auto kept = options.cacheFolder.empty() ? options.cacheFolder : options.cacheFolder / "weights";
    const Conversion conversion{*options.weights, kept, share(reading, 1 - reading), options.stop};
    weights = convertWeights(std::move(weights), conversion, pool);
  }
  const auto converted = weights->pages ? options.weights : std::nullopt;
  const std::uint64_t read = engine::stepBytes(*weights);
  return std::make_shared<LoadedModel>(std::move(checkpoint), makeBackend(std::move(weights), options), read,
                                       converted);
}

}  // namespace eyrie::engine
