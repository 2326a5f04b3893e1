// CSV (RFC 4180) and JSON Lines: one row a token with the values that are one number or a few. Numbers are
// the shortest that read back to the same f32, in the C locale.
#include <fmt/format.h>

#include <cmath>
#include <deque>
#include <iterator>
#include <nlohmann/json.hpp>

#include "sessions/export/trace_file_sink.h"

namespace eyrie::sessions {
namespace {

class RowTraceWriter final : public TraceFileSink {
 public:
  using TraceFileSink::TraceFileSink;

 protected:
  bool holdsMetadata() const override { return false; }

  void start() override {
    csv_ = options().format == TraceFormat::csv;
    records_.clear();
    frames_.clear();
    row_ = 0;
    columns_.clear();
    for (const auto& column : layout().columns()) {
      if (isSummary(column.quantity)) columns_.push_back(column);
    }
    if (csv_) writeHeader();
  }

  void addRecord(const engine::TokenRecord& record) override {
    records_.push_back(record);
    writeReady();
  }

  void addFrame(const engine::TraceFrame& frame) override {
    if (columns_.empty() || frame.position < row_) return;
    Summary summary{frame.position, {}};
    for (const auto& column : columns_) {
      const auto from = frame.values.begin() + column.offset;
      summary.values.insert(summary.values.end(), from, from + column.size);
    }
    frames_.push_back(std::move(summary));
    writeReady();
  }

  void finish() override {
    while (!records_.empty()) writeRow();
  }

 private:
  struct Summary {
    std::int64_t position = 0;
    std::vector<float> values;
  };

  // A row needs the next record (its alternatives are this token's output) and its own frame.
  void writeReady() {
    while (records_.size() >= 2 &&
           (columns_.empty() || (!frames_.empty() && frames_.back().position >= row_))) {
      writeRow();
    }
  }

  void field(std::string_view name, std::string_view value) {
    line_ += line_.empty() ? (csv_ ? "" : "{") : ",";
    if (!csv_) fmt::format_to(std::back_inserter(line_), "\"{}\":", name);
    line_ += value;
  }

  void number(std::string_view name, float value) {
    char text[32];
    std::string_view shown;
    if (std::isfinite(value)) {
      const auto end = fmt::format_to(text, "{}", value);
      shown = {text, std::size_t(end - text)};
    } else if (!csv_) {
      shown = "null";
    } else if (std::isinf(value)) {
      shown = value > 0 ? "inf" : "-inf";
    }
    field(name, shown);
  }

  // `index` < 0: a scalar.
  static std::string nameOf(const std::string& name, std::int64_t index) {
    return index < 0 ? name : fmt::format("{}_{}", name, index);
  }

  void textField(std::int32_t token) {
    if (!model().tokenizer) return;
    const std::string text = model().tokenizer->display(token);
    if (!csv_) return field("text", dumpJson(text));
    std::string quoted = "\"";
    for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
    field("text", quoted + "\"");
  }

  void endLine() {
    out().append(line_ + (csv_ ? "\r\n" : "}\n"));
    line_.clear();
  }

  void title(const std::string& name) {
    line_ += ',';
    line_ += name;
  }

  void writeHeader() {
    line_ = "position,tokens";
    if (model().tokenizer) line_ += ",text";
    line_ += ",generated,logprob,rank,milliseconds,output.entropy";
    for (const char* name : {"output.topk_tokens", "output.topk_logprobs"}) {
      for (int i = 0; i < engine::kTopTokens; ++i) title(nameOf(name, i));
    }
    for (const auto& column : columns_) {
      for (std::int64_t i = 0; i < column.size; ++i) {
        title(nameOf(column.name, column.shape.empty() ? -1 : i));
      }
    }
    endLine();
  }

  void writeOutput(const engine::TokenRecord* next) {
    const bool known = next != nullptr && !std::isnan(next->entropy);
    number("output.entropy", known ? next->entropy : NAN);
    for (int i = 0; i < engine::kTopTokens; ++i) {
      field(nameOf("output.topk_tokens", i), std::to_string(known ? next->topTokens[i] : -1));
    }
    for (int i = 0; i < engine::kTopTokens; ++i) {
      const bool present = known && next->topTokens[i] >= 0;
      number(nameOf("output.topk_logprobs", i), present ? next->topLogprobs[i] : NAN);
    }
  }

  void writeRow() {
    const engine::TokenRecord record = records_.front();
    records_.pop_front();
    field("position", std::to_string(record.position));
    field("tokens", std::to_string(record.token));
    textField(record.token);
    field("generated", csv_ ? (record.generated ? "1" : "0") : (record.generated ? "true" : "false"));
    number("logprob", record.logprob);
    field("rank", std::to_string(record.rank));
    number("milliseconds", record.milliseconds);
    writeOutput(records_.empty() ? next() : &records_.front());
    while (!frames_.empty() && frames_.front().position < row_) frames_.pop_front();
    const bool known = !frames_.empty() && frames_.front().position == row_;
    std::size_t at = 0;
    for (const auto& column : columns_) {
      for (std::int64_t i = 0; i < column.size; ++i, ++at) {
        number(nameOf(column.name, column.shape.empty() ? -1 : i), known ? frames_.front().values[at] : NAN);
      }
    }
    if (known) frames_.pop_front();
    endLine();
    ++row_;
  }

  bool csv_ = true;
  std::vector<engine::TraceColumn> columns_;
  std::deque<engine::TokenRecord> records_;
  std::deque<Summary> frames_;
  std::int64_t row_ = 0;
  std::string line_;
};

}  // namespace

std::shared_ptr<engine::TraceSink> makeRowTraceWriter(const std::filesystem::path& file,
                                                      const TraceFileOptions& options) {
  return std::make_shared<RowTraceWriter>(file, options);
}

}  // namespace eyrie::sessions
