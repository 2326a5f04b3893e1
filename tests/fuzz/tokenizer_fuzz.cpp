// tokenizer.model: what our checks let through, SentencePiece must load and use without a fault, and typed
// text must never give a control token (trap 46). Where it says a text may be cut, it may.
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
    // Parts have the tokens of the whole.
    const std::size_t cut = tokenizer->lastCut(text, 0);
    if (cut > 0) {
      auto parts = tokenizer->encode(text.substr(0, cut));
      for (const std::int32_t id : tokenizer->encode(text.substr(cut))) parts.push_back(id);
      if (parts != ids) std::abort();
    }
    for (std::int32_t id = 0; id < tokenizer->size(); ++id) tokenizer->display(id);
  } catch (const Error&) {
  }
  return 0;
}
