// config.json: whatever the bytes, a configuration or an Error. A configuration survives being written and
// read.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "engine/config.h"
#include "engine/error.h"
#include "engine/tensor_registry.h"

using namespace eyrie::engine;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ModelConfig config;
  try {
    config = parseConfig({reinterpret_cast<const char*>(data), size}, "config.json");
  } catch (const Error&) {
    return 0;
  }
  // From here on an Error is a finding.
  if (static_cast<std::int64_t>(config.blocks.size()) != config.L) std::abort();
  if (!(parseConfig(writeConfig(config, "bfloat16"), "written") == config)) std::abort();
  config.gateBlocks = 1;
  if (config.L <= 64 && expectedTensors(config).size() < static_cast<std::size_t>(config.L)) std::abort();
  return 0;
}
