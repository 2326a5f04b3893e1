// A small model and a run of it for the trace writers: every value follows from its place.
#pragma once

#include <cmath>
#include <memory>

#include "engine/engine.h"
#include "sessions/export/trace_writer.h"
#include "tests/sessions/records.h"

namespace eyrie::sessions::testing {

class FakeTokenizer final : public engine::Tokenizer {
 public:
  std::int64_t size() const override { return 5000; }
  std::vector<std::int32_t> encode(std::string_view) const override { return {}; }
  std::string bytes(std::int32_t token) const override { return display(token); }
  std::string display(std::int32_t token) const override {
    return token % 2 == 0 ? " 中\"" + std::to_string(token) + "," : "⟨E4⟩";
  }
  bool isControl(std::int32_t) const override { return false; }
  bool addsPrefixSpace() const override { return true; }
  std::optional<std::int32_t> controlToken(std::string_view) const override { return std::nullopt; }
};

inline engine::ModelInfo fakeModel(bool tokenizer = true) {
  engine::ModelInfo info;
  info.name = "tiny";
  info.fingerprint = "00ff";
  info.backend = "cpu";
  auto& config = info.summary.config;
  config.D = 6;
  config.R = 5;
  config.L = 3;
  config.H = 2;
  config.V = 5000;
  config.W = 3;
  config.blocks = {engine::BlockKind::recurrent, engine::BlockKind::localAttention,
                   engine::BlockKind::globalAttention};
  info.summary.dtype = "f32";
  if (tokenizer) info.tokenizer = std::make_shared<FakeTokenizer>();
  return info;
}

inline float fakeValue(std::int64_t position, std::int64_t at) {
  return 0.001F * float(position) + 0.37F * float(at % 11) - 1.0F;
}

inline engine::TraceFrame fakeFrame(const engine::FrameLayout& layout, std::int64_t position) {
  engine::TraceFrame frame;
  frame.position = position;
  frame.token = makeRecord(position).token;
  frame.values.resize(std::size_t(layout.frameSize()));
  for (std::size_t i = 0; i < frame.values.size(); ++i)
    frame.values[i] = fakeValue(position, std::int64_t(i));
  return frame;
}

inline engine::FrameLayout layoutOf(const engine::ModelInfo& model, engine::TraceLevel level,
                                    std::int64_t span) {
  return engine::FrameLayout(model.summary.config, {level, {}, span});
}

inline TraceFileOptions optionsFor(const std::filesystem::path& file, TracePrecision precision) {
  TraceFileOptions options;
  options.format = traceFormatOf(file);
  options.precision = precision;
  options.sampled = true;
  options.sampling.seed = 17;
  return options;
}

// Announces one number of tokens and delivers another, records in blocks before their frames.
inline void deliver(engine::TraceSink& sink, const engine::ModelInfo& model,
                    const engine::FrameLayout& layout, std::int64_t announced, std::int64_t delivered,
                    std::int64_t block = 7) {
  sink.begin(model, layout, announced);
  for (std::int64_t from = 0; from < delivered; from += block) {
    const std::int64_t to = std::min(delivered, from + block);
    for (std::int64_t p = from; p < to; ++p) sink.token(makeRecord(p));
    for (std::int64_t p = from; p < to; ++p) sink.frame(fakeFrame(layout, p));
  }
}

}  // namespace eyrie::sessions::testing
