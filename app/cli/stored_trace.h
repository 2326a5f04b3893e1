// A trace file as the views know a run: configuration, token records, frames.
#pragma once

#include <filesystem>
#include <memory>

#include "engine/events.h"
#include "engine/trace.h"

namespace eyrie::app {

struct StoredTrace {
  // What the file says of the model: its name, the configuration as far as views need it, and a tokenizer
  // that only knows how the trace's own tokens look.
  std::shared_ptr<const engine::ModelInfo> model;
  engine::Trace trace;
};

// Throws Error(badFile) naming the array or the key, what was expected and what was found.
StoredTrace readStoredTrace(const std::filesystem::path& file);

}  // namespace eyrie::app
