// Interventions on the card: rules on columns of rows, and on what the scan computes.
#include <cstring>
#include <utility>

#include "engine/cuda/cuda_backend.h"

namespace eyrie::engine {
namespace {

namespace cuda = kernels::cuda;
using cuda::floatBytes;

}  // namespace

const LayerEdits* CudaBackend::editsOf(const Part& part, int layerIdx) const {
  return part.edits == nullptr ? nullptr : &part.edits->layers[static_cast<std::size_t>(layerIdx)];
}

// All of the chunk at one go, before its kernels; nothing where they lie there already, as step after step
// they do.
void CudaBackend::uploadEdits() {
  std::vector<SentEdits> wanted;
  for (const Part& part : parts_) {
    if (part.edits != nullptr) wanted.push_back({part.edits->serial, part.firstRow, part.T});
  }
  if (sentEdits_ == wanted) return;
  sentEdits_.reset();
  edits_.clear();
  placedEdits_.clear();
  gatherEdits();
  sendEdits();
  sentEdits_ = std::move(wanted);
}

void CudaBackend::gatherEdits() {
  for (int layerIdx = 0; layerIdx < static_cast<int>(config_->L); ++layerIdx) {
    for (const Columns columns :
         {&LayerEdits::conv, &LayerEdits::heads, &LayerEdits::temporal, &LayerEdits::mlp}) {
      gatherColumns(layerIdx, columns);
    }
    for (const Part& part : parts_) gatherScan(part, layerIdx);
  }
}

void CudaBackend::sendEdits() {
  if (edits_.empty()) return;
  if (editsHost_.bytes() < edits_.size()) editsHost_ = cuda::PinnedMemory(edits_.size());
  std::memcpy(editsHost_.data(), edits_.data(), edits_.size());
  scratch_.edits.atLeast(edits_.size());
  cuda::copyToDevice(scratch_.edits.as<std::byte>(), editsHost_.data(), edits_.size(), *stream_);
}

void CudaBackend::gatherColumns(int layerIdx, Columns columns) {
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
  placedEdits_.push_back({layerIdx, columns, 0, edits_.size()});
  const std::int64_t n = std::ssize(all);
  append(&n, sizeof n);
  append(all.data(), all.size() * sizeof(cuda::ColumnEdit));
}

void CudaBackend::gatherScan(const Part& part, int layerIdx) {
  const LayerEdits* edits = editsOf(part, layerIdx);
  if (edits == nullptr || edits->scan.empty()) return;
  placedEdits_.push_back({layerIdx, nullptr, part.firstRow, edits_.size()});
  const ScanEdits& scan = edits->scan;
  for (const ScanEdits::Channels* from :
       {&scan.recurrenceGate, &scan.inputGate, &scan.logDecay, &scan.multiplier, &scan.state}) {
    append(from->scale.data(), floatBytes(config_->R));
    append(from->offset.data(), floatBytes(config_->R));
  }
}

void CudaBackend::append(const void* values, std::size_t bytes) {
  const auto* const from = static_cast<const std::byte*>(values);
  edits_.insert(edits_.end(), from, from + bytes);
}

const std::byte* CudaBackend::editsAt(int layerIdx, Columns columns, std::int64_t firstRow) const {
  for (const PlacedEdits& placed : placedEdits_) {
    if (placed.layerIdx == layerIdx && placed.columns == columns && placed.firstRow == firstRow)
      return scratch_.edits.as<std::byte>() + placed.at;
  }
  return nullptr;
}

void CudaBackend::edit(int layerIdx, Columns columns, float* rows, std::int64_t width) {
  const std::byte* const count = editsAt(layerIdx, columns);
  if (count == nullptr) return;
  cuda::editColumns({rows, reinterpret_cast<const cuda::ColumnEdit*>(count + sizeof(std::int64_t)),
                     reinterpret_cast<const std::int64_t*>(count), chunk_.T, width},
                    *stream_);
}

CudaBackend::Target CudaBackend::residual(int layerIdx, Columns columns, const CudaMatrix& weight,
                                          const float* bias) const {
  const bool edited = editsAt(layerIdx, columns) != nullptr;
  return {weight, bias, edited ? scratch_.out.as<float>() : scratch_.hidden.as<float>(), !edited};
}

void CudaBackend::addEdited(int layerIdx, Columns columns) {
  if (editsAt(layerIdx, columns) == nullptr) return;
  edit(layerIdx, columns, scratch_.out.as<float>(), config_->D);
  cuda::addTo({scratch_.hidden.as<float>(), scratch_.out.as<float>(), chunk_.T * config_->D}, *stream_);
}

void CudaBackend::scanEdited(const Part& part, int layerIdx, cuda::RgLruBatchArgs batch) {
  const std::int64_t R = config_->R;
  const auto* at = reinterpret_cast<const float*>(editsAt(layerIdx, nullptr, part.firstRow));
  kernels::RgLruOverrides overrides;
  for (kernels::RgLruOverrides::Channels* to :
       {&overrides.recurrenceGate, &overrides.inputGate, &overrides.logDecay, &overrides.multiplier,
        &overrides.state}) {
    *to = {at, at + R};
    at += 2 * R;
  }
  batch.rows.overrides = &overrides;
  cuda::rgLru(batch, *stream_);
}

}  // namespace eyrie::engine
