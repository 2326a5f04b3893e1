// What the writers of all formats share: order of tokens, the temporary file, the files beside it.
#pragma once

#include <optional>
#include <vector>

#include "sessions/export/output_file.h"
#include "sessions/export/trace_metadata.h"
#include "sessions/export/trace_writer.h"

namespace eyrie::sessions {

class TraceFileSink : public engine::TraceSink {
 public:
  TraceFileSink(std::filesystem::path file, TraceFileOptions options);

  void begin(const engine::ModelInfo& model, const engine::FrameLayout& layout, std::int64_t tokens) final;
  void token(const engine::TokenRecord& record) final;
  void frame(const engine::TraceFrame& frame) final;
  void prediction(const engine::TokenRecord& next) final;
  void end() final;
  void abandon() final;

 protected:
  virtual void start() = 0;
  virtual void addRecord(const engine::TokenRecord& record) = 0;
  virtual void addFrame(const engine::TraceFrame& frame) = 0;
  virtual void finish() = 0;
  // Whether the metadata stands in the file itself; else it goes beside it as FILE.meta.json.
  virtual bool holdsMetadata() const = 0;

  OutputFile& out() { return *out_; }  // NOLINT(bugprone-unchecked-optional-access): begin() made it
  const engine::ModelInfo& model() const { return model_; }
  const engine::FrameLayout& layout() const { return layout_; }
  const TraceFileOptions& options() const { return options_; }
  std::int64_t announced() const { return announced_; }
  const std::vector<std::int32_t>& tokens() const { return tokens_; }
  // What would follow the last token; null if nobody said.
  const engine::TokenRecord* next() const { return next_ ? &*next_ : nullptr; }
  nlohmann::ordered_json metadata() const;

 private:
  [[noreturn]] void refuse(const std::string& what) const;

  std::filesystem::path file_;
  TraceFileOptions options_;
  engine::ModelInfo model_;
  engine::FrameLayout layout_;
  std::int64_t announced_ = 0;
  std::vector<std::int32_t> tokens_;
  std::optional<engine::TokenRecord> next_;
  std::optional<OutputFile> out_;
};

std::shared_ptr<engine::TraceSink> makeArrayTraceWriter(const std::filesystem::path& file,
                                                        const TraceFileOptions& options);
std::shared_ptr<engine::TraceSink> makeRowTraceWriter(const std::filesystem::path& file,
                                                      const TraceFileOptions& options);

}  // namespace eyrie::sessions
