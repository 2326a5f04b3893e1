// State envelopes, as sessions and checkpoints of score keep them: what is accepted has the model's shapes
// and is written as the same bytes again, all else is an Error of one line.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>

#include "engine/error.h"
#include "engine/sequence_state.h"
#include "engine/verify/test_models.h"

using namespace eyrie::engine;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const ModelConfig config = verify::tinyConfig("RAG", 3);
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const HostState state = parseState(bytes, config, "abc");
    checkState(state, config);
    if (!std::ranges::equal(serialiseState(state, "abc"), bytes)) std::abort();
  } catch (const Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
  }
  return 0;
}
