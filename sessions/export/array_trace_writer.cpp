// NPZ and safetensors: every array's rows go to their final place while they arrive, since the number of
// tokens is known. If fewer come (a cancelled generation), the arrays are moved together at the end.
#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "sessions/export/array_container.h"
#include "sessions/export/crc32.h"
#include "sessions/export/trace_file_sink.h"

namespace eyrie::sessions {
namespace {

constexpr std::size_t kBufferBytes = 64 << 10;  // of each array
constexpr std::int64_t kCopyBytes = 1 << 20;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class ArrayTraceWriter final : public TraceFileSink {
 public:
  using TraceFileSink::TraceFileSink;

 protected:
  bool holdsMetadata() const override { return true; }

  void start() override {
    container_ = options().format == TraceFormat::npz ? makeNpzContainer() : makeSafetensorsContainer();
    arrays_ = planArrays(model(), layout(), options().precision, announced());
    container_->place(arrays_, announced(), metadata());
    buffers_.assign(arrays_.size(), {});
    frames_ = 0;
    for (std::size_t i = 0; i < arrays_.size(); ++i) {
      const std::string prefix = container_->prefix(i, arrays_[i], announced());
      arrays_[i].crc = crc32(0, prefix.data(), prefix.size());
      arrays_[i].rows = 0;
    }
  }

  void addRecord(const engine::TokenRecord& record) override {
    add("tokens", &record.token, 4);
    add("logprob", &record.logprob, 4);
    // A record holds the prediction its token was drawn from: the row of the token before it.
    if (record.position > 0) addOutput(record);
  }

  void addFrame(const engine::TraceFrame& frame) override {
    if (frame.position < frames_) return;
    fillFrames(frame.position);
    for (std::size_t i = 0; i < arrays_.size(); ++i) {
      if (arrays_[i].column < 0) continue;
      const auto& column = layout().columns()[std::size_t(arrays_[i].column)];
      appendRow(arrays_[i],
                std::span(frame.values).subspan(std::size_t(column.offset), std::size_t(column.size)),
                buffers_[i]);
      flushFull(i);
    }
    ++frames_;
  }

  void finish() override {
    const auto rows = std::int64_t(tokens().size());
    if (rows > 0) addOutput(next() != nullptr ? *next() : unknown());
    fillFrames(rows);
    for (std::size_t i = 0; i < arrays_.size(); ++i) flush(i);
    const nlohmann::ordered_json described = metadata();
    if (rows != announced()) moveTogether(rows, described);
    container_->finish(out(), arrays_, rows, described, tokenStrings(model(), tokens()));
  }

 private:
  static engine::TokenRecord unknown() {
    engine::TokenRecord record;
    record.entropy = kNan;
    std::fill(std::begin(record.topTokens), std::end(record.topTokens), -1);
    return record;
  }

  void addOutput(engine::TokenRecord record) {
    for (int i = 0; i < engine::kTopTokens; ++i) {
      // Without a prediction there are no alternatives, whatever the record's arrays hold.
      if (std::isnan(record.entropy)) record.topTokens[i] = -1;
      if (record.topTokens[i] < 0) record.topLogprobs[i] = kNan;
    }
    add("output.entropy", &record.entropy, 4);
    add("output.topk_tokens", record.topTokens, sizeof record.topTokens);
    add("output.topk_logprobs", record.topLogprobs, sizeof record.topLogprobs);
  }

  void add(std::string_view name, const void* data, std::size_t bytes) {
    const auto at =
        std::find_if(arrays_.begin(), arrays_.end(), [&](const auto& a) { return a.name == name; });
    const auto i = std::size_t(at - arrays_.begin());
    buffers_[i].append(static_cast<const char*>(data), bytes);
    flushFull(i);
  }

  // Frames that never came (dropped, or the run stopped before them) are not a number.
  void fillFrames(std::int64_t upTo) {
    for (; frames_ < upTo; ++frames_) {
      for (std::size_t i = 0; i < arrays_.size(); ++i) {
        if (arrays_[i].column < 0) continue;
        const auto& column = layout().columns()[std::size_t(arrays_[i].column)];
        blank_.assign(std::size_t(column.size), kNan);
        appendRow(arrays_[i], blank_, buffers_[i]);
        flushFull(i);
      }
    }
  }

  void flushFull(std::size_t i) {
    if (buffers_[i].size() >= kBufferBytes) flush(i);
  }

  void flush(std::size_t i) {
    if (buffers_[i].empty()) return;
    TraceArray& array = arrays_[i];
    out().writeAt(array.offset + array.rows * array.rowBytes(), buffers_[i].data(), buffers_[i].size());
    array.rows += std::int64_t(buffers_[i].size()) / array.rowBytes();
    array.crc = crc32(array.crc, buffers_[i].data(), buffers_[i].size());
    buffers_[i].clear();
  }

  // Forward in order: no array's new place reaches into one that was not moved yet.
  void moveTogether(std::int64_t rows, const nlohmann::ordered_json& described) {
    const std::vector<TraceArray> before = arrays_;
    cutSpans(arrays_, rows);
    container_->place(arrays_, rows, described);
    std::string block;
    for (std::size_t i = 0; i < arrays_.size(); ++i) {
      TraceArray& array = arrays_[i];
      const std::string prefix = container_->prefix(i, array, rows);
      array.crc = crc32(0, prefix.data(), prefix.size());
      const std::int64_t step =
          std::max<std::int64_t>(1, kCopyBytes / std::max<std::int64_t>(1, before[i].rowBytes()));
      for (std::int64_t row = 0; row < rows; row += step) {
        const std::int64_t count = std::min(step, rows - row);
        block.resize(std::size_t(count * before[i].rowBytes()));
        out().readAt(before[i].offset + row * before[i].rowBytes(), block.data(), block.size());
        narrow(before[i], array, count, block);
        out().writeAt(array.offset + row * array.rowBytes(), block.data(), block.size());
        array.crc = crc32(array.crc, block.data(), block.size());
      }
    }
  }

  // Global attention: of every head's row only the last columns, as many as there are tokens.
  static void narrow(const TraceArray& from, const TraceArray& to, std::int64_t rows, std::string& block) {
    if (from.rowBytes() == to.rowBytes()) return;
    const auto wide = std::size_t(from.shape.back() * bytesOf(from.type));
    const auto kept = std::size_t(to.shape.back() * bytesOf(to.type));
    const std::size_t lines = std::size_t(rows * from.rowBytes()) / wide;
    for (std::size_t line = 0; line < lines; ++line) {
      std::copy_n(block.begin() + std::ptrdiff_t(line * wide + (wide - kept)), kept,
                  block.begin() + std::ptrdiff_t(line * kept));
    }
    block.resize(lines * kept);
  }

  std::unique_ptr<ArrayContainer> container_;
  std::vector<TraceArray> arrays_;
  std::vector<std::string> buffers_;  // whole rows not written yet
  std::vector<float> blank_;
  std::int64_t frames_ = 0;
};

}  // namespace

std::shared_ptr<engine::TraceSink> makeArrayTraceWriter(const std::filesystem::path& file,
                                                        const TraceFileOptions& options) {
  return std::make_shared<ArrayTraceWriter>(file, options);
}

}  // namespace eyrie::sessions
