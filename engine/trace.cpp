#include "engine/trace.h"

#include <algorithm>
#include <bitset>
#include <cmath>
#include <deque>
#include <limits>

#include "engine/prediction.h"

namespace eyrie::engine {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

bool isFull(Quantity quantity) {
  return quantity >= Quantity::recurrenceGate;
}

// Where a column stands in its half of a chunk.
struct Place {
  bool full = false;
  std::int64_t offset = 0;
};

// Frames of kTraceChunk positions, (kTraceChunk, width) each half: summary scalars stay longer than channels.
struct Chunk {
  std::vector<float> summary;
  std::vector<float> full;
  std::bitset<kTraceChunk> has;
};

}  // namespace

struct Trace::Impl {
  ModelConfig config;
  FrameLayout layout;
  std::uint64_t budget = 0;
  std::vector<Place> places;  // by column index
  std::int64_t summaryWidth = 0;
  std::int64_t fullWidth = 0;
  std::deque<TokenRecord> records;  // a deque: growing never copies a hundred thousand records at once
  std::vector<Chunk> chunks;        // by position / kTraceChunk
  std::size_t firstSummary = 0;     // chunks before it have given up everything
  std::size_t firstFull = 0;        // chunks before it have given up their full half
  std::uint64_t frameBytes = 0;
  std::int64_t framesHeld = 0;  // positions whose frame is complete
  std::uint64_t revision = 0;

  void place();
  void growTo(std::int64_t size);
  Chunk& chunkFor(std::int64_t position);
  void store(const TraceFrame& frame);
  void makeRoom(std::size_t keep);
  void release(std::vector<float>& half, const Chunk& chunk, bool counted);
  void truncate(std::int64_t size);
  const Chunk* chunkAt(std::int64_t position) const;
};

void Trace::Impl::place() {
  for (const TraceColumn& column : layout.columns()) {
    std::int64_t& width = isFull(column.quantity) ? fullWidth : summaryWidth;
    places.push_back({isFull(column.quantity), width});
    width += column.size;
  }
}

void Trace::Impl::growTo(std::int64_t size) {
  while (static_cast<std::int64_t>(records.size()) < size) {
    records.push_back(emptyRecord(static_cast<std::int64_t>(records.size()), -1));
  }
}

const Chunk* Trace::Impl::chunkAt(std::int64_t position) const {
  const auto index = static_cast<std::size_t>(position / kTraceChunk);
  if (position < 0 || index >= chunks.size()) return nullptr;
  const Chunk& chunk = chunks[index];
  return chunk.has[static_cast<std::size_t>(position % kTraceChunk)] ? &chunk : nullptr;
}

void Trace::Impl::release(std::vector<float>& half, const Chunk& chunk, bool counted) {
  frameBytes -= half.size() * sizeof(float);
  half = {};
  if (counted) framesHeld -= static_cast<std::int64_t>(chunk.has.count());
}

// Oldest channels first, then the oldest summaries; chunk `keep` is being written and stays.
void Trace::Impl::makeRoom(std::size_t keep) {
  while (frameBytes > budget && firstFull < keep) {
    Chunk& chunk = chunks[firstFull++];
    if (!chunk.full.empty()) release(chunk.full, chunk, true);
  }
  while (frameBytes > budget && firstSummary < keep) {
    Chunk& chunk = chunks[firstSummary++];
    if (chunk.summary.empty()) continue;
    release(chunk.summary, chunk, fullWidth == 0);
    chunk.has.reset();
  }
}

Chunk& Trace::Impl::chunkFor(std::int64_t position) {
  const auto index = static_cast<std::size_t>(position / kTraceChunk);
  if (index >= chunks.size()) chunks.resize(index + 1);
  Chunk& chunk = chunks[index];
  const auto rows = static_cast<std::size_t>(kTraceChunk);
  if (chunk.summary.empty() && index >= firstSummary) {
    chunk.summary.resize(rows * static_cast<std::size_t>(summaryWidth));
    frameBytes += chunk.summary.size() * sizeof(float);
  }
  if (chunk.full.empty() && index >= firstFull) {
    chunk.full.resize(rows * static_cast<std::size_t>(fullWidth));
    frameBytes += chunk.full.size() * sizeof(float);
  }
  makeRoom(index);
  return chunk;
}

void Trace::Impl::store(const TraceFrame& frame) {
  if (static_cast<std::int64_t>(frame.values.size()) != layout.frameSize() || frame.values.empty()) return;
  Chunk& chunk = chunkFor(frame.position);
  if (chunk.summary.empty()) return;
  const std::int64_t row = frame.position % kTraceChunk;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const TraceColumn& column = layout.columns()[i];
    std::vector<float>& half = places[i].full ? chunk.full : chunk.summary;
    if (half.empty()) continue;
    const std::int64_t width = places[i].full ? fullWidth : summaryWidth;
    std::copy_n(frame.values.data() + column.offset, column.size,
                half.data() + row * width + places[i].offset);
  }
  chunk.has.set(static_cast<std::size_t>(row));
  if (fullWidth == 0 || !chunk.full.empty()) ++framesHeld;
}

