// eyrie-cli generate: reads a prompt, writes after it; text or one JSON line a token.
#include <fmt/format.h>

#include "app/cli/command.h"
#include "app/cli/console.h"
#include "app/cli/model_options.h"
#include "app/cli/session_recorder.h"
#include "engine/generator.h"
#include "engine/tokenizer/utf8_assembler.h"

namespace eyrie::app {
namespace {

struct GenerateOptions {
  ModelOptions model;
  InputOptions input;
  WritingOptions writing;
  RecordingOptions recording;
  bool json = false;
};

// Prints what is written as it comes, and hands it to the session being recorded.
class Printer : public engine::GenerateObserver {
 public:
  Printer(const engine::ModelInfo& info, bool json, SessionRecorder& recorder)
      : info_(info), json_(json), recorder_(recorder) {}

  void onToken(const engine::TokenRecord& record) override {
    if (!record.generated) return;
    const bool known = info_.tokenizer != nullptr;
    const std::string text = known ? utf8_.push(info_.tokenizer->bytes(record.token)) : std::string();
    recorder_.add(record, text);
    if (json_) {
      printLine({{"token", record.token}, {"text", text}, {"logprob", number(record.logprob)}});
    } else if (known) {
      print(text);
      flushOutput();
    } else {
      print(fmt::format("{}{}", printed_ ? "," : "", record.token));
      flushOutput();
    }
    printed_ = true;
  }

  // What the last token left incomplete, and the line's end: before any note on stderr.
  void finish() {
    const std::string rest = utf8_.finish();
    recorder_.addText(rest);
    if (json_ || !printed_) return;
    print(rest + "\n");
    flushOutput();
  }

 private:
  const engine::ModelInfo& info_;
  bool json_;
  SessionRecorder& recorder_;
  engine::Utf8Assembler utf8_;
  bool printed_ = false;
};

engine::GenerateOptions engineOptions(const GenerateOptions& options, const engine::ModelInfo& info) {
  engine::GenerateOptions result;
  result.maxTokens = options.writing.maxTokens;
  result.sampling = options.writing.sampling;
  result.eosTokens = info.summary.config.eosTokens;
  if (info.tokenizer != nullptr && info.chat.turns) result.endOfTurn = info.chat.endOfTurn;
  return result;
}

void report(const GenerateOptions& options, const LoadedModel& loaded, const engine::GenerateResult& result,
            std::size_t promptTokens) {
  const char* stop = engine::stopReasonName(result.stop);
  if (options.json) {
    printLine({{"done", true},
               {"stop", stop},
               {"seed", result.seed},
               {"prompt_tokens", promptTokens},
               {"tokens", result.generatedTokens},
               {"prefill_ms", number(result.prefillMs)},
               {"decode_tokens_per_s", number(result.decodeTokensPerSecond())},
               {"interventions", interventionsJson(loaded.interventions)}});
    return;
  }
  note(fmt::format("[{} tokens after {}, {:.0f} tokens/s, stop: {}, seed {}]", result.generatedTokens,
                   promptTokens, result.decodeTokensPerSecond(), stop, result.seed));
}

int generate(GenerateOptions& options) {
  options.input.check();
  options.writing.check();
  options.recording.check(options.input);
  Interrupt interrupt;
  LoadedModel loaded = loadModel(options.model, interrupt.token());
  SessionRecorder recorder(options.recording, loaded, options.writing);
  const auto context =
      recorder.active() ? recorder.begin(options.input) : options.input.read(loaded.info).tokens;
  engine::SequenceState state = recorder.stateFor(context);
  Printer printer(loaded.info, options.json, recorder);
  const auto result = engine::generate(*loaded.model, state, context, engineOptions(options, loaded.info),
                                       printer, interrupt.token());
  printer.finish();
  recorder.finish(result, state);
  report(options, loaded, result, context.size());
  return result.stop == engine::StopReason::cancelled ? kCancelled : kDone;
}

}  // namespace

void addGenerateCommand(CLI::App& parser, Action& action) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* command = parser.add_subcommand("generate", "Reads a prompt and writes after it");
  options->model.addTo(*command);
  options->input.addPromptTo(*command);
  options->writing.addTo(*command);
  command->add_flag("--json", options->json, "One JSON object a token, then a summary");
  options->recording.addTo(*command);
  command->callback([options, &action] { action = [options] { return generate(*options); }; });
}

}  // namespace eyrie::app
