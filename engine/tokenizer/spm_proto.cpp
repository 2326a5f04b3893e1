#include "engine/tokenizer/spm_proto.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>
#include <cmath>
#include <cstring>
#include <optional>
#include <unordered_set>

#include "engine/checkpoint/file_io.h"
#include "engine/checkpoint/strict_json.h"
#include "engine/error.h"
#include "engine/tokenizer/charsmap.h"
#include "engine/tokenizer/utf8_assembler.h"

namespace eyrie::engine {
namespace {

constexpr std::size_t kMaxPieces = 4'000'000;
constexpr std::size_t kMaxPieceBytes = 2048;
// SentencePiece collects user-defined matches in an array of 64 and pieces in one of 1024, without a check.
constexpr std::size_t kMaxNestedUserDefined = 64;
constexpr std::size_t kMaxNestedPieces = 1000;

enum class Wire : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

struct Field {
  std::uint32_t number = 0;
  Wire wire = Wire::varint;
  std::uint64_t value = 0;  // varint and fixed
  std::string_view bytes;
};

// Walks one message; `what` names it in errors.
class Fields {
 public:
  Fields(std::string_view data, const std::string& file, const char* what)
      : data_(data), file_(file), what_(what) {}

  [[noreturn]] void fail(const std::string& problem) const {
    throw Error(ErrorCode::badTokenizer,
                fmt::format("{}: {}: expected a SentencePiece model, found {}", file_, what_, problem));
  }

  bool next(Field& field) {
    if (data_.empty()) return false;
    const std::uint64_t tag = varint();
    field = {static_cast<std::uint32_t>(tag >> 3U), static_cast<Wire>(tag & 7U), 0, {}};
    if (tag >> 32U != 0 || field.number == 0) fail("a field number out of range");
    switch (field.wire) {
      case Wire::varint:
        field.value = varint();
        return true;
      case Wire::fixed32:
        field.value = fixed(4);
        return true;
      case Wire::fixed64:
        field.value = fixed(8);
        return true;
      case Wire::bytes:
        field.bytes = take(varint());
        return true;
    }
    fail(fmt::format("wire type {} in field {}", tag & 7U, field.number));
  }

  void expect(const Field& field, Wire wire) const {
    if (field.wire != wire) fail(fmt::format("field {} with the wrong wire type", field.number));
  }

 private:
  std::string_view take(std::uint64_t count) {
    if (count > data_.size()) fail(fmt::format("{} bytes announced where {} are left", count, data_.size()));
    const std::string_view taken = data_.substr(0, count);
    data_.remove_prefix(count);
    return taken;
  }
  std::uint64_t fixed(std::size_t count) {
    const std::string_view raw = take(count);
    std::uint64_t value = 0;
    std::memcpy(&value, raw.data(), count);
    return value;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1).front());
      value |= std::uint64_t{byte & 0x7fU} << shift;
      if ((byte & 0x80U) == 0) return value;
    }
    fail("a number that does not end");
  }

  std::string_view data_;
  const std::string& file_;
  const char* what_;
};

void checkPiece(const SpmPiece& piece, const Fields& fields) {
  if (piece.text.empty()) fields.fail("a piece without text");
  if (piece.text.size() > kMaxPieceBytes) fields.fail(fmt::format("a piece of {} bytes", piece.text.size()));
  if (piece.text.find('\0') != std::string::npos) fields.fail("a zero byte in its text");
  Utf8Assembler utf8;
  if (utf8.push(piece.text) != piece.text) fields.fail("text that is not UTF-8");
  if (!std::isfinite(piece.score)) fields.fail(fmt::format("the score {}", piece.score));
}

SpmPiece parsePiece(std::string_view bytes, const std::string& file, std::size_t index) {
  const std::string what = fmt::format("piece {}", index);
  Fields fields(bytes, file, what.c_str());
  SpmPiece piece;
  Field field;
  while (fields.next(field)) {
    if (field.number == 1) {
      fields.expect(field, Wire::bytes);
      piece.text = std::string(field.bytes);
    } else if (field.number == 2) {
      fields.expect(field, Wire::fixed32);
      piece.score = std::bit_cast<float>(static_cast<std::uint32_t>(field.value));
    } else if (field.number == 3) {
      fields.expect(field, Wire::varint);
      if (field.value < 1 || field.value > 6) fields.fail(fmt::format("the piece type {}", field.value));
      piece.type = static_cast<PieceType>(field.value);
    }
  }
  checkPiece(piece, fields);
  return piece;
}

