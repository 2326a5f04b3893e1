// Options that several commands share: which model on which backend, what it reads, how it samples.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "app/cli/console.h"
#include "engine/events.h"
#include "engine/intervention_plan.h"
#include "engine/model.h"
#include "engine/sampler.h"
#include "engine/state_file.h"
#include "engine/token_stream.h"

namespace eyrie::app {

struct ModelOptions {
  std::string model;
  std::string preset;  // for tensors with DeepMind's names; "" for none
  std::string backend = "auto";
  int threads = 0;  // 0: all cores
  std::string dtype = "auto";
  std::string intervene;

  void addTo(CLI::App& command);
};

struct LoadedModel {
  std::shared_ptr<engine::Model> model;
  engine::ModelInfo info;
  std::shared_ptr<const engine::InterventionPlan> interventions;  // null: none

  // Of both, reading goes on with the interventions.
  engine::SequenceState newState() const;
  engine::SequenceState restoreState(const engine::HostState& saved) const;
};

// A state with all that its file says: `tokens` made it, of which the last may still be unread.
engine::SavedState savedState(const LoadedModel& loaded, std::vector<std::int32_t> tokens,
                              engine::HostState state);

CLI::Validator knownDtype();                               // of --dtype
CLI::Validator interventionSpec();                         // of --intervene
engine::BackendKind backendKind(const std::string& name);  // one of auto, cpu, reference, cuda
// Of --intervene, listed on stderr; null for none. Throws engine::Error for what the model does not have.
std::shared_ptr<const engine::InterventionPlan> readInterventions(const ModelOptions& options,
                                                                  const engine::ModelConfig& config);
// Canonical text, a string a rule.
Json interventionsJson(const engine::Interventions& rules);
Json interventionsJson(const std::shared_ptr<const engine::InterventionPlan>& plan);
// Finds, checks and loads, with the interventions; `ops` as in engine::LoadOptions. Throws engine::Error;
// cancelled by `stop`.
LoadedModel loadModel(const ModelOptions& options, std::stop_token stop, const engine::CpuOps* ops = nullptr);
// The headers alone, with the tokenizer: nothing of the weights is read. Throws engine::Error.
engine::ModelInfo openModel(const ModelOptions& options,
                            std::shared_ptr<const engine::Checkpoint>& checkpoint);

// What a model is to read.
struct Input {
  std::vector<std::int32_t> tokens;
  std::uint64_t textBytes = 0;  // of the text itself; 0 for token lists
};

// Exactly one source of tokens. Text gets its BOS; token lists are used as they are.
struct InputOptions {
  std::string text;
  std::string textFile;
  std::string tokens;
  std::string tokensFile;
  bool chat = false;

  // --prompt, --prompt-file, --tokens, --tokens-file and --chat; or --text-file instead of the first two.
  void addPromptTo(CLI::App& command);
  void addTextTo(CLI::App& command);
  void check() const;  // wrong usage unless exactly one source is given
  bool given() const;  // at least one is
  bool isText() const { return tokensOption_->count() == 0 && tokensFileOption_->count() == 0; }
  // The text of --prompt or the file's. Throws engine::Error.
  std::string readText() const;
  // At least one token, all in the vocabulary. Throws engine::Error, also where text meets a model without
  // tokenizer.
  // `goesOn`: text gets no BOS, since it follows what was read.
  Input read(const engine::ModelInfo& info, bool goesOn = false) const;
  // The same tokens one after another, a file's text piece by piece. Throws engine::Error.
  std::unique_ptr<engine::TokenStream> stream(const engine::ModelInfo& info) const;

 private:
  void addTokensTo(CLI::App& command);
  std::vector<const CLI::Option*> sources() const;
  CLI::Option* textOption_ = nullptr;
  CLI::Option* textFileOption_ = nullptr;
  CLI::Option* tokensOption_ = nullptr;
  CLI::Option* tokensFileOption_ = nullptr;
};

// --max-tokens and sampling. The seed is drawn where none was given.
struct WritingOptions {
  int maxTokens = 128;
  engine::SamplingOptions sampling;

  void addTo(CLI::App& command);
  void check();  // wrong usage for a value out of range; draws the seed

 private:
  CLI::Option* seedOption_ = nullptr;
};

}  // namespace eyrie::app
