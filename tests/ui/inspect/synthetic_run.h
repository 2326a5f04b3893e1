// A run of made-up numbers with the shape of a real one: a small Griffin (or Hawk) and as many tokens as
// asked.
#pragma once

#include "ui/inspect/inspected_run.h"

namespace eyrie::ui {

struct SyntheticOptions {
  std::string pattern = "RRARRA";  // R recurrent, A local attention, G global attention
  std::int64_t R = 160;
  std::int64_t H = 5;
  std::int64_t W = 128;
  std::int64_t tokens = 195;
  std::int64_t prompt = 124;
  engine::TraceLevel level = engine::TraceLevel::full;
  engine::RgLru rgLru = engine::RgLru::real;
};

engine::ModelConfig syntheticConfig(const SyntheticOptions& options);
// Replaces the run's trace.
void fillSynthetic(InspectedRun& run, const SyntheticOptions& options);
// Adds token `position` to it, the same for the same position and seed.
void appendSynthetic(InspectedRun& run, std::int64_t position, bool generated, std::uint32_t seed = 1);

}  // namespace eyrie::ui