void parseTrainerSpec(std::string_view bytes, const std::string& file, SpmModel& model) {
  Fields fields(bytes, file, "trainer_spec");
  Field field;
  while (fields.next(field)) {
    if (field.number != 3 && field.number != 24 && field.number != 35) continue;
    fields.expect(field, Wire::varint);
    if (field.number == 3) model.modelType = static_cast<std::int64_t>(field.value);
    if (field.number == 24) model.whitespaceAsSuffix = field.value != 0;
    if (field.number == 35) model.byteFallback = field.value != 0;
  }
  if (model.modelType != 1 && model.modelType != 2 && model.modelType != 4)
    fields.fail(fmt::format("model_type {} (1 unigram, 2 BPE and 4 characters are known)", model.modelType));
}

void parseNormalizerSpec(std::string_view bytes, const std::string& file, SpmModel& model) {
  Fields fields(bytes, file, "normalizer_spec");
  Field field;
  while (fields.next(field)) {
    if (field.number < 2 || field.number > 5) continue;
    fields.expect(field, field.number == 2 ? Wire::bytes : Wire::varint);
    if (field.number == 2) model.charsMap = std::string(field.bytes);
    if (field.number == 3) model.addDummyPrefix = field.value != 0;
    if (field.number == 4) model.removeExtraWhitespaces = field.value != 0;
    if (field.number == 5) model.escapeWhitespaces = field.value != 0;
  }
  if (model.charsMap.empty()) return;
  const std::string defect = charsMapDefect(model.charsMap);
  if (!defect.empty()) fields.fail(fmt::format("a damaged precompiled_charsmap: {}", defect));
}

// The most pieces of `sorted` that are prefixes of one another.
std::size_t deepestNesting(std::vector<std::string_view> sorted) {
  std::sort(sorted.begin(), sorted.end());
  std::vector<std::string_view> open;
  std::size_t deepest = 0;
  for (const std::string_view text : sorted) {
    while (!open.empty() && !text.starts_with(open.back())) open.pop_back();
    open.push_back(text);
    deepest = std::max(deepest, open.size());
  }
  return deepest;
}

bool isOneCharacter(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80; }) == 1;
}

void putVarint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7U) out += static_cast<char>(value | 0x80U);
  out += static_cast<char>(value);
}

void putNumber(std::string& out, std::uint32_t number, std::uint64_t value) {
  putVarint(out, std::uint64_t{number} << 3U);
  putVarint(out, value);
}

void putBytes(std::string& out, std::uint32_t number, std::string_view bytes) {
  putVarint(out, (std::uint64_t{number} << 3U) | 2U);
  putVarint(out, bytes.size());
  out += bytes;
}

}  // namespace

std::optional<int> byteOfPiece(std::string_view piece) {
  unsigned value = 0;
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece.back() != '>') return std::nullopt;
  for (const char c : piece.substr(3, 2)) {
    if (!(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'F')) return std::nullopt;
    value = value * 16 + static_cast<unsigned>(c <= '9' ? c - '0' : c - 'A' + 10);
  }
  return static_cast<int>(value);
}

void checkSpmModel(const SpmModel& model, const std::string& file) {
  if (model.pieces.size() > kMaxPieces)
    Fields({}, file, "tokenizer").fail(fmt::format("more than {} pieces", kMaxPieces));
  const Fields fields({}, file, "pieces");
  for (const SpmPiece& piece : model.pieces) checkPiece(piece, fields);
  std::unordered_set<std::string_view> texts;
  std::vector<std::string_view> matched;
  std::vector<std::string_view> userDefined;
  std::array<bool, 256> byteFound{};
  std::size_t unknowns = 0;
  for (const SpmPiece& piece : model.pieces) {
    if (!texts.insert(piece.text).second) fields.fail(fmt::format("\"{}\" twice", printable(piece.text)));
    if (piece.type == PieceType::control && isOneCharacter(piece.text))
      fields.fail(fmt::format("the control token \"{}\" of one character, which plain text would match",
                              printable(piece.text)));
    if (piece.type == PieceType::unknown) ++unknowns;
    if (piece.type == PieceType::byte) {
      const auto byte = byteOfPiece(piece.text);
      if (!byte || !model.byteFallback)
        fields.fail(fmt::format("the byte piece \"{}\"", printable(piece.text)));
      byteFound[static_cast<std::size_t>(*byte)] = true;
    }
    if (piece.type == PieceType::userDefined) userDefined.push_back(piece.text);
    if (piece.type == PieceType::normal || piece.type == PieceType::userDefined ||
        piece.type == PieceType::unused)
      matched.push_back(piece.text);
  }
  if (unknowns != 1) fields.fail(fmt::format("{} pieces of type unknown instead of one", unknowns));
  if (matched.empty()) fields.fail("none that stands for text");
  if (model.byteFallback && std::count(byteFound.begin(), byteFound.end(), true) != 256)
    fields.fail("byte_fallback without all 256 byte pieces");
  if (deepestNesting(userDefined) > kMaxNestedUserDefined || deepestNesting(matched) > kMaxNestedPieces)
    fields.fail("too many pieces that begin with each other");
}

