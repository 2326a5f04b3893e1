// eyrie-cli generate: reads a prompt, writes after it; text or one JSON line a token.
#include <fmt/format.h>

#include "app/cli/checks.h"
#include "app/cli/command.h"
#include "app/cli/console.h"
#include "app/cli/model_options.h"
#include "app/cli/session_recorder.h"
#include "engine/error.h"
#include "engine/generator.h"
#include "engine/tokenizer/utf8_assembler.h"

namespace eyrie::app {
namespace {

struct GenerateOptions {
  ModelOptions model;
  InputOptions input;
  WritingOptions writing;
  RecordingOptions recording;
  std::string state;
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
               {"read_tokens", result.contextTokens},
               {"tokens", result.generatedTokens},
               {"prefill_ms", number(result.prefillMs)},
               {"decode_tokens_per_s", number(result.decodeTokensPerSecond())},
               {"interventions", interventionsJson(loaded.interventions)}});
    return;
  }
  note(fmt::format("[{} tokens after {}, {:.0f} tokens/s, stop: {}, seed {}]", result.generatedTokens,
                   promptTokens, result.decodeTokensPerSecond(), stop, result.seed));
}

void check(GenerateOptions& options) {
  if (options.state.empty() || options.input.given()) options.input.check();
  if (!options.state.empty()) {
    if (options.input.chat) {
      wrongUsage("--chat begins a conversation, --state goes on with one: give the text as it is");
    }
    if (!options.recording.store.empty()) wrongUsage("--store goes with a prompt, not with --state");
  }
  options.writing.check();
  options.recording.check(options.input);
}

// What the model is to continue, and the state of its beginning.
struct Beginning {
  std::vector<std::int32_t> context;
  engine::SequenceState state;
};

// Going on with other rules than before is an experiment, unless nobody knows of it.
void noteOtherRules(const engine::Interventions& before, const engine::Interventions& now) {
  if (before == now) return;
  const auto text = [](const engine::Interventions& rules) {
    return rules.empty() ? "no interventions" : engine::printInterventions(rules);
  };
  note(fmt::format("[state read with {}; going on with {}]", text(before), text(now)));
}

// Nothing that the state holds is read again.
Beginning fromState(const GenerateOptions& options, const LoadedModel& loaded) {
  engine::SavedState saved = engine::readStateFile(options.state);
  engine::checkStateOf(saved, options.state, loaded.model->config(), loaded.info.fingerprint,
                       loaded.info.name);
  noteOtherRules(saved.interventions, engine::rulesOf(loaded.interventions));
  std::vector<std::int32_t> context = std::move(saved.tokens);
  if (options.input.given()) {
    const std::vector<std::int32_t> more = options.input.read(loaded.info, true).tokens;
    context.insert(context.end(), more.begin(), more.end());
  }
  if (static_cast<std::int64_t>(context.size()) == saved.state.position) {
    throw engine::Error(
        engine::ErrorCode::badArgument,
        fmt::format("{}: all {} tokens are read, and the next is known only after one more: add a prompt",
                    options.state, saved.state.position));
  }
  return {std::move(context), loaded.restoreState(saved.state)};
}

Beginning begin(const GenerateOptions& options, const LoadedModel& loaded, SessionRecorder& recorder) {
  if (!options.state.empty()) return fromState(options, loaded);
  std::vector<std::int32_t> context =
      recorder.active() ? recorder.begin(options.input) : options.input.read(loaded.info).tokens;
  engine::SequenceState state = recorder.stateFor(context);
  return {std::move(context), std::move(state)};
}

int generate(GenerateOptions& options) {
  check(options);
  Interrupt interrupt;
  LoadedModel loaded = loadModel(options.model, interrupt.token());
  SessionRecorder recorder(options.recording, loaded, options.writing);
  auto [context, state] = begin(options, loaded, recorder);
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
  command
      ->add_option(
          "--state", options->state,
          "Goes on from a saved state instead of reading; a prompt, if any, follows what it has read")
      ->check(filled())
      ->type_name("F.safetensors");
  command->add_flag("--json", options->json, "One JSON object a token, then a summary");
  options->recording.addTo(*command);
  command->callback([options, &action] { action = [options] { return generate(*options); }; });
}

}  // namespace eyrie::app
