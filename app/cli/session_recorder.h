// `generate --store`: records the exchange as a session, or continues one. Without EYRIE_STORE it only
// refuses.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "app/cli/model_options.h"
#include "engine/generator.h"

namespace eyrie::app {

struct RecordingOptions {
  std::string store;
  std::int64_t session = 0;

  void addTo(CLI::App& command);
  // Wrong usage: --session without --store, --store with a token list.
  void check(const InputOptions& input) const;

 private:
  CLI::Option* storeOption_ = nullptr;
  CLI::Option* sessionOption_ = nullptr;
  friend class SessionRecorder;
};

// Commits the prompt before anything is written, and tokens at most a twentieth of a second late.
class SessionRecorder {
 public:
  // Opens the store and, with --session, finds the session. `loaded` and `writing` outlive the recorder.
  SessionRecorder(const RecordingOptions& options, const LoadedModel& loaded, const WritingOptions& writing);
  // A reply still being written (an error is on its way) keeps what it has and is marked cancelled.
  ~SessionRecorder();
  SessionRecorder(const SessionRecorder&) = delete;
  SessionRecorder& operator=(const SessionRecorder&) = delete;

  bool active() const { return impl_ != nullptr; }
  // Stores the prompt; returns the tokens of the whole conversation that the model is to continue.
  std::vector<std::int32_t> begin(const InputOptions& input);
  // The session's own snapshot where it fits the context, else an empty state.
  engine::SequenceState stateFor(const std::vector<std::int32_t>& context);
  void add(const engine::TokenRecord& record, const std::string& text);
  void addText(const std::string& text);
  // Ends the message, saves the state, says the session's id on stderr.
  void finish(const engine::GenerateResult& result, const engine::SequenceState& state);

 private:
  struct Impl;
  std::string stateFingerprint() const;
  const LoadedModel& loaded_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace eyrie::app
