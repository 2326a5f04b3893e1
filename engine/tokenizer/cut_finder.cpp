#include "engine/tokenizer/cut_finder.h"

#include <algorithm>

#include "engine/tokenizer/utf8_assembler.h"

namespace eyrie::engine {
namespace {

constexpr std::size_t kLongestCharacter = 4;
constexpr std::int64_t kBpe = 2;

// The bytes of one character. Pieces write a space as U+2581.
std::uint32_t codeOf(std::string_view character) {
  if (character == " ") character = "\xE2\x96\x81";
  std::uint32_t code = 0;
  for (const char byte : character) code = code << 8U | static_cast<unsigned char>(byte);
  return code;
}

std::uint64_t pairOf(std::string_view left, std::string_view right) {
  return std::uint64_t{codeOf(left)} << 32U | codeOf(right);
}

// The valid character that ends where `text` ends; empty where there is none.
std::string_view lastCharacter(std::string_view text) {
  for (std::size_t bytes = 1; bytes <= std::min(kLongestCharacter, text.size()); ++bytes) {
    const std::string_view end = text.substr(text.size() - bytes);
    if (characterBytes(end) == bytes) return end;
  }
  return {};
}

}  // namespace

CutFinder::CutFinder(const std::vector<SpmPiece>& pieces) {
  for (const SpmPiece& piece : pieces) {
    std::string_view rest = piece.text;
    std::string_view before;
    while (const std::size_t bytes = characterBytes(rest)) {
      const std::string_view character = rest.substr(0, bytes);
      if (!before.empty()) pairs_.push_back(pairOf(before, character));
      before = character;
      rest.remove_prefix(bytes);
    }
  }
  std::sort(pairs_.begin(), pairs_.end());
  pairs_.erase(std::unique(pairs_.begin(), pairs_.end()), pairs_.end());
  pairs_.shrink_to_fit();
}

bool CutFinder::canCut(const SpmModel& model) {
  return model.modelType == kBpe && model.byteFallback && model.escapeWhitespaces && model.charsMap.empty() &&
         !model.addDummyPrefix && !model.removeExtraWhitespaces && !model.whitespaceAsSuffix;
}

std::size_t CutFinder::lastCut(std::string_view text, std::size_t after) const {
  for (std::size_t at = text.size(); at-- > after + 1;) {
    const std::size_t bytes = characterBytes(text.substr(at));
    if (bytes == 0) continue;
    const std::string_view left = lastCharacter(text.substr(0, at));
    if (left.empty()) continue;
    if (!std::binary_search(pairs_.begin(), pairs_.end(), pairOf(left, text.substr(at, bytes)))) return at;
  }
  return 0;
}

}  // namespace eyrie::engine
