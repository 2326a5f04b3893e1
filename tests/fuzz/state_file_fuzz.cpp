// State files: what is accepted has the shapes it says, only numbers, and tokens for its position.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "engine/error.h"
#include "engine/state_algebra.h"
#include "engine/state_file.h"

using namespace eyrie::engine;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const SavedState saved = parseStateFile(std::as_bytes(std::span(data, size)), "fuzz.safetensors");
    checkState(saved.state, saved.config);
    const auto unread = static_cast<std::int64_t>(saved.tokens.size()) - saved.state.position;
    if (unread < 0 || unread > 1) std::abort();
    for (const LayerDifference& layer : difference(saved.state, saved.state, saved.config)) {
      if (layer.h.difference != 0 || layer.keys.difference != 0) std::abort();
    }
  } catch (const Error&) {
  }
  return 0;
}
