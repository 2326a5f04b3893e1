// --checkpoint of score: what is kept of a run, and going on from it.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "app/cli/score_options.h"
#include "app/cli/score_results.h"
#include "engine/checkpoint/fingerprint.h"
#include "engine/score_checkpoint.h"
#include "engine/token_stream.h"

namespace eyrie::app {

class ScoreResume {
 public:
  // Reads the checkpoint where there is one. Throws engine::Error where it is damaged, or names what was
  // asked for otherwise then: another model, backend, number of threads, option.
  ScoreResume(const ScoreOptions& options, const LoadedModel& loaded, std::int64_t chunk);

  // Null where the run begins anew.
  const engine::ScoreCheckpoint* found() const { return found_ ? &*found_ : nullptr; }
  // Passes over the tokens that were fed before, and tells of each. Throws Error(badFile) where they are
  // others than then.
  void skip(engine::TokenStream& stream, const std::function<void(std::int32_t)>& passed);
  // What follows them must begin as it did then. Throws Error(badFile).
  void checkNext(std::span<const std::int32_t> tokens) const;
  // The state after them.
  engine::SequenceState state(const LoadedModel& loaded) const;

  // After each chunk: counts its tokens, and saves when it is time to (or when told).
  void add(std::span<const std::int32_t> tokens);
  void save(const engine::ScoreRun& run, const engine::SequenceState& state, ScoreResults& results, bool now);
  // All is done, and nothing left to go on from.
  void remove() const;

 private:
  const std::string file_;
  std::chrono::seconds interval_;
  std::string fingerprint_;
  std::map<std::string, std::string> settings_;
  std::optional<engine::ScoreCheckpoint> found_;
  engine::Digest tokens_;
  std::chrono::steady_clock::time_point saved_ = std::chrono::steady_clock::now();
};

}  // namespace eyrie::app
