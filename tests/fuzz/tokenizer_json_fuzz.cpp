// tokenizer.json, and the same bytes as a tokenizer_config.json: an Error, or a tokenizer that SentencePiece
// can use without a fault and in which typed text never gives a control token (trap 46).
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "engine/error.h"
#include "engine/tokenizer/tokenizer.h"

using namespace eyrie::engine;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string text = "The falcon <bos><start_of_turn>model\n  <0x41> \xF0\x9F\xA6\x85 \xFF\xC3";
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const std::string_view config : {std::string_view(), bytes}) {
    try {
      const auto tokenizer = Tokenizer::parseJson(bytes, "tokenizer.json", config, "tokenizer_config.json");
      const auto ids = tokenizer->encode(text);
      for (const std::int32_t id : ids)
        if (id < 0 || id >= tokenizer->size() || tokenizer->isControl(id)) std::abort();
      tokenizer->decode(ids);
      for (std::int32_t id = 0; id < tokenizer->size(); ++id) tokenizer->display(id);
    } catch (const Error& error) {
      if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
    }
  }
  return 0;
}
