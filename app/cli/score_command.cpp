// eyrie-cli score: how likely a text or a token list is, token by token; logits and state as files.
#include <fmt/format.h>

#include <filesystem>
#include <numbers>
#include <optional>
#include <set>

#include "app/cli/checks.h"
#include "app/cli/command.h"
#include "app/cli/console.h"
#include "app/cli/model_options.h"
#include "engine/checkpoint/file_io.h"
#include "engine/checkpoint/npy.h"
#include "engine/score.h"
#include "engine/state_file.h"

namespace eyrie::app {
namespace {

struct ScoreOptions {
  ModelOptions model;
  InputOptions input;
  std::int64_t chunk = 0;
  std::string logits;
  std::string state;
  std::string perToken;
};

// A file for each result, and a place for the one that is only written at the end.
void checkOutputs(const ScoreOptions& options) {
  std::set<std::filesystem::path> files;
  for (const std::string& name : {options.logits, options.state, options.perToken}) {
    if (name.empty() || files.insert(std::filesystem::absolute(name).lexically_normal()).second) continue;
    wrongUsage(fmt::format("--logits, --state, --per-token: expected different files, found {} twice", name));
  }
  if (!options.state.empty()) engine::outputTarget(options.state);
}

// Counts bytes, and writes the files that were asked for as the rows come.
class Scorer : public engine::ScoreObserver {
 public:
  Scorer(const ScoreOptions& options, const engine::ModelInfo& info, std::int64_t T) : info_(info) {
    if (!options.logits.empty()) {
      logits_.emplace(options.logits, "<f4", std::vector<std::int64_t>{T, info.summary.config.V});
    }
    if (!options.perToken.empty()) perToken_.emplace(options.perToken);
  }

  bool wantsLogits() const override { return logits_.has_value(); }
  void onLogits(std::int64_t, std::span<const float> logits) override {
    if (logits_) logits_->write(logits.data(), logits.size_bytes());
  }

  void onToken(const engine::TokenRecord& record) override {
    const bool scored = record.position > 0;
    if (scored && info_.tokenizer) bytes_ += info_.tokenizer->bytes(record.token).size();
    if (!perToken_) return;
    const Json line{{"position", record.position},
                    {"token", record.token},
                    {"text", info_.tokenizer ? Json(info_.tokenizer->display(record.token)) : Json(nullptr)},
                    {"logprob", number(record.logprob)},
                    {"entropy", number(record.entropy)},
                    {"rank", scored ? Json(record.rank) : Json(nullptr)}};
    const std::string text = line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    perToken_->write(text.data(), text.size());
  }

  void commit() {
    if (logits_) logits_->finish();
    if (perToken_) perToken_->commit();
  }

  // Of the scored tokens; a text's own size may differ (a tokenizer may add a space before it).
  std::uint64_t bytes() const { return bytes_; }

 private:
  const engine::ModelInfo& info_;
  std::optional<engine::NpyWriter> logits_;
  std::optional<engine::OutputFile> perToken_;
  std::uint64_t bytes_ = 0;
};

// `bytes` is nothing where there is no tokenizer.
void report(const engine::ScoreTotals& totals, std::optional<std::uint64_t> bytes, Json interventions) {
  const double bits = -totals.logprobSum / std::numbers::ln2;
  Json line{{"tokens", totals.tokens},
            {"bytes", bytes ? Json(*bytes) : Json(nullptr)},
            {"logprob_sum", number(totals.logprobSum)},
            {"perplexity", number(totals.perplexity())},
            {"bits_per_byte", bytes && *bytes > 0 ? number(bits / double(*bytes)) : Json(nullptr)},
            {"chunks", totals.chunks},
            {"interventions", std::move(interventions)}};
  if (!totals.complete) line["stop"] = "cancelled";
  printLine(line);
}

int score(const ScoreOptions& options) {
  options.input.check();
  checkOutputs(options);
  Interrupt interrupt;
  LoadedModel loaded = loadModel(options.model, interrupt.token());
  const Input input = options.input.read(loaded.info);
  Scorer scorer(options, loaded.info, static_cast<std::int64_t>(input.tokens.size()));
  engine::SequenceState state = loaded.newState();
  const auto totals =
      engine::scoreTokens(*loaded.model, state, input.tokens, scorer, options.chunk, interrupt.token());
  if (totals.complete) {
    if (!options.state.empty()) {
      engine::writeStateFile(options.state, savedState(loaded, input.tokens, state.download()));
    }
    scorer.commit();
  } else if (!options.logits.empty() || !options.state.empty() || !options.perToken.empty()) {
    complain("cancelled; no files were written");
  }
  std::optional<std::uint64_t> bytes;
  if (loaded.info.tokenizer) {
    bytes = totals.complete && options.input.isText() ? input.textBytes : scorer.bytes();
  }
  report(totals, bytes, interventionsJson(loaded.interventions));
  return totals.complete ? kDone : kCancelled;
}

}  // namespace

void addScoreCommand(CLI::App& parser, Action& action) {
  auto options = std::make_shared<ScoreOptions>();
  CLI::App* command =
      parser.add_subcommand("score", "Log-probability, perplexity and bits per byte of a text");
  options->model.addTo(*command);
  options->input.addTextTo(*command);
  command->add_option("--logits", options->logits, "Writes all logits, (T, V) f32")
      ->check(filled())
      ->type_name("OUT.npy");
  command->add_option("--state", options->state, "Writes the state after the last token")
      ->check(filled())
      ->type_name("OUT.safetensors");
  command->add_option("--per-token", options->perToken, "Writes one line a token")
      ->check(filled())
      ->type_name("OUT.jsonl");
  command->add_option("--chunk", options->chunk, "Tokens read at once [what the backend prefers]")
      ->check(wholeNumber(1, 1 << 30))
      ->type_name("N");
  command->callback([options, &action] { action = [options] { return score(*options); }; });
}

}  // namespace eyrie::app
