#include "sessions/export/trace_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "sessions/embedded.h"
#include "sessions/export/trace_file_sink.h"

namespace eyrie::sessions {
namespace {

namespace fs = std::filesystem;
using engine::Error;
using engine::ErrorCode;

// A file of that name which is not an earlier copy of the reader belongs to the user.
bool mayReplaceReader(const fs::path& reader) {
  std::ifstream in(reader, std::ios::binary);
  if (!in) return !fs::exists(fs::symlink_status(reader));
  std::string line;
  const std::string_view text = embedded::openTracePy();
  const std::string_view first = text.substr(0, text.find('\n'));
  std::string second;
  std::getline(in, line);
  std::getline(in, second);
  const std::string_view rest = text.substr(first.size() + 1);
  return line == first && second == rest.substr(0, rest.find('\n'));
}

}  // namespace

TraceFormat traceFormatOf(const fs::path& file) {
  std::string ending = file.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
  if (ending == ".npz") return TraceFormat::npz;
  if (ending == ".safetensors") return TraceFormat::safetensors;
  if (ending == ".csv") return TraceFormat::csv;
  if (ending == ".jsonl") return TraceFormat::jsonLines;
  throw Error(ErrorCode::badArgument,
              fmt::format("{}: expected a name ending in .npz, .safetensors, .csv or .jsonl, found {}",
                          file.filename().string(), ending.empty() ? "no ending" : ending));
}

std::shared_ptr<engine::TraceSink> makeTraceWriter(const fs::path& file, const TraceFileOptions& options) {
  const bool arrays = options.format == TraceFormat::npz || options.format == TraceFormat::safetensors;
  return arrays ? makeArrayTraceWriter(file, options) : makeRowTraceWriter(file, options);
}

TraceFileSink::TraceFileSink(fs::path file, TraceFileOptions options)
    : file_(std::move(file)), options_(options) {}

void TraceFileSink::refuse(const std::string& what) const {
  throw Error(ErrorCode::badArgument, fmt::format("{}: {}", file_.string(), what));
}

void TraceFileSink::begin(const engine::ModelInfo& model, const engine::FrameLayout& layout,
                          std::int64_t tokens) {
  if (tokens < 0) refuse(fmt::format("expected a number of tokens, found {}", tokens));
  model_ = model;
  layout_ = layout;
  announced_ = tokens;
  tokens_.clear();
  next_.reset();
  out_.emplace(file_);
  start();
}

void TraceFileSink::token(const engine::TokenRecord& record) {
  const auto next = std::int64_t(tokens_.size());
  if (!out_ || record.position != next || next >= announced_) {
    refuse(fmt::format("expected token {} of {}, found position {}", next, announced_, record.position));
  }
  tokens_.push_back(record.token);
  addRecord(record);
}

void TraceFileSink::frame(const engine::TraceFrame& frame) {
  if (!out_ || frame.position < 0 || frame.position >= announced_) {
    refuse(fmt::format("expected a frame of {} tokens, found position {}", announced_, frame.position));
  }
  if (std::int64_t(frame.values.size()) != layout_.frameSize()) {
    refuse(fmt::format("expected {} values a token, found {}", layout_.frameSize(), frame.values.size()));
  }
  addFrame(frame);
}

void TraceFileSink::prediction(const engine::TokenRecord& next) {
  next_ = next;
}

nlohmann::ordered_json TraceFileSink::metadata() const {
  return traceMetadata(model_, layout_, options_, std::int64_t(tokens_.size()));
}

void TraceFileSink::end() {
  if (!out_) refuse("expected a begun trace, found none");
  finish();
  std::optional<OutputFile> metadataFile;
  std::optional<OutputFile> reader;
  if (!holdsMetadata()) {
    fs::path name = file_;
    metadataFile.emplace(name += ".meta.json");
    metadataFile->append(metadata().dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) +
                         "\n");
  }
  if (options_.copyReader) {
    const fs::path name = file_.parent_path() / "open_trace.py";
    if (mayReplaceReader(name)) {
      reader.emplace(name);
      reader->append(embedded::openTracePy());
    }
  }
  out_->commit();
  out_.reset();
  if (metadataFile) metadataFile->commit();
  if (reader) reader->commit();
}

void TraceFileSink::abandon() {
  out_.reset();
}

}  // namespace eyrie::sessions
