// eyrie-cli trace: what the model's gates, states and attention did, token by token, as a file.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "app/cli/command.h"
#include "app/cli/console.h"
#include "app/cli/model_options.h"
#include "engine/error.h"
#include "engine/generator.h"
#include "sessions/export/trace_writer.h"

namespace eyrie::app {
namespace {

struct TraceCommandOptions {
  ModelOptions model;
  InputOptions input;
  WritingOptions writing;
  std::string level = "full";
  std::string layers = "all";
  std::string precision = "f16";
  std::string out;
};

int parseLayer(std::string_view text, const std::string& list) {
  int layer = -1;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), layer);
  if (text.empty() || status != std::errc{} || end != text.data() + text.size() || layer < 0) {
    wrongUsage(fmt::format("--layers: expected all or numbers and ranges like 0,3-5, found '{}'", list));
  }
  return layer;
}

// "0,3-5" -> 0 3 4 5; "all" -> empty.
std::vector<int> parseLayers(const std::string& list) {
  std::vector<int> layers;
  if (list == "all") return layers;
  std::size_t at = 0;
  while (at <= list.size()) {
    const auto comma = std::min(list.find(',', at), list.size());
    const std::string_view part = std::string_view(list).substr(at, comma - at);
    const auto dash = part.find('-');
    const int first = parseLayer(part.substr(0, dash), list);
    const int last = dash == part.npos ? first : parseLayer(part.substr(dash + 1), list);
    if (last < first || last > 100000) {
      wrongUsage(fmt::format("--layers: expected a rising range, found '{}'", part));
    }
    for (int layer = first; layer <= last; ++layer) layers.push_back(layer);
    at = comma + 1;
  }
  std::sort(layers.begin(), layers.end());
  layers.erase(std::unique(layers.begin(), layers.end()), layers.end());
  return layers;
}

// First pass: only the tokens that are written, so that the file's length is known when it is begun.
class Collector : public engine::GenerateObserver {
 public:
  explicit Collector(std::vector<std::int32_t>& tokens) : tokens_(tokens) {}
  void onToken(const engine::TokenRecord& record) override {
    if (record.generated) tokens_.push_back(record.token);
  }

 private:
  std::vector<std::int32_t>& tokens_;
};

// Second pass: everything to the file.
class Recorder : public engine::GenerateObserver {
 public:
  Recorder(engine::TraceSink& sink, std::int64_t promptTokens) : sink_(sink), promptTokens_(promptTokens) {}
  void onToken(const engine::TokenRecord& record) override {
    engine::TokenRecord marked = record;
    marked.generated = record.position >= promptTokens_;
    sink_.token(marked);
  }
  void onFrame(const engine::TraceFrame& frame) override { sink_.frame(frame); }

 private:
  engine::TraceSink& sink_;
  std::int64_t promptTokens_;
};

engine::GenerateResult writeTokens(const TraceCommandOptions& options, LoadedModel& loaded,
                                   std::vector<std::int32_t>& tokens, std::stop_token stop) {
  engine::GenerateOptions writing;
  writing.maxTokens = options.writing.maxTokens;
  writing.sampling = options.writing.sampling;
  writing.eosTokens = loaded.info.summary.config.eosTokens;
  if (loaded.info.tokenizer != nullptr && loaded.info.chat.turns) {
    writing.endOfTurn = loaded.info.chat.endOfTurn;
  }
  const std::vector<std::int32_t> context = tokens;
  Collector collector(tokens);
  engine::SequenceState state = loaded.model->newState();
  return engine::generate(*loaded.model, state, context, writing, collector, std::move(stop));
}

