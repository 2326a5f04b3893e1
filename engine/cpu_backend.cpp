#include "engine/cpu_backend.h"

#include <fmt/core.h>
#include <hwy/detect_targets.h>
#include <hwy/targets.h>

#include <algorithm>

namespace eyrie::engine {
namespace {

// Rows of a prefill chunk: enough for reading, widening and packing the weights to cost little beside the
// products.
constexpr std::int64_t kChunkRows = 512;
// Waking the pool costs microseconds, on a busy machine a time slice: below this many operations (some 0.1
// ms) the calling thread does the work alone, so a decode step of a model of a few million parameters never
// waits.
constexpr double kWorthThreads = 2e6;

std::size_t count(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

const float* pointerOf(const std::vector<float>& values) {
  return values.empty() ? nullptr : values.data();
}

void atLeast(std::vector<float>& buffer, std::int64_t size) {
  if (buffer.size() < count(size)) buffer.resize(count(size));
}

}  // namespace

CpuBackend::CpuBackend(std::shared_ptr<const Weights> weights, const CpuOps& ops, int threads,
                       std::uint64_t movedFrom)
    : weights_(std::move(weights)),
      mover_(weights_, movedFrom),
      config_(weights_->checkpoint->config()),
      ops_(ops),
      pool_(threads) {}

std::string CpuBackend::name() const {
  if (&ops_ == &referenceOps()) return "reference";
  const std::int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  const char* best = hwy::TargetName(targets & -targets);
  return fmt::format("cpu · {} · {} thread{}", best, pool_.size(), pool_.size() == 1 ? "" : "s");
}

std::int64_t CpuBackend::maxChunk() const {
  return kChunkRows;
}

std::unique_ptr<BackendState> CpuBackend::newState() const {
  return std::make_unique<CpuState>(config_, pool_.size());
}

std::unique_ptr<BackendState> CpuBackend::restoreState(const HostState& state) const {
  auto restored = std::make_unique<CpuState>(config_, pool_.size());
  restored->restore(state);
  return restored;
}

kernels::ThreadPool& CpuBackend::poolFor(double flops) {
  return flops < kWorthThreads ? alone_ : pool_;
}

const LayerEdits* CpuBackend::Part::layerEdits(int layerIdx) const {
  return edits == nullptr ? nullptr : &edits->layers[count(layerIdx)];
}

void CpuBackend::edit(int layerIdx, Columns columns, float* rows, std::int64_t width) const {
  for (const Part& part : parts_) {
    const LayerEdits* edits = part.layerEdits(layerIdx);
    if (edits != nullptr) editColumns(edits->*columns, rows + part.firstRow * width, part.T, width);
  }
}

// The longest of the chunk's sequences.
std::int64_t CpuBackend::visibleSpan(std::int64_t layerIdx) const {
  std::int64_t keys = 0;
  for (const Part& part : parts_) keys = std::max(keys, part.position + part.T);
  const bool local = config_.blocks[count(layerIdx)] == BlockKind::localAttention;
  return local ? std::min(config_.olderKeys() + 1, keys) : keys;
}

void CpuBackend::reserve(const ChunkPlan& plan) {
  Scratch& s = scratch_;
  const std::int64_t temporal = std::max(config_.R, config_.H * config_.Dh);
  for (auto* buffer : {&s.hidden, &s.normed}) atLeast(*buffer, T_ * config_.D);
  for (auto* buffer : {&s.a, &s.b}) atLeast(*buffer, T_ * std::max(2 * temporal, config_.E));
  s.c = s.a.data() + T_ * temporal;
  s.d = s.b.data() + T_ * temporal;
  atLeast(s.logits, plan.headRows * config_.V);
  if (plan.observe == Observe::nothing) return;
  for (std::int64_t layerIdx = 0; layerIdx < config_.L; ++layerIdx) {
    if (config_.blocks[count(layerIdx)] == BlockKind::recurrent) {
      for (auto& tap : s.taps) atLeast(tap, T_ * config_.R);
    } else {
      atLeast(s.weights, T_ * config_.H * visibleSpan(layerIdx));
    }
  }
}

void CpuBackend::begin(std::span<const ChunkPart> parts, const ChunkPlan& plan) {
  parts_.clear();
  T_ = 0;
  for (const ChunkPart& from : parts) {
    const auto T = static_cast<std::int64_t>(from.tokens.size());
    auto* state = static_cast<CpuState*>(from.state);
    state->grow(T);
    parts_.push_back({state, from.position, T_, T, from.edits});
    T_ += T;
  }
  reserve(plan);
  const float scale = config_.scaleEmbedding ? kernels::embeddingScale(config_.D) : 1.0F;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    float* rows = scratch_.hidden.data() + parts_[i].firstRow * config_.D;
    ops_.embed({weights_->embedding, parts[i].tokens.data(), scale, parts_[i].T, rows}, alone_);
  }
  forgetRows();
}

// With each row that is read for the first time the system maps its surroundings in the file too: in time the
// whole table.
void CpuBackend::forgetRows() {
  constexpr std::int64_t kRows = 256;
  const kernels::MatrixView& table = weights_->embedding;
  rowsRead_ += T_;
  if (rowsRead_ < kRows || table.data == mover_.head().data) return;
  letGo(*weights_->checkpoint, table);
  rowsRead_ = 0;
}

void CpuBackend::norm(const std::vector<float>& weight) {
  ops_.rmsNorm(
      {scratch_.hidden.data(), weight.data(), config_.normEps, T_, config_.D, scratch_.normed.data()},
      poolFor(4.0 * static_cast<double>(T_ * config_.D)));
}

void CpuBackend::linear(const float* x, const kernels::MatrixView& weight, const std::vector<float>& bias,
                        float* out) {
  ops_.linear({x, weight, pointerOf(bias), T_, out, severalSequences()},
              poolFor(2.0 * static_cast<double>(T_) * static_cast<double>(weight.rows * weight.cols)));
}

void CpuBackend::addToHidden() {
  const std::int64_t n = T_ * config_.D;
  float* hidden = scratch_.hidden.data();
  const float* added = scratch_.normed.data();
  for (std::int64_t i = 0; i < n; ++i) hidden[i] += added[i];
}

void CpuBackend::gates(const RecurrentWeights& w, const float* c, float* inputPre, float* recurrencePre) {
  const std::int64_t G = config_.gateBlocks;
  const std::int64_t B = config_.R / G;
  kernels::ThreadPool& pool = poolFor(2.0 * static_cast<double>(T_ * config_.channels() * B));
  const bool alone = severalSequences();
  ops_.blockLinear({c, w.inputGate, w.inputGateBias.data(), T_, G, B, inputPre, alone}, pool);
  ops_.blockLinear({c, w.recurrenceGate, w.recurrenceGateBias.data(), T_, G, B, recurrencePre, alone}, pool);
}

// Where the rows from `firstRow` on are shown. Gates have C values a row, what is written and kept R.
kernels::RgLruTaps CpuBackend::tapBuffers(Observe observe, std::int64_t firstRow) {
  kernels::RgLruTaps taps;
  if (observe == Observe::nothing) return taps;
  const std::int64_t gate = firstRow * config_.channels();
  taps.recurrenceGate = scratch_.taps[0].data() + gate;
  taps.inputGate = scratch_.taps[1].data() + gate;
  taps.logDecay = scratch_.taps[2].data() + gate;
  taps.write = scratch_.taps[3].data() + firstRow * config_.R;
  taps.keep = scratch_.taps[4].data() + firstRow * config_.R;
  if (observe == Observe::full) taps.decay = scratch_.taps[5].data() + gate;
  return taps;
}

// In: c the convolution's output, d and b the gates' sums. Out: the state after each token in c.
void CpuBackend::scan(const RecurrentWeights& w, const Part& part, int layerIdx, Observe observe) {
  const std::int64_t first = part.firstRow * config_.R;
  kernels::RgLruArgs args;
  args.x = scratch_.c + first;
  args.inputPre = scratch_.d + first;
  args.recurrencePre = scratch_.b.data() + first;
  args.decayRate = w.decayRate.data();
  args.state = part.state->layer(layerIdx).h.data();
  args.startsSequence = part.position == 0;
  args.T = part.T;
  args.R = config_.R;
  args.out = scratch_.c + first;
  args.taps = tapBuffers(observe, part.firstRow);
  const LayerEdits* edits = part.layerEdits(layerIdx);
  kernels::RgLruOverrides overrides;
  if (edits != nullptr && !edits->scan.empty()) {
    overrides = edits->scan.view();
    args.overrides = &overrides;
  }
  // Sigmoids, exponential and square root count as about 64 operations a channel.
  ops_.rgLru(args, poolFor(64.0 * static_cast<double>(part.T * config_.R)));
}

// Likewise, where c is two halves of parts.
void CpuBackend::complexScan(const RecurrentWeights& w, const Part& part, int layerIdx, Observe observe) {
  const std::int64_t first = part.firstRow * config_.R;
  const std::int64_t gate = part.firstRow * config_.channels();
  const kernels::RgLruTaps taps = tapBuffers(observe, part.firstRow);
  kernels::ComplexRgLruArgs args;
  args.x = scratch_.c + first;
  args.inputPre = scratch_.d + gate;
  args.recurrencePre = scratch_.b.data() + gate;
  args.decayRate = w.decayRate.data();
  args.angleRate = w.angleRate.data();
  args.state = part.state->layer(layerIdx).h.data();
  args.startsSequence = part.position == 0;
  args.T = part.T;
  args.C = config_.channels();
  args.out = scratch_.c + first;
  args.taps = {taps.recurrenceGate, taps.inputGate, taps.logDecay, taps.decay, nullptr,
               taps.write,          taps.keep};
  if (observe == Observe::full) args.taps.angle = scratch_.taps[6].data() + gate;
  // Sine and cosine are added to a real channel's work.
  ops_.complexRgLru(args, poolFor(96.0 * static_cast<double>(args.T * args.C)));
}

RecurrentView CpuBackend::recurrentBlock(int layerIdx, Observe observe) {
  const LayerWeights& layer = mover_.layer(count(layerIdx));
  const RecurrentWeights& w = layer.recurrent;
  Scratch& s = scratch_;
  norm(layer.temporalNorm);
  linear(s.normed.data(), w.linearY, w.linearYBias, s.a.data());
  linear(s.normed.data(), w.linearX, w.linearXBias, s.b.data());
  const double channels = static_cast<double>(T_ * config_.R);
  for (const Part& part : parts_) {
    const std::int64_t first = part.firstRow * config_.R;
    ops_.conv1d({s.b.data() + first, part.state->layer(layerIdx).tail.data(), w.convWeight.data(),
                 w.convBias.data(), part.T, config_.R, config_.K, s.c + first},
                poolFor(8.0 * static_cast<double>(part.T * config_.R)));
  }
  edit(layerIdx, &LayerEdits::conv, s.c, config_.R);
  gates(w, s.c, s.d, s.b.data());
  const bool complex = config_.rgLru == RgLru::complex;
  for (const Part& part : parts_) {
    if (complex) {
      complexScan(w, part, layerIdx, observe);
    } else {
      scan(w, part, layerIdx, observe);
    }
  }
  // Not in place: c stays the state that `observe` shows.
  ops_.gatedActivation({s.a.data(), s.c, T_ * config_.R, config_.activation, s.b.data()},
                       poolFor(16.0 * channels));
  linear(s.b.data(), w.linearOut, w.linearOutBias, s.normed.data());
  edit(layerIdx, &LayerEdits::temporal, s.normed.data(), config_.D);
  addToHidden();
  if (observe == Observe::nothing) return {};
  RecurrentView view{s.taps[0].data(), s.taps[1].data(), s.taps[2].data(), nullptr,
                     nullptr,          s.taps[3].data(), s.taps[4].data(), s.c};
  if (observe == Observe::full) {
    view.decay = s.taps[5].data();
    if (complex) view.angle = s.taps[6].data();
  }
  return view;
}

double CpuBackend::attentionFlops(const Part& part, int layerIdx) const {
  const std::int64_t visible = std::min(olderKeys(config_, layerIdx, part.edits), part.position + part.T);
  return 4.0 * static_cast<double>(part.T * config_.H * config_.Dh) * static_cast<double>(visible);
}

// In: a queries, b keys, c values, all before RoPE. Out: d; the ring holds the part's keys.
void CpuBackend::attendPart(const Part& part, int layerIdx, const AttentionView& view,
                            kernels::ThreadPool& pool) {
  const std::int64_t T = part.T;
  float* q = scratch_.a.data() + part.firstRow * config_.H * config_.Dh;
  float* k = scratch_.b.data() + part.firstRow * config_.kvHeads * config_.Dh;
  const float* v = scratch_.c + part.firstRow * config_.kvHeads * config_.Dh;
  ops_.rope({q, part.position, config_.ropeTheta, T, config_.H, config_.Dh, config_.rotary}, pool);
  ops_.rope({k, part.position, config_.ropeTheta, T, config_.kvHeads, config_.Dh, config_.rotary}, pool);
  kernels::AttentionArgs args;
  args.q = q;
  args.k = k;
  args.v = v;
  args.ring = part.state->ring(layerIdx);
  args.firstPosition = part.position;
  args.older = olderKeys(config_, layerIdx, part.edits);
  args.T = T;
  args.H = config_.H;
  args.kvHeads = config_.kvHeads;
  args.Dh = config_.Dh;
  args.out = scratch_.d + part.firstRow * config_.H * config_.Dh;
  if (view.weights != nullptr) {
    args.weights = scratch_.weights.data() + part.firstRow * config_.H * view.span;
    args.span = view.span;
  }
  ops_.attention(args, pool);
  if (args.ring.capacity > 0) {
    kernels::ringAppend({k, v, args.ring, part.position, T, config_.kvHeads, config_.Dh});
  }
}

// One sequence's heads or queries are shared out among the threads; of several, each thread takes whole ones,
// which so reads every key once.
void CpuBackend::attend(int layerIdx, const AttentionView& view) {
  double flops = 0;
  for (const Part& part : parts_) flops += attentionFlops(part, layerIdx);
  kernels::ThreadPool& pool = poolFor(flops);
  if (parts_.size() == 1) return attendPart(parts_.front(), layerIdx, view, pool);
  pool.parallelFor(std::ssize(parts_), 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) attendPart(parts_[count(i)], layerIdx, view, alone_);
  });
}

