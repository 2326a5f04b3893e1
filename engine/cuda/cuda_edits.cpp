// Interventions on the card: rules on columns of rows, and on what the scan computes.
#include <algorithm>

#include "engine/cuda/cuda_backend.h"

namespace eyrie::engine {
namespace {

namespace cuda = kernels::cuda;
using cuda::floatBytes;

}  // namespace

const LayerEdits* CudaBackend::editsOf(const Part& part, int layerIdx) const {
  return part.edits == nullptr ? nullptr : &part.edits->layers[static_cast<std::size_t>(layerIdx)];
}

bool CudaBackend::isEdited(int layerIdx, Columns columns) const {
  return std::any_of(parts_.begin(), parts_.end(), [&](const Part& part) {
    const LayerEdits* edits = editsOf(part, layerIdx);
    return edits != nullptr && !(edits->*columns).empty();
  });
}

void CudaBackend::edit(int layerIdx, Columns columns, float* rows, std::int64_t width) {
  std::vector<cuda::ColumnEdit> all;
  for (const Part& part : parts_) {
    const LayerEdits* edits = editsOf(part, layerIdx);
    if (edits == nullptr) continue;
    for (const ColumnEdit& edit : edits->*columns) {
      all.push_back({part.firstRow, part.firstRow + part.T, edit.first, edit.end, edit.value,
                     edit.action == InterventionAction::set ? 0 : 1});
    }
  }
  if (all.empty()) return;
  const std::int64_t n = std::ssize(all);
  const std::size_t bytes = all.size() * sizeof(cuda::ColumnEdit);
  cuda::DeviceMemory onCard(bytes + sizeof n);
  cuda::copyToDevice(onCard.data(), all.data(), bytes, *stream_);
  cuda::copyToDevice(onCard.data() + bytes, &n, sizeof n, *stream_);
  cuda::editColumns({rows, reinterpret_cast<const cuda::ColumnEdit*>(onCard.data()),
                     reinterpret_cast<const std::int64_t*>(onCard.data() + bytes), chunk_.T, width},
                    *stream_);
  stream_->wait();  // before the rules' memory goes
}

CudaBackend::Target CudaBackend::residual(int layerIdx, Columns columns, const CudaMatrix& weight,
                                          const float* bias) const {
  const bool edited = isEdited(layerIdx, columns);
  return {weight, bias, edited ? scratch_.out.as<float>() : scratch_.hidden.as<float>(), !edited};
}

void CudaBackend::addEdited(int layerIdx, Columns columns) {
  if (!isEdited(layerIdx, columns)) return;
  edit(layerIdx, columns, scratch_.out.as<float>(), config_->D);
  cuda::addTo({scratch_.hidden.as<float>(), scratch_.out.as<float>(), chunk_.T * config_->D}, *stream_);
}

void CudaBackend::scanEdited(const Part& part, int layerIdx, cuda::RgLruBatchArgs batch) {
  const ScanEdits& edits = editsOf(part, layerIdx)->scan;
  const std::int64_t R = config_->R;
  // The rules' arrays: few, and gone when this returns.
  const ScanEdits::Channels* const from[] = {&edits.recurrenceGate, &edits.inputGate, &edits.logDecay,
                                             &edits.multiplier, &edits.state};
  cuda::DeviceMemory arrays(10 * floatBytes(R));
  auto* at = reinterpret_cast<float*>(arrays.data());
  kernels::RgLruOverrides overrides;
  kernels::RgLruOverrides::Channels* const to[] = {&overrides.recurrenceGate, &overrides.inputGate,
                                                   &overrides.logDecay, &overrides.multiplier,
                                                   &overrides.state};
  for (int i = 0; i < 5; ++i) {
    for (const auto& [values, pointer] :
         {std::pair{&from[i]->scale, &to[i]->scale}, std::pair{&from[i]->offset, &to[i]->offset}}) {
      if (!values->empty()) cuda::copyToDevice(at, values->data(), floatBytes(R), *stream_);
      *pointer = values->empty() ? nullptr : at;
      at += R;
    }
  }
  batch.rows.overrides = &overrides;
  cuda::rgLru(batch, *stream_);
  stream_->wait();
}

}  // namespace eyrie::engine
