// What eyrie-cli score was asked for.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "app/cli/model_options.h"

namespace eyrie::app {

struct ScoreOptions {
  ModelOptions model;
  InputOptions input;
  std::int64_t chunk = 0;   // 0: what the model prefers
  std::int64_t bucket = 0;  // 0: powers of two
  std::string logits;
  std::string state;
  std::string perToken;
  std::string checkpoint;
  std::int64_t checkpointSeconds = 30;
  std::string against;
  std::string againstDtype = "auto";
  std::string againstIntervene;
  bool progress = false;

  void addTo(CLI::App& command);
  // Wrong usage for options that do not go together, engine::Error for places where no file can be.
  void check() const;
};

}  // namespace eyrie::app
