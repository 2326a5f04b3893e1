// The temporal blocks on the card: of single tokens, fused, and of chunks.
#include <algorithm>

#include "engine/cuda/cuda_backend.h"

namespace eyrie::engine {
namespace {

namespace cuda = kernels::cuda;
using cuda::floatBytes;

// From so many queries on, whole tiles of tensor cores pay.
constexpr std::int64_t kTensorQueries = 16;

std::size_t count(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

}  // namespace

void CudaBackend::stepRecurrent(int layerIdx) {
  const CudaLayerWeights& w = weights_.layer(layerIdx);
  Scratch& s = scratch_;
  multiply({s.hidden.as<float>(), w.temporalNorm},
           {{w.linearY, w.linearYBias, s.a.as<float>()}, {w.linearX, w.linearXBias, s.b.as<float>()}},
           chunk_.T);
  cuda::RecurrentStepArgs args;
  args.x = s.b.as<float>();
  args.y = s.a.as<float>();
  args.convWeight = w.convWeight;
  args.convBias = w.convBias;
  args.inputGate = w.inputGate.view;
  args.recurrenceGate = w.recurrenceGate.view;
  args.inputGateBias = w.inputGateBias;
  args.recurrenceGateBias = w.recurrenceGateBias;
  args.decayRate = w.decayRate;
  args.activation = config_->activation;
  args.convRings = inputs_.first + layerIdx * chunk_.sequences;
  args.states = inputs_.second + layerIdx * chunk_.sequences;
  args.positions = inputs_.positions;
  args.N = chunk_.T;
  args.R = config_->R;
  args.G = config_->gateBlocks;
  args.K = config_->K;
  args.out = s.c.as<float>();
  if (isComplex()) {
    cuda::complexRecurrentStep(
        {args, w.angleRate, observed_ ? stepTaps_.complex(layerIdx) : kernels::ComplexRgLruTaps{}}, *stream_);
  } else {
    if (observed_) args.taps = stepTaps_.real(layerIdx);
    cuda::recurrentStep(args, *stream_);
  }
  multiply({s.c.as<float>()}, {{w.linearOut, w.linearOutBias, s.hidden.as<float>(), true}}, chunk_.T);
}

void CudaBackend::stepAttention(int layerIdx) {
  const CudaLayerWeights& w = weights_.layer(layerIdx);
  Scratch& s = scratch_;
  const ModelConfig& c = *config_;
  multiply(
      {s.hidden.as<float>(), w.temporalNorm},
      {{w.q, nullptr, s.a.as<float>()}, {w.k, nullptr, s.b.as<float>()}, {w.v, nullptr, s.c.as<float>()}},
      chunk_.T);
  const cuda::KvRings rings{inputs_.first + layerIdx * chunk_.sequences,
                            inputs_.second + layerIdx * chunk_.sequences, ringCapacity(chunk_, layerIdx),
                            inputs_.positions};
  cuda::ropeAppend({s.a.as<float>(), s.b.as<float>(), s.c.as<float>(), s.angles.as<float>(), rings, chunk_.T,
                    c.H, c.kvHeads, c.Dh, c.rotary},
                   *stream_);
  cuda::DecodeAttentionArgs args;
  args.q = s.a.as<float>();
  args.rings = rings;
  args.older = olderKeys(c, layerIdx, nullptr);
  args.N = chunk_.T;
  args.H = c.H;
  args.kvHeads = c.kvHeads;
  args.Dh = c.Dh;
  args.splits = splitsOf(chunk_, layerIdx);
  args.workspace = s.workspace.as<float>();
  args.out = s.d.as<float>();
  if (observed_) {
    args.weights = stepTaps_.weights(layerIdx);
    args.span = stepTaps_.span(layerIdx);
    args.summary = stepTaps_.attentionSummary(layerIdx);
  }
  cuda::decodeAttention(args, *stream_);
  multiply({s.d.as<float>()}, {{w.o, w.oBias, s.hidden.as<float>(), true}}, chunk_.T);
}

// In: c the convolution's output. Out: d and b the gates' sums, input and recurrence.
void CudaBackend::gates(const CudaLayerWeights& w) {
  Scratch& s = scratch_;
  const std::int64_t G = config_->gateBlocks;
  const std::int64_t B = config_->R / G;
  const std::pair<const CudaMatrix*, const float*> both[] = {{&w.inputGate, w.inputGateBias},
                                                             {&w.recurrenceGate, w.recurrenceGateBias}};
  float* const outs[] = {s.d.as<float>(), s.b.as<float>()};
  for (int i = 0; i < 2; ++i) {
    const auto& [weight, bias] = both[i];
    if (few(*weight, chunk_.T)) {
      cuda::blockLinear({s.c.as<float>(), weight->view, bias, chunk_.T, G, B, outs[i]}, *stream_);
      continue;
    }
    // The same operand for both, where they are of one type.
    const bool made = i == 1 && w.inputGate.dtype == weight->dtype && !few(w.inputGate, chunk_.T);
    const bool plain = weight->dtype == kernels::DType::f32;
    if (!made && !plain) {
      cuda::operand({s.c.as<float>(), nullptr, config_->normEps, chunk_.T, config_->R, weight->dtype,
                     s.operand.as<void>()},
                    *stream_);
    }
    const void* x = plain ? s.c.as<void>() : s.operand.as<void>();
    cuda::blockMatmul({x, weight->view, bias, chunk_.T, G, B, outs[i]}, blas_.get(), *stream_);
  }
}

kernels::RgLruTaps CudaBackend::taps(std::int64_t firstRow) const {
  const auto& t = scratch_.taps;
  const std::int64_t C = config_->channels();
  const std::int64_t R = config_->R;
  return {row(t[0], firstRow, C), row(t[1], firstRow, C), row(t[2], firstRow, C),
          row(t[3], firstRow, C), row(t[4], firstRow, R), row(t[5], firstRow, R)};
}

kernels::ComplexRgLruTaps CudaBackend::complexTaps(std::int64_t firstRow) const {
  const kernels::RgLruTaps real = taps(firstRow);
  return {real.recurrenceGate,
          real.inputGate,
          real.logDecay,
          real.decay,
          row(scratch_.taps[6], firstRow, config_->channels()),
          real.write,
          real.keep};
}

// As scan(), one sequence at a time, where c is two halves of parts.
void CudaBackend::complexScanPart(const Part& part, int layerIdx, bool observed) {
  const CudaLayerWeights& w = weights_.layer(layerIdx);
  kernels::ComplexRgLruArgs args;
  args.C = config_->channels();
  args.x = row(scratch_.c, part.firstRow, config_->R);
  args.inputPre = row(scratch_.d, part.firstRow, args.C);
  args.recurrencePre = row(scratch_.b, part.firstRow, args.C);
  args.decayRate = w.decayRate;
  args.angleRate = w.angleRate;
  args.state = part.state->layer(layerIdx).h;
  args.startsSequence = part.position == 0;
  args.T = part.T;
  args.out = row(scratch_.c, part.firstRow, config_->R);
  if (observed) args.taps = complexTaps(part.firstRow);
  cuda::complexRgLru(args, scratch_.workspace.as<float>(), *stream_);
}

// In: c, d and b as gates() has them. Out: the state after each token in c; or, where `operandType` is given,
// activation(a) * state as a product's operand, and the state only where it is shown. One launch, unless a
// sequence's scan is edited.
void CudaBackend::scan(int layerIdx, bool observed, std::optional<kernels::DType> operandType) {
  const auto edited = [&](const Part& part) {
    const LayerEdits* edits = editsOf(part, layerIdx);
    return edits != nullptr && !edits->scan.empty();
  };
  if (std::none_of(parts_.begin(), parts_.end(), edited)) {
    cuda::RgLruBatchArgs all = scanArgs(layerIdx, 0, chunk_.T, observed, operandType);
    all.states = inputs_.second + layerIdx * chunk_.sequences;
    all.sequences = sequences();
    return cuda::rgLru(all, *stream_);
  }
  for (const Part& part : parts_) {
    cuda::RgLruBatchArgs one = scanArgs(layerIdx, part.firstRow, part.T, observed, operandType);
    one.rows.state = part.state->layer(layerIdx).h;
    one.rows.startsSequence = part.position == 0;
    edited(part) ? scanEdited(part, layerIdx, one) : cuda::rgLru(one, *stream_);
  }
}

// Without states.
cuda::RgLruBatchArgs CudaBackend::scanArgs(int layerIdx, std::int64_t firstRow, std::int64_t T, bool observed,
                                           std::optional<kernels::DType> operandType) const {
  const std::int64_t R = config_->R;
  cuda::RgLruBatchArgs batch;
  kernels::RgLruArgs& args = batch.rows;
  args.x = row(scratch_.c, firstRow, R);
  args.inputPre = row(scratch_.d, firstRow, R);
  args.recurrencePre = row(scratch_.b, firstRow, R);
  args.decayRate = weights_.layer(layerIdx).decayRate;
  args.T = T;
  args.R = R;
  if (observed || !operandType) args.out = row(scratch_.c, firstRow, R);
  if (observed) args.taps = taps(firstRow);
  if (operandType) {
    batch.y = row(scratch_.a, firstRow, R);
    batch.activation = config_->activation;
    batch.operandType = *operandType;
    batch.operand = scratch_.operand.as<std::byte>() + count(firstRow * R) * kernels::dtypeSize(*operandType);
  }
  return batch;
}

void CudaBackend::chunkRecurrent(int layerIdx, bool observed) {
  const CudaLayerWeights& w = weights_.layer(layerIdx);
  Scratch& s = scratch_;
  const std::int64_t R = config_->R;
  multiply({s.hidden.as<float>(), w.temporalNorm},
           {{w.linearY, w.linearYBias, s.a.as<float>()}, {w.linearX, w.linearXBias, s.b.as<float>()}},
           chunk_.T);
  cuda::conv1d({s.b.as<float>(), inputs_.first + layerIdx * chunk_.sequences, w.convWeight, w.convBias,
                sequences(), chunk_.T, R, config_->K, s.c.as<float>()},
               *stream_);
  edit(layerIdx, &LayerEdits::conv, s.c.as<float>(), R);
  gates(w);
  std::optional<kernels::DType> operandType;  // the output gate within the scan
  if (!isComplex() && !few(w.linearOut, chunk_.T)) operandType = cuda::operandType(w.linearOut.dtype);
  if (isComplex()) {
    for (const Part& part : parts_) complexScanPart(part, layerIdx, observed);
  } else {
    scan(layerIdx, observed, operandType);
  }
  const Target out = residual(layerIdx, &LayerEdits::temporal, w.linearOut, w.linearOutBias);
  if (operandType) {
    multiplyOperand(s.operand.as<void>(), out, chunk_.T);
  } else {
    // Not in place where the state is shown.
    cuda::copyOnDevice(s.d.as<float>(), s.c.as<float>(), floatBytes(chunk_.T * R), *stream_);
    multiplyGated(s.a.as<float>(), s.d.as<float>(), out, chunk_.T);
  }
  addEdited(layerIdx, &LayerEdits::temporal);
}

bool CudaBackend::onTensorCores(const Part& part, int layerIdx) const {
  return weights_.layer(layerIdx).q.dtype != kernels::DType::f32 &&
         device_.capability >= cuda::kTensorAttentionCapability && part.T >= kTensorQueries;
}

// In: a queries, b keys, c values, all after RoPE. Out: d, or bf16 in `operand` where all parts are computed
// on tensor cores; the ring holds the part's keys.
void CudaBackend::attendPart(const Part& part, int layerIdx, const AttentionView& view, bool asOperand) {
  Scratch& s = scratch_;
  const ModelConfig& c = *config_;
  const std::int64_t keyWidth = c.kvHeads * c.Dh;
  kernels::AttentionArgs args;
  args.q = row(s.a, part.firstRow, width());
  args.k = row(s.b, part.firstRow, keyWidth);
  args.v = row(s.c, part.firstRow, keyWidth);
  args.ring = part.state->layer(layerIdx).ring;
  args.firstPosition = part.position;
  args.older = olderKeys(c, layerIdx, part.edits);
  args.T = part.T;
  args.H = c.H;
  args.kvHeads = c.kvHeads;
  args.Dh = c.Dh;
  args.out = row(s.d, part.firstRow, width());
  float* const statistics = s.statistics.as<float>();
  if (view.weights != nullptr) {
    args.weights = row(s.weights, part.firstRow * c.H, view.span);
    args.span = view.span;
  }
  if (onTensorCores(part, layerIdx)) {
    std::uint16_t* operand = nullptr;
    if (asOperand) operand = s.operand.as<std::uint16_t>() + part.firstRow * width();
    if (asOperand) args.out = nullptr;
    cuda::tensorAttention({args, operand, statistics, s.workspace.as<void>()}, *stream_);
  } else {
    cuda::attention(args, statistics, *stream_);
  }
  if (args.ring.capacity > 0) {
    cuda::ringAppend({args.k, args.v, args.ring, part.position, part.T, c.kvHeads, c.Dh}, *stream_);
  }
}

void CudaBackend::chunkAttention(int layerIdx, const AttentionView& view) {
  const CudaLayerWeights& w = weights_.layer(layerIdx);
  Scratch& s = scratch_;
  const ModelConfig& c = *config_;
  multiply(
      {s.hidden.as<float>(), w.temporalNorm},
      {{w.q, nullptr, s.a.as<float>()}, {w.k, nullptr, s.b.as<float>()}, {w.v, nullptr, s.c.as<float>()}},
      chunk_.T);
  cuda::rope({s.a.as<float>(), s.angles.as<float>(), chunk_.T, c.H, c.Dh, c.rotary}, *stream_);
  cuda::rope({s.b.as<float>(), s.angles.as<float>(), chunk_.T, c.kvHeads, c.Dh, c.rotary}, *stream_);
  const bool asOperand = cuda::operandType(w.o.dtype) == kernels::DType::bf16 && !few(w.o, chunk_.T) &&
                         editsAt(layerIdx, &LayerEdits::heads) == nullptr &&
                         std::all_of(parts_.begin(), parts_.end(),
                                     [&](const Part& part) { return onTensorCores(part, layerIdx); });
  for (const Part& part : parts_) attendPart(part, layerIdx, view, asOperand);
  const Target out = residual(layerIdx, &LayerEdits::temporal, w.o, w.oBias);
  if (asOperand) {
    multiplyOperand(s.operand.as<void>(), out, chunk_.T);
  } else {
    edit(layerIdx, &LayerEdits::heads, s.d.as<float>(), width());
    multiply({s.d.as<float>()}, {out}, chunk_.T);
  }
  addEdited(layerIdx, &LayerEdits::temporal);
}

// ---- observation ----

// `slot`: one for each array that is shown at the same time.
const float* CudaBackend::toHost(std::size_t slot, const float* from, std::int64_t n) {
  if (tapsHost_.size() <= slot) tapsHost_.resize(slot + 1);
  // Twice the room: attention shows one key more with every token.
  if (tapsHost_[slot].bytes() < floatBytes(n)) tapsHost_[slot] = cuda::PinnedMemory(2 * floatBytes(n));
  cuda::copyToHost(tapsHost_[slot].data(), from, floatBytes(n), *stream_);
  return reinterpret_cast<const float*>(tapsHost_[slot].data());
}

// The state lies in c.
RecurrentView CudaBackend::recurrentView(Observe observe) {
  const std::int64_t n = chunk_.T * config_->R;
  const std::int64_t gates = chunk_.T * config_->channels();
  const auto shown = [&](std::size_t i) {
    return toHost(i, scratch_.taps[i].as<float>(), i == 4 || i == 5 ? n : gates);
  };
  // Taps are in the order of kernels::RgLruTaps.
  RecurrentView view{shown(0), shown(1), shown(2), nullptr, nullptr, shown(4), shown(5), nullptr, nullptr};
  if (observe == Observe::full) view.decay = shown(3);
  if (observe == Observe::full && isComplex()) view.angle = shown(6);
  view.state = toHost(7, scratch_.c.as<float>(), n);
  stream_->wait();
  return view;
}

}  // namespace eyrie::engine
