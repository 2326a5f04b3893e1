// eyrie-cli score: how likely a text or a token list is, token by token and along its length; logits and
// state as files.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <numbers>
#include <optional>

#include "app/cli/command.h"
#include "app/cli/console.h"
#include "app/cli/score_against.h"
#include "app/cli/score_options.h"
#include "app/cli/score_results.h"
#include "app/cli/score_resume.h"
#include "engine/state_file.h"

namespace eyrie::app {
namespace {

using Clock = std::chrono::steady_clock;

double perplexityOf(double logprobSum, std::int64_t tokens) {
  return std::exp(-logprobSum / static_cast<double>(tokens));
}

// Once a second; on a terminal over the line before.
class Progress {
 public:
  explicit Progress(bool asked) : terminal_(::isatty(STDERR_FILENO) == 1), shown_(asked || terminal_) {}
  ~Progress() {
    if (dirty_) note("");
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(const engine::ScoreTotals& totals) {
    if (first_ < 0) first_ = totals.tokens;
    if (Clock::now() - last_ >= std::chrono::seconds(1)) say(totals);
  }

  // How far it came, however short it was.
  void end(const engine::ScoreTotals& totals) { say(totals); }

 private:
  void say(const engine::ScoreTotals& totals) {
    if (!shown_) return;
    last_ = Clock::now();
    const double seconds = std::chrono::duration<double>(last_ - start_).count();
    const std::string line =
        fmt::format("{} tokens, {:.0f} tokens/s, perplexity {:.4f}", totals.tokens,
                    static_cast<double>(totals.tokens - first_) / seconds, totals.perplexity());
    if (terminal_)
      std::fputs(("\r\x1b[K" + line).c_str(), stderr);
    else
      note(line);
    dirty_ = terminal_;
  }

  bool terminal_;
  bool shown_;
  bool dirty_ = false;
  std::int64_t first_ = -1;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_ = start_;
};

Json bucketLine(const engine::PositionBuckets& buckets, std::size_t bucket, bool against) {
  const engine::BucketSums& sums = buckets.all()[bucket];
  const double tokens = static_cast<double>(sums.tokens);
  Json line{{"from", buckets.from(bucket)},
            {"to", buckets.from(bucket + 1)},
            {"tokens", sums.tokens},
            {"loss", number(-sums.logprobSum / tokens)},
            {"perplexity", number(perplexityOf(sums.logprobSum, sums.tokens))}};
  if (!against) return line;
  line["against_perplexity"] = number(perplexityOf(sums.otherLogprobSum, sums.tokens));
  line["kl"] = number(sums.divergenceSum / tokens);
  return line;
}

Json againstLine(const ScoreAgainst& against, const engine::ScoreTotals& totals) {
  const double other = against.totals().perplexity();
  return {{"model", against.info().name},
          {"interventions", interventionsJson(against.interventions())},
          {"logprob_sum", number(against.totals().logprobSum)},
          {"perplexity", number(other)},
          {"perplexity_change", number(other / totals.perplexity() - 1)},
          {"kl", number(against.divergence())}};
}

// `bytes` is nothing where there is no tokenizer.
void report(const engine::ScoreTotals& totals, std::optional<std::uint64_t> bytes,
            const engine::PositionBuckets& buckets, const ScoreAgainst* against, Json interventions) {
  const double bits = -totals.logprobSum / std::numbers::ln2;
  Json line{{"tokens", totals.tokens},
            {"bytes", bytes ? Json(*bytes) : Json(nullptr)},
            {"logprob_sum", number(totals.logprobSum)},
            {"perplexity", number(totals.perplexity())},
            {"bits_per_byte", bytes && *bytes > 0 ? number(bits / double(*bytes)) : Json(nullptr)},
            {"chunks", totals.chunks},
            {"interventions", std::move(interventions)}};
  if (against != nullptr) line["against"] = againstLine(*against, totals);
  line["buckets"] = Json::array();
  for (std::size_t bucket = 0; bucket < buckets.all().size(); ++bucket) {
    if (buckets.all()[bucket].tokens > 0)
      line["buckets"].push_back(bucketLine(buckets, bucket, against != nullptr));
  }
  if (!totals.complete) line["stop"] = "cancelled";
  printLine(line);
}

// How many tokens there are, which a file of all logits begins with, is known only when all are found.
std::int64_t collect(std::unique_ptr<engine::TokenStream>& stream) {
  std::vector<std::int32_t> tokens;
  while (const auto token = stream->next()) tokens.push_back(*token);
  const auto T = static_cast<std::int64_t>(tokens.size());
  stream = std::make_unique<engine::ListStream>(std::move(tokens), stream->bytesRead());
  return T;
}

// One command's work, in the order of its members.
class Scoring {
 public:
  explicit Scoring(const ScoreOptions& options)
      : options_(options),
        loaded_(loadModel(options.model, interrupt_.token())),
        stream_(options.input.stream(loaded_.info)),
        T_(options.logits.empty() ? 0 : collect(stream_)),
        chunk_(chunkRows()),
        resume_(options, loaded_, chunk_),
        state_(resume_.found() != nullptr ? resume_.state(loaded_) : loaded_.newState()),
        results_(options, loaded_.info, T_, resume_.found() != nullptr ? resume_.found()->perTokenBytes : 0),
        run_(*loaded_.model, state_, results_) {
    if (!options.against.empty()) against_.emplace(options, loaded_, interrupt_.token());
    if (against_) results_.setAgainst(&*against_);
    if (resume_.found() != nullptr) goOn();
  }

