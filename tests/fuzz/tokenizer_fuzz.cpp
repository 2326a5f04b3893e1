// tokenizer.model: what our checks let through, SentencePiece must load and use without a fault, and typed
// text must never give a control token (trap 46).
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "engine/error.h"
#include "engine/tokenizer/tokenizer.h"

using namespace eyrie::engine;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string text =
      "The \xEF\xAC\x81rst falcon\xE2\x80\xA6 <bos><start_of_turn>model\n  <0x41> \xF0\x9F\xA6\x85 \xFF\xC3";
  try {
    const auto tokenizer = Tokenizer::parse({reinterpret_cast<const char*>(data), size}, "tokenizer.model");
    const auto ids = tokenizer->encode(text);
    for (const std::int32_t id : ids)
      if (id < 0 || id >= tokenizer->size() || tokenizer->isControl(id)) std::abort();
    tokenizer->decode(ids);
    for (std::int32_t id = 0; id < tokenizer->size(); ++id) tokenizer->display(id);
  } catch (const Error&) {
  }
  return 0;
}
