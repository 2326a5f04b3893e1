#include "engine/tokenizer/utf8_assembler.h"

#include <algorithm>
#include <cstddef>

namespace eyrie::engine {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// What a lead byte demands: how many bytes, and the range of the second (which alone excludes surrogates,
// overlong forms and code points above U+10FFFF).
struct Lead {
  std::size_t length = 0;  // 0: can never begin a character
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
};

Lead leadOf(unsigned char byte) {
  if (byte < 0x80) return {1};
  if (byte < 0xC2) return {};
  if (byte < 0xE0) return {2};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {};
}

// How many bytes at the front of `text` belong to the first character, valid or not.
struct Front {
  std::size_t bytes = 1;
  bool valid = false;
  bool incomplete = false;  // more bytes could make it valid
};

Front frontOf(std::string_view text) {
  const Lead lead = leadOf(static_cast<unsigned char>(text.front()));
  if (lead.length == 0) return {};
  const std::size_t have = std::min(lead.length, text.size());
  for (std::size_t i = 1; i < have; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const unsigned char low = i == 1 ? lead.low : 0x80;
    const unsigned char high = i == 1 ? lead.high : 0xBF;
    if (byte < low || byte > high) return {i, false, false};
  }
  return {have, have == lead.length, have < lead.length};
}

}  // namespace

std::size_t characterBytes(std::string_view text) {
  if (text.empty()) return 0;
  const Front front = frontOf(text);
  return front.valid ? front.bytes : 0;
}

std::string Utf8Assembler::push(std::string_view bytes) {
  pending_.append(bytes);
  std::string out;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const Front front = frontOf(rest);
    if (front.incomplete) break;
    out.append(front.valid ? rest.substr(0, front.bytes) : kReplacement);
    rest.remove_prefix(front.bytes);
  }
  pending_ = std::string(rest);
  return out;
}

std::string Utf8Assembler::finish() {
  std::string out(pending_.empty() ? std::string_view{} : kReplacement);
  pending_.clear();
  return out;
}

}  // namespace eyrie::engine