AttentionView CpuBackend::attentionBlock(int layerIdx, Observe observe) {
  const LayerWeights& layer = mover_.layer(count(layerIdx));
  const AttentionWeights& w = layer.attention;
  Scratch& s = scratch_;
  AttentionView view;
  if (observe != Observe::nothing) {
    view.span = visibleSpan(layerIdx);
    view.weights = s.weights.data();
  }
  norm(layer.temporalNorm);
  static const std::vector<float> noBias;
  linear(s.normed.data(), w.q, noBias, s.a.data());
  linear(s.normed.data(), w.k, noBias, s.b.data());
  linear(s.normed.data(), w.v, noBias, s.c);
  attend(layerIdx, view);
  edit(layerIdx, &LayerEdits::heads, s.d, config_.H * config_.Dh);
  linear(s.d, w.o, w.oBias, s.normed.data());
  edit(layerIdx, &LayerEdits::temporal, s.normed.data(), config_.D);
  addToHidden();
  return view;
}

void CpuBackend::mlpBlock(int layerIdx) {
  const LayerWeights& layer = mover_.layer(count(layerIdx));
  const MlpWeights& w = layer.mlp;
  Scratch& s = scratch_;
  norm(layer.channelNorm);
  linear(s.normed.data(), w.gate, w.gateBias, s.a.data());
  linear(s.normed.data(), w.up, w.upBias, s.b.data());
  ops_.gatedActivation({s.a.data(), s.b.data(), T_ * config_.E, config_.activation, s.b.data()},
                       poolFor(16.0 * static_cast<double>(T_ * config_.E)));
  linear(s.b.data(), w.down, w.downBias, s.normed.data());
  edit(layerIdx, &LayerEdits::mlp, s.normed.data(), config_.D);
  addToHidden();
}

std::span<const float> CpuBackend::head(std::int64_t firstRow, std::int64_t rows) {
  Scratch& s = scratch_;
  const std::int64_t n = rows * config_.V;
  const std::int64_t offset = firstRow * config_.D;
  ops_.rmsNorm({s.hidden.data() + offset, weights_->finalNorm.data(), config_.normEps, rows, config_.D,
                s.normed.data() + offset},
               poolFor(4.0 * static_cast<double>(rows * config_.D)));
  const double products = static_cast<double>(n) * static_cast<double>(config_.D);
  ops_.linear({s.normed.data() + offset, mover_.head(), nullptr, rows, s.logits.data(), severalSequences()},
              poolFor(2 * products));
  ops_.softCap({s.logits.data(), n, config_.logitsSoftCap}, poolFor(32.0 * static_cast<double>(n)));
  return {s.logits.data(), count(n)};
}

void CpuBackend::end() {
  for (const Part& part : parts_) part.state->advance(part.T);
}

}  // namespace eyrie::engine
