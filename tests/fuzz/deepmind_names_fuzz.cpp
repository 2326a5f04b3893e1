// Tensors with DeepMind's names: whatever they are called and however shaped, what comes out lies inside the
// file, and there is a configuration or an Error of one line.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>

#include "engine/checkpoint/deepmind_names.h"
#include "engine/error.h"

using namespace eyrie::engine;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto bytes = std::as_bytes(std::span(data, size));
    FoundTensors found;
    for (const SafetensorsTensor& tensor : parseSafetensors(bytes, size, "fuzz.safetensors").tensors)
      found.try_emplace(tensor.name, FoundTensor{tensor, "fuzz.safetensors", false});
    if (!hasDeepMindNames(found)) return 0;
    found = toHuggingFaceNames(std::move(found));
    for (const auto& [name, each] : found)
      if (each.tensor.begin + each.tensor.bytes > size || deepMindName(name).empty()) std::abort();
    deepMindConfig(found, R"({"attention_window_size": 8, "logits_soft_cap": 0})", "fuzz/config.json",
                   size % 2 == 0 ? "" : "tiny-griffin");
  } catch (const Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
  }
  return 0;
}