SpmModel parseSpmModel(std::string_view bytes, const std::string& file) {
  Fields fields(bytes, file, "tokenizer");
  SpmModel model;
  Field field;
  while (fields.next(field)) {
    if (field.number < 1 || field.number > 3) continue;
    fields.expect(field, Wire::bytes);
    if (field.number == 1) {
      if (model.pieces.size() >= kMaxPieces) fields.fail(fmt::format("more than {} pieces", kMaxPieces));
      model.pieces.push_back(parsePiece(field.bytes, file, model.pieces.size()));
    }
    if (field.number == 2) parseTrainerSpec(field.bytes, file, model);
    if (field.number == 3) parseNormalizerSpec(field.bytes, file, model);
  }
  checkSpmModel(model, file);
  return model;
}

std::string serialiseSpmModel(const SpmModel& model) {
  std::string out;
  std::string message;
  for (const SpmPiece& piece : model.pieces) {
    message.clear();
    putBytes(message, 1, piece.text);
    putVarint(message, (2U << 3U) | 5U);
    message.append(reinterpret_cast<const char*>(&piece.score), sizeof piece.score);
    putNumber(message, 3, static_cast<std::uint64_t>(piece.type));
    putBytes(out, 1, message);
  }
  message.clear();
  putNumber(message, 3, static_cast<std::uint64_t>(model.modelType));
  putNumber(message, 24, model.whitespaceAsSuffix ? 1 : 0);
  putNumber(message, 35, model.byteFallback ? 1 : 0);
  putBytes(out, 2, message);
  message.clear();
  if (!model.charsMap.empty()) putBytes(message, 2, model.charsMap);
  putNumber(message, 3, model.addDummyPrefix ? 1 : 0);
  putNumber(message, 4, model.removeExtraWhitespaces ? 1 : 0);
  putNumber(message, 5, model.escapeWhitespaces ? 1 : 0);
  putBytes(out, 3, message);
  return out;
}

bool looksLikeControl(std::string_view piece) {
  const bool angled = piece.size() > 2 && piece.front() == '<' && piece.back() == '>';
  const bool squared = piece.size() > 2 && piece.front() == '[' && piece.back() == ']';
  if (!angled && !squared) return false;
  const std::string_view name = piece.substr(1, piece.size() - 2);
  constexpr std::array<std::string_view, 12> kNames = {"bos", "eos",  "pad",        "unk", "mask", "cls",
                                                       "sep", "MASK", "multimodal", "PAD", "CLS",  "SEP"};
  if (std::find(kNames.begin(), kNames.end(), name) != kNames.end()) return true;
  if (name.starts_with("unused") && name.size() > 6 &&
      std::all_of(name.begin() + 6, name.end(), [](char c) { return c >= '0' && c <= '9'; }))
    return true;
  const bool wordLike = std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || std::strchr("_|@/", c) != nullptr;
  });
  return wordLike && name.find_first_of("_|@") != std::string_view::npos;
}

void protectControlPieces(SpmModel& model) {
  for (SpmPiece& piece : model.pieces)
    if (piece.type == PieceType::userDefined && looksLikeControl(piece.text)) piece.type = PieceType::control;
  // A turn marker stored as an ordinary piece would be matched as well.
  for (SpmPiece& piece : model.pieces)
    if ((piece.type == PieceType::normal || piece.type == PieceType::unused) &&
        (piece.text == "<start_of_turn>" || piece.text == "<end_of_turn>" || piece.text == "<bos>" ||
         piece.text == "<eos>" || piece.text == "<pad>"))
      piece.type = PieceType::control;
}

}  // namespace eyrie::engine