  int run() {
    const bool complete = readAll();
    if (complete) {
      if (!options_.state.empty())
        engine::writeStateFile(options_.state, savedState(loaded_, std::move(tokens_), state_.download()));
      results_.commit();
      resume_.remove();
    } else {
      sayCancelled();
    }
    std::optional<std::uint64_t> bytes;
    if (loaded_.info.tokenizer)
      bytes = complete && options_.input.isText() ? stream_->bytesRead() : results_.bytes();
    report(run_.totals(), bytes, results_.buckets(), against_ ? &*against_ : nullptr,
           interventionsJson(loaded_.interventions));
    return complete ? kDone : kCancelled;
  }

 private:
  std::int64_t chunkRows() const {
    const std::int64_t rows = engine::scoreChunk(*loaded_.model, options_.chunk);
    return options_.against.empty() ? rows
                                    : std::min(rows, ScoreAgainst::longestChunk(loaded_.model->config()));
  }

  void goOn() {
    const engine::ScoreCheckpoint& found = *resume_.found();
    resume_.skip(*stream_, [this](std::int32_t token) { keep(token); });
    run_.resume(found.totals, found.pending);
    results_.buckets().restore(found.buckets);
    results_.restoreBytes(found.bytes);
    note(fmt::format("going on after {} tokens of {}", found.totals.tokens, options_.checkpoint));
  }

  bool readAll() {
    engine::TokenWindow window(*stream_, chunk_);
    resume_.checkNext(window.chunk());
    Progress progress(options_.progress);
    progress.show(run_.totals());
    for (; !window.chunk().empty(); window.drop()) {
      if (!run_.feed(window.chunk(), window.following(), interrupt_.token())) {
        resume_.save(run_, state_, results_, true);
        return false;
      }
      if (against_) against_->feed(window.chunk(), window.following(), results_.buckets());
      for (const std::int32_t token : window.chunk()) keep(token);
      resume_.add(window.chunk());
      if (window.following() >= 0) resume_.save(run_, state_, results_, false);
      progress.show(run_.totals());
    }
    progress.end(run_.totals());
    return true;
  }

  // The file of a state names the tokens that made it.
  void keep(std::int32_t token) {
    if (!options_.state.empty()) tokens_.push_back(token);
  }

  void sayCancelled() const {
    if (!options_.checkpoint.empty())
      complain(fmt::format("cancelled; the same command goes on from {}", options_.checkpoint));
    else if (!options_.logits.empty() || !options_.state.empty() || !options_.perToken.empty())
      complain("cancelled; no files were written");
  }

  const ScoreOptions& options_;
  Interrupt interrupt_;
  LoadedModel loaded_;
  std::unique_ptr<engine::TokenStream> stream_;
  std::int64_t T_;
  std::int64_t chunk_;
  ScoreResume resume_;
  engine::SequenceState state_;
  ScoreResults results_;
  engine::ScoreRun run_;
  std::optional<ScoreAgainst> against_;
  std::vector<std::int32_t> tokens_;  // read, where the state is asked for
};

int score(const ScoreOptions& options) {
  options.check();
  return Scoring(options).run();
}

}  // namespace

void addScoreCommand(CLI::App& parser, Action& action) {
  auto options = std::make_shared<ScoreOptions>();
  CLI::App* command =
      parser.add_subcommand("score", "Log-probability, perplexity and bits per byte of a text");
  options->addTo(*command);
  command->callback([options, &action] { action = [options] { return score(*options); }; });
}

}  // namespace eyrie::app
