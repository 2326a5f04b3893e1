// eyrie-cli score: how likely a text or a token list is, token by token; logits and state as files.
#include <fmt/format.h>

#include <cmath>
#include <numbers>
#include <optional>

#include "app/cli/command.h"
#include "app/cli/console.h"
#include "app/cli/model_options.h"
#include "app/cli/state_file.h"
#include "engine/checkpoint/file_io.h"
#include "engine/checkpoint/npy.h"
#include "engine/error.h"

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

struct TokenScore {
  double logprob = 0;
  double entropy = 0;
  std::int64_t rank = 0;  // 0: the likeliest
};

// `logits` (V) predict `token`. Sums in double: V terms of very different size.
TokenScore scoreToken(std::span<const float> logits, std::int32_t token) {
  const double top = *std::max_element(logits.begin(), logits.end());
  const float own = logits[static_cast<std::size_t>(token)];
  double sum = 0;
  double weighted = 0;
  TokenScore score;
  for (const float logit : logits) {
    const double p = std::exp(double(logit) - top);
    sum += p;
    weighted += p * (double(logit) - top);
    score.rank += logit > own ? 1 : 0;
  }
  score.logprob = double(own) - top - std::log(sum);
  score.entropy = std::log(sum) - weighted / sum;
  return score;
}

class Scorer : public engine::PrefillObserver {
 public:
  Scorer(const ScoreOptions& options, const engine::ModelInfo& info, std::span<const std::int32_t> tokens)
      : info_(info), tokens_(tokens) {
    const auto T = static_cast<std::int64_t>(tokens.size());
    if (!options.logits.empty()) {
      const std::vector<std::int64_t> shape{T, info.summary.config.V};
      logits_.emplace(options.logits, "<f4", shape);
    }
    if (!options.perToken.empty()) perToken_.emplace(options.perToken);
    writeLine(0, nullptr);
  }

  // These logits predict the token after `position`; the last row predicts a token that is not there.
  void onLogits(std::int64_t position, std::span<const float> logits) override {
    if (logits_) logits_->write(logits.data(), logits.size_bytes());
    const auto next = static_cast<std::size_t>(position) + 1;
    if (next >= tokens_.size()) return;
    const TokenScore score = scoreToken(logits, tokens_[next]);
    sum_ += score.logprob;
    bytes_ += bytesOf(next);
    ++scored_;
    writeLine(next, &score);
  }

  void commit() {
    if (logits_) logits_->finish();
    if (perToken_) perToken_->commit();
  }

  double logprobSum() const { return sum_; }
  std::int64_t scored() const { return scored_; }
  std::uint64_t bytes() const { return bytes_; }

 private:
  std::uint64_t bytesOf(std::size_t index) const {
    return info_.tokenizer ? info_.tokenizer->bytes(tokens_[index]).size() : 0;
  }

  void writeLine(std::size_t index, const TokenScore* score) {
    if (!perToken_) return;
    const auto token = tokens_[index];
    const Json line{{"position", index},
                    {"token", token},
                    {"text", info_.tokenizer ? Json(info_.tokenizer->display(token)) : Json(nullptr)},
                    {"logprob", score != nullptr ? number(score->logprob) : Json(nullptr)},
                    {"entropy", score != nullptr ? number(score->entropy) : Json(nullptr)},
                    {"rank", score != nullptr ? Json(score->rank) : Json(nullptr)}};
    const std::string text = line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    perToken_->write(text.data(), text.size());
  }

  const engine::ModelInfo& info_;
  std::span<const std::int32_t> tokens_;
  std::optional<engine::NpyWriter> logits_;
  std::optional<engine::OutputFile> perToken_;
  double sum_ = 0;
  std::int64_t scored_ = 0;
  std::uint64_t bytes_ = 0;
};

void report(const Scorer& scorer, std::int64_t fed, std::int64_t chunk, bool hasTokenizer, bool cancelled) {
  const double nats = -scorer.logprobSum();
  const bool perByte = hasTokenizer && scorer.bytes() > 0;
  Json line{{"tokens", fed},
            {"bytes", hasTokenizer ? Json(scorer.bytes()) : Json(nullptr)},
            {"logprob_sum", scorer.logprobSum()},
            {"perplexity", scorer.scored() > 0 ? number(std::exp(nats / double(scorer.scored()))) : Json()},
            {"bits_per_byte", perByte ? number(nats / std::numbers::ln2 / double(scorer.bytes())) : Json()},
            {"chunks", (fed + chunk - 1) / chunk}};
  if (cancelled) line["stop"] = "cancelled";
  printLine(line);
}

int score(const ScoreOptions& options) {
  options.input.check();
  Interrupt interrupt;
  LoadedModel loaded = loadModel(options.model, interrupt.token());
  const auto tokens = options.input.readTokens(loaded.info);
  const std::int64_t most = loaded.model->maxChunk();
  const std::int64_t chunk = options.chunk > 0 ? std::min(options.chunk, most) : most;

  Scorer scorer(options, loaded.info, tokens);
  engine::SequenceState state = loaded.model->newState();
  loaded.model->prefill(state, tokens, engine::LogitRows::all, &scorer, nullptr, interrupt.token(), chunk);
  const bool cancelled = state.position() < static_cast<std::int64_t>(tokens.size());
  if (!cancelled) {
    if (!options.state.empty()) writeStateFile(options.state, state.download(), loaded.model->config());
    scorer.commit();
  } else if (!options.logits.empty() || !options.state.empty() || !options.perToken.empty()) {
    note("eyrie-cli: cancelled; no files were written");
  }
  report(scorer, state.position(), chunk, loaded.info.tokenizer != nullptr, cancelled);
  return cancelled ? kCancelled : kDone;
}

}  // namespace

void addScoreCommand(CLI::App& parser, Action& action) {
  auto options = std::make_shared<ScoreOptions>();
  CLI::App* command =
      parser.add_subcommand("score", "Log-probability, perplexity and bits per byte of a text");
  options->model.addTo(*command);
  options->input.addTextTo(*command);
  command->add_option("--logits", options->logits, "Writes all logits, (T, V) f32")->type_name("OUT.npy");
  command->add_option("--state", options->state, "Writes the state after the last token")
      ->type_name("OUT.safetensors");
  command->add_option("--per-token", options->perToken, "Writes one line a token")->type_name("OUT.jsonl");
  command->add_option("--chunk", options->chunk, "Tokens read at once [what the backend prefers]")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 30))
      ->type_name("N");
  command->callback([options, &action] { action = [options] { return score(*options); }; });
}

}  // namespace eyrie::app