void Trace::Impl::truncate(std::int64_t size) {
  size = std::max<std::int64_t>(0, size);
  if (size >= static_cast<std::int64_t>(records.size())) return;
  records.resize(static_cast<std::size_t>(size));
  const auto kept = static_cast<std::size_t>((size + kTraceChunk - 1) / kTraceChunk);
  while (chunks.size() > kept) {
    Chunk& last = chunks.back();
    const bool complete = fullWidth == 0 ? !last.summary.empty() : !last.full.empty();
    release(last.full, last, complete);
    release(last.summary, last, false);
    chunks.pop_back();
  }
  firstFull = std::min(firstFull, chunks.size());
  firstSummary = std::min(firstSummary, chunks.size());
  if (chunks.size() != kept || size % kTraceChunk == 0 || chunks.empty()) return;
  Chunk& cut = chunks.back();
  const bool complete = fullWidth == 0 ? !cut.summary.empty() : !cut.full.empty();
  for (auto row = static_cast<std::size_t>(size % kTraceChunk); row < cut.has.size(); ++row) {
    if (cut.has[row] && complete) --framesHeld;
    cut.has.reset(row);
  }
}

Trace::Trace() : impl_(std::make_unique<Impl>()) {}
Trace::Trace(const ModelConfig& config, FrameLayout layout, std::uint64_t memoryBudget)
    : impl_(std::make_unique<Impl>()) {
  impl_->config = config;
  impl_->layout = std::move(layout);
  impl_->budget = memoryBudget;
  impl_->place();
}
Trace::~Trace() = default;
Trace::Trace(Trace&&) noexcept = default;
Trace& Trace::operator=(Trace&&) noexcept = default;

const ModelConfig& Trace::config() const {
  return impl_->config;
}
const FrameLayout& Trace::layout() const {
  return impl_->layout;
}
std::int64_t Trace::size() const {
  return static_cast<std::int64_t>(impl_->records.size());
}

void Trace::append(const TokenRecord& record) {
  if (record.position < 0) return;
  Impl& impl = *impl_;
  ++impl.revision;
  // A record where one is known already begins a new branch; one that fills a gap does not.
  if (record.position < size() && impl.records[static_cast<std::size_t>(record.position)].token >= 0) {
    impl.truncate(record.position);
  }
  impl.growTo(record.position + 1);
  impl.records[static_cast<std::size_t>(record.position)] = record;
}

void Trace::append(const TraceFrame& frame) {
  if (frame.position < 0) return;
  Impl& impl = *impl_;
  ++impl.revision;
  if (frame.position < size()) {
    const std::int32_t known = impl.records[static_cast<std::size_t>(frame.position)].token;
    const bool otherBranch = known >= 0 && known != frame.token;
    if (otherBranch || impl.chunkAt(frame.position) != nullptr) impl.truncate(frame.position);
  }
  impl.growTo(frame.position + 1);
  impl.store(frame);
}

void Trace::truncate(std::int64_t size) {
  ++impl_->revision;
  impl_->truncate(size);
}

void Trace::clear() {
  truncate(0);
}

const TokenRecord& Trace::token(std::int64_t position) const {
  return impl_->records.at(static_cast<std::size_t>(position));
}

bool Trace::hasFrame(std::int64_t position) const {
  return impl_->chunkAt(position) != nullptr;
}

std::span<const float> Trace::values(const TraceColumn& column, std::int64_t position) const {
  const Impl& impl = *impl_;
  const Chunk* chunk = impl.chunkAt(position);
  const TraceColumn* own = impl.layout.find(column.layerIdx, column.quantity);
  if (chunk == nullptr || own == nullptr) return {};
  const Place& place = impl.places[static_cast<std::size_t>(own - impl.layout.columns().data())];
  const std::vector<float>& half = place.full ? chunk->full : chunk->summary;
  if (half.empty()) return {};
  const std::int64_t width = place.full ? impl.fullWidth : impl.summaryWidth;
  const std::int64_t start = (position % kTraceChunk) * width + place.offset;
  return {half.data() + start, static_cast<std::size_t>(own->size)};
}

float Trace::value(const TraceColumn& column, std::int64_t position, std::int64_t index) const {
  const std::span<const float> found = values(column, position);
  if (index < 0 || index >= static_cast<std::int64_t>(found.size())) return kNaN;
  return found[static_cast<std::size_t>(index)];
}

std::uint64_t Trace::bytes() const {
  return impl_->frameBytes + impl_->records.size() * sizeof(TokenRecord);
}

std::int64_t Trace::droppedFrames() const {
  return size() - impl_->framesHeld;
}

std::uint64_t Trace::revision() const {
  return impl_->revision;
}

}  // namespace eyrie::engine
