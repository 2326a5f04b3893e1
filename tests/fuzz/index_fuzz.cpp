// model.safetensors.index.json: no accepted name leaves the folder.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "engine/checkpoint/shard_index.h"
#include "engine/error.h"

using namespace eyrie::engine;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    for (const auto& [tensor, file] :
         parseShardIndex({reinterpret_cast<const char*>(data), size}, "model.safetensors.index.json").files)
      if (file.empty() || file == ".." || file.find('/') != std::string::npos ||
          file.find('\0') != std::string::npos)
        std::abort();
  } catch (const Error&) {
  }
  return 0;
}