// False when cancelled; the file is then not there.
bool readTokens(LoadedModel& loaded, const std::vector<std::int32_t>& tokens, std::int64_t promptTokens,
                const engine::TraceOptions& trace, engine::TraceSink& sink, std::stop_token stop) {
  engine::GenerateOptions reading;
  reading.maxTokens = 0;
  reading.trace = trace;
  reading.scoreContext = true;
  Recorder recorder(sink, promptTokens);
  engine::SequenceState state = loaded.model->newState();
  try {
    const engine::FrameLayout layout(loaded.model->config(), trace);
    sink.begin(loaded.info, layout, static_cast<std::int64_t>(tokens.size()));
    const auto result = engine::generate(*loaded.model, state, tokens, reading, recorder, std::move(stop));
    if (result.stop == engine::StopReason::cancelled) {
      sink.abandon();
      return false;
    }
    sink.end();
    return true;
  } catch (...) {
    sink.abandon();
    throw;
  }
}

engine::TraceOptions traceOptions(const TraceCommandOptions& options, const engine::ModelConfig& config) {
  engine::TraceOptions trace;
  trace.level = options.level == "full" ? engine::TraceLevel::full : engine::TraceLevel::summary;
  trace.layers = parseLayers(options.layers);
  if (!trace.layers.empty() && trace.layers.back() >= config.L) {
    throw engine::Error(engine::ErrorCode::badArgument,
                        fmt::format("--layers: the model has the layers 0 to {}, found {}", config.L - 1,
                                    trace.layers.back()));
  }
  return trace;
}

int trace(TraceCommandOptions& options) {
  options.input.check();
  options.writing.check();
  parseLayers(options.layers);  // wrong usage before a model is loaded
  sessions::TraceFileOptions file;
  try {
    file.format = sessions::traceFormatOf(options.out);
  } catch (const engine::Error& error) {
    wrongUsage(fmt::format("--out: {}", error.what()));
  }
  file.precision = options.precision == "f32" ? sessions::TracePrecision::f32 : sessions::TracePrecision::f16;
  file.sampling = options.writing.sampling;
  file.sampled = options.writing.maxTokens > 0;
  file.copyReader = true;

  Interrupt interrupt;
  LoadedModel loaded = loadModel(options.model, interrupt.token());
  const engine::TraceOptions taps = traceOptions(options, loaded.model->config());
  auto tokens = options.input.readTokens(loaded.info);
  const auto promptTokens = static_cast<std::int64_t>(tokens.size());
  engine::GenerateResult written;
  if (options.writing.maxTokens > 0) written = writeTokens(options, loaded, tokens, interrupt.token());
  const bool cancelled = written.stop == engine::StopReason::cancelled;

  // Cancelled while writing: what was written is traced all the same, and a second Ctrl-C ends the process.
  const std::stop_token stop = cancelled ? std::stop_token() : interrupt.token();
  const auto sink = sessions::makeTraceWriter(options.out, file);
  if (!readTokens(loaded, tokens, promptTokens, taps, *sink, stop)) {
    note(fmt::format("eyrie-cli: cancelled; {} was not written", options.out));
    return kCancelled;
  }
  printLine({{"file", options.out},
             {"level", options.level},
             {"precision", options.precision},
             {"stop", engine::stopReasonName(written.stop)},
             {"seed", options.writing.sampling.seed},
             {"prompt_tokens", promptTokens},
             {"tokens", tokens.size()}});
  return cancelled ? kCancelled : kDone;
}

}  // namespace

void addTraceCommand(CLI::App& parser, Action& action) {
  auto options = std::make_shared<TraceCommandOptions>();
  CLI::App* command = parser.add_subcommand("trace", "Writes gates, states and attention of every token");
  options->model.addTo(*command);
  options->input.addPromptTo(*command);
  options->writing.addTo(*command);
  command->add_option("--level", options->level, "summary or full [full]")
      ->check(CLI::IsMember({"summary", "full"}))
      ->type_name("LEVEL");
  command->add_option("--layers", options->layers, "Layers seen in full: all or 0,3-5 [all]")
      ->type_name("LIST");
  command->add_option("--precision", options->precision, "f16 or f32 [f16]")
      ->check(CLI::IsMember({"f16", "f32"}))
      ->type_name("TYPE");
  command->add_option("--out", options->out, ".npz, .safetensors, .csv or .jsonl")
      ->required()
      ->type_name("FILE");
  command->callback([options, &action] { action = [options] { return trace(*options); }; });
}

}  // namespace eyrie::app
