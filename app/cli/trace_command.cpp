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

// Everything that is read and written goes to the file as it comes.
class Recorder : public engine::GenerateObserver {
 public:
  explicit Recorder(engine::TraceSink& sink) : sink_(sink) {}
  void onToken(const engine::TokenRecord& record) override {
    sink_.token(record);
    ++tokens_;
  }
  void onFrame(const engine::TraceFrame& frame) override { sink_.frame(frame); }
  std::int64_t tokens() const { return tokens_; }

 private:
  engine::TraceSink& sink_;
  std::int64_t tokens_ = 0;
};

engine::GenerateOptions engineOptions(const TraceCommandOptions& options, const engine::ModelInfo& info,
                                      const engine::TraceOptions& taps) {
  engine::GenerateOptions result;
  result.maxTokens = options.writing.maxTokens;
  result.sampling = options.writing.sampling;
  result.eosTokens = info.summary.config.eosTokens;
  if (info.tokenizer != nullptr && info.chat.turns) result.endOfTurn = info.chat.endOfTurn;
  result.trace = taps;
  result.scoreContext = true;
  return result;
}

// Global attention looks at everything before; a file keeps at most this many columns of it, the latest.
constexpr std::int64_t kMostColumns = 2048;

engine::TraceOptions traceOptions(const TraceCommandOptions& options, const engine::ModelConfig& config,
                                  std::int64_t most) {
  engine::TraceOptions trace;
  trace.globalSpan = std::clamp(most, trace.globalSpan, kMostColumns);
  trace.level = options.level == "full" ? engine::TraceLevel::full : engine::TraceLevel::summary;
  trace.layers = parseLayers(options.layers);
  if (!trace.layers.empty() && trace.layers.back() >= config.L) {
    throw engine::Error(engine::ErrorCode::badArgument,
                        fmt::format("--layers: the model has the layers 0 to {}, found {}", config.L - 1,
                                    trace.layers.back()));
  }
  return trace;
}

sessions::TraceFileOptions fileOptions(const TraceCommandOptions& options) {
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
  return file;
}

int trace(TraceCommandOptions& options) {
  options.input.check();
  options.writing.check();
  parseLayers(options.layers);  // wrong usage before a model is loaded
  sessions::TraceFileOptions file = fileOptions(options);
  Interrupt interrupt;
  LoadedModel loaded = loadModel(options.model, interrupt.token());
  const auto context = options.input.read(loaded.info).tokens;
  const auto most = static_cast<std::int64_t>(context.size()) + options.writing.maxTokens;
  const engine::TraceOptions taps = traceOptions(options, loaded.model->config(), most);

  file.interventions = engine::rulesOf(loaded.interventions);
  const auto sink = sessions::makeTraceWriter(options.out, file);
  Recorder recorder(*sink);
  engine::SequenceState state = loaded.newState();
  engine::GenerateResult result;
  try {
    sink->begin(loaded.info, engine::FrameLayout(loaded.model->config(), taps), most);
    result = engine::generate(*loaded.model, state, context, engineOptions(options, loaded.info, taps),
                              recorder, interrupt.token());
    if (result.next.position >= 0) sink->prediction(result.next);
    sink->end();  // cancelled: with what there is
  } catch (...) {
    sink->abandon();
    throw;
  }
  printLine({{"file", options.out},
             {"level", options.level},
             {"precision", options.precision},
             {"stop", engine::stopReasonName(result.stop)},
             {"seed", result.seed},
             {"prompt_tokens", context.size()},
             {"tokens", recorder.tokens()},
             {"interventions", interventionsJson(loaded.interventions)}});
  return result.stop == engine::StopReason::cancelled ? kCancelled : kDone;
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
