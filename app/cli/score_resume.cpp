#include "app/cli/score_resume.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "engine/checkpoint/file_io.h"
#include "engine/error.h"

namespace eyrie::app {

using engine::Error;
using engine::ErrorCode;

namespace {

// The state of a large model with global attention; a checkpoint is read whole.
constexpr std::uint64_t kMaxCheckpointBytes = std::uint64_t{64} << 30U;

// All that the numbers depend on, beside the tokens.
std::map<std::string, std::string> settingsOf(const ScoreOptions& options, const LoadedModel& loaded,
                                              std::int64_t chunk) {
  return {{"model", loaded.info.fingerprint},
          {"backend", loaded.info.backend},
          {"--dtype", options.model.dtype},
          {"--intervene", options.model.intervene},
          {"--chunk", std::to_string(chunk)},
          {"--bucket", std::to_string(options.bucket)},
          {"--per-token", options.perToken.empty()
                              ? ""
                              : std::filesystem::absolute(options.perToken).lexically_normal().string()}};
}

}  // namespace

ScoreResume::ScoreResume(const ScoreOptions& options, const LoadedModel& loaded, std::int64_t chunk)
    : file_(options.checkpoint),
      interval_(options.checkpointSeconds),
      fingerprint_(loaded.info.fingerprint),
      settings_(settingsOf(options, loaded, chunk)) {
  std::error_code failed;
  if (file_.empty() || !std::filesystem::exists(file_, failed)) return;
  found_ = engine::parseScoreCheckpoint(engine::readFile(file_, kMaxCheckpointBytes), file_);
  for (const auto& [name, value] : settings_) {
    const auto then = found_->settings.find(name);
    const std::string before = then == found_->settings.end() ? "nothing" : "'" + then->second + "'";
    if (before != "'" + value + "'") {
      throw Error(ErrorCode::badFile, fmt::format("{}: {}: expected '{}' as asked for now, found {}", file_,
                                                  name, value, before));
    }
  }
}

void ScoreResume::skip(engine::TokenStream& stream, const std::function<void(std::int32_t)>& passed) {
  const std::int64_t T = found_->totals.tokens;
  for (std::int64_t i = 0; i < T; ++i) {
    const auto token = stream.next();
    if (!token) {
      throw Error(
          ErrorCode::badFile,
          fmt::format("{}: expected the same tokens as then, {} of them, found only {}", file_, T, i));
    }
    tokens_.add(std::int64_t{*token});
    passed(*token);
  }
  if (tokens_.hex() != found_->tokensDigest) {
    throw Error(ErrorCode::badFile,
                fmt::format("{}: expected the same first {} tokens as then, found others", file_, T));
  }
}

void ScoreResume::checkNext(std::span<const std::int32_t> tokens) const {
  if (!found_ || (!tokens.empty() && tokens.front() == found_->pending.token)) return;
  throw Error(ErrorCode::badFile, fmt::format("{}: expected token {} after the first {}, found {}", file_,
                                              found_->pending.token, found_->totals.tokens,
                                              tokens.empty() ? "no more" : std::to_string(tokens.front())));
}

engine::SequenceState ScoreResume::state(const LoadedModel& loaded) const {
  const engine::HostState state = engine::parseState(found_->state, loaded.model->config(), fingerprint_);
  if (state.position != found_->totals.tokens || found_->pending.position != state.position) {
    throw Error(ErrorCode::badFile, fmt::format("{}: position: expected {}, found {}", file_,
                                                found_->totals.tokens, state.position));
  }
  return loaded.restoreState(state);
}

void ScoreResume::add(std::span<const std::int32_t> tokens) {
  if (file_.empty()) return;
  for (const std::int32_t token : tokens) tokens_.add(std::int64_t{token});
}

void ScoreResume::save(const engine::ScoreRun& run, const engine::SequenceState& state, ScoreResults& results,
                       bool now) {
  const auto time = std::chrono::steady_clock::now();
  if (file_.empty() || (!now && time - saved_ < interval_)) return;
  results.sync();  // a checkpoint must never be ahead of the file it speaks of
  const engine::ScoreCheckpoint checkpoint{settings_,
                                           tokens_.hex(),
                                           run.totals(),
                                           run.pending(),
                                           results.buckets().all(),
                                           results.bytes(),
                                           results.perTokenBytes(),
                                           engine::serialiseState(state.download(), fingerprint_)};
  engine::writeFile(file_, engine::writeScoreCheckpoint(checkpoint));
  saved_ = std::chrono::steady_clock::now();
}

void ScoreResume::remove() const {
  std::error_code ignored;
  if (!file_.empty()) std::filesystem::remove(file_, ignored);
}

}  // namespace eyrie::app
