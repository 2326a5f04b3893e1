#include "engine/tokenizer/tokenizer_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "engine/checkpoint/strict_json.h"
#include "engine/error.h"

namespace eyrie::engine {
namespace {

using nlohmann::json;

constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";
constexpr JsonLimits kLimits{.depth = 16, .values = 8'000'000};

[[noreturn]] void fail(const std::string& file, const std::string& field, const std::string& expected,
                       const std::string& found, ErrorCode code = ErrorCode::badTokenizer) {
  throw Error(code, fmt::format("{}: {}: expected {}, found {}", file, printable(field), expected, found));
}

const json& nullJson() {
  static const json kNull;
  return kNull;
}

// A field, null where it is missing.
const json& at(const json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? nullJson() : *found;
}

bool says(const json& object, const char* key, std::string_view text) {
  const json& value = at(object, key);
  return value.is_string() && value.get_ref<const std::string&>() == text;
}

bool isTrue(const json& object, const char* key) {
  const json& value = at(object, key);
  return value.is_boolean() && value.get<bool>();
}

bool isNothing(const json& value) {
  return value.is_null() || value == "" || value == 0.0 || value == false;
}

class Reader {
 public:
  Reader(std::string_view text, const std::string& file)
      : file_(file), root_(parseStrictJson(text, file, kLimits)) {}

  SpmModel read() {
    if (!root_.is_object()) fail(file_, "tokenizer", "an object", jsonExcerpt(root_));
    model_.modelType = 2;
    model_.addDummyPrefix = false;
    model_.removeExtraWhitespaces = false;
    readNormalizer(at(root_, "normalizer"));
    readPreTokenizer(at(root_, "pre_tokenizer"));
    if (!escapes_)
      fail(file_, "normalizer", "spaces replaced by \xE2\x96\x81", jsonExcerpt(at(root_, "normalizer")),
           ErrorCode::unsupported);
    readModel(at(root_, "model"));
    return std::move(model_);
  }

 private:
  void readNormalizer(const json& value) {
    if (value.is_null()) return;
    if (says(value, "type", "Sequence") && at(value, "normalizers").is_array()) {
      for (const json& each : at(value, "normalizers")) readNormalizer(each);
    } else if (says(value, "type", "Replace") && says(at(value, "pattern"), "String", " ") &&
               says(value, "content", kSpaceSymbol)) {
      escapes_ = true;
    } else if (says(value, "type", "Prepend") && says(value, "prepend", kSpaceSymbol)) {
      model_.addDummyPrefix = true;
    } else {
      fail(file_, "normalizer",
           "Replace of a space by \xE2\x96\x81, Prepend of \xE2\x96\x81, or a Sequence of these",
           jsonExcerpt(at(value, "type")), ErrorCode::unsupported);
    }
  }

  void readPreTokenizer(const json& value) {
    if (value.is_null()) return;
    // There are no spaces left to split at.
    if (escapes_ && says(value, "type", "Split") && says(at(value, "pattern"), "String", " ")) return;
    const bool whole = at(value, "split").is_boolean() && !isTrue(value, "split");
    if (!says(value, "type", "Metaspace") || !says(value, "replacement", kSpaceSymbol) || !whole)
      fail(file_, "pre_tokenizer", "nothing, Split at spaces, or Metaspace without splitting",
           jsonExcerpt(at(value, "type")), ErrorCode::unsupported);
    escapes_ = true;
    if (!says(value, "prepend_scheme", "never")) model_.addDummyPrefix = true;
  }

  void readModel(const json& model) {
    if (!says(model, "type", "BPE"))
      fail(file_, "model.type", "BPE", jsonExcerpt(at(model, "type")), ErrorCode::unsupported);
    for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"})
      if (!isNothing(at(model, key)))
        fail(file_, fmt::format("model.{}", key), "none", jsonExcerpt(at(model, key)),
             ErrorCode::unsupported);
    model_.byteFallback = isTrue(model, "byte_fallback");
    readPieces(at(model, "vocab"));
    readKinds(at(model, "unk_token"));
    readMerges(at(model, "merges"));
    checkSpmModel(model_, file_);
    checkAllMergesListed();
  }

  // Vocabulary and added tokens have the ids from 0 on, each once.
  void readPieces(const json& vocab) {
    if (!vocab.is_object() || vocab.empty())
      fail(file_, "model.vocab", "an object with pieces", jsonExcerpt(vocab));
    const json& added = at(root_, "added_tokens");
    if (!added.is_null() && !added.is_array()) fail(file_, "added_tokens", "a list", jsonExcerpt(added));
    std::size_t count = vocab.size();
    for (const json& token : added)
      if (!at(token, "content").is_string() ||
          !vocab.contains(at(token, "content").get_ref<const std::string&>()))
        ++count;
    model_.pieces.resize(count);
    for (const auto& [piece, id] : vocab.items()) put("model.vocab", piece, id);
    for (const json& token : added) {
      if (!at(token, "content").is_string())
        fail(file_, "added_tokens", "entries with a content", jsonExcerpt(token));
      const auto& content = at(token, "content").get_ref<const std::string&>();
      if (!ids_.contains(content)) put("added_tokens", content, at(token, "id"));
      addToken(content, token);
    }
  }

  void put(const char* field, const std::string& piece, const json& id) {
    const std::size_t count = model_.pieces.size();
    const bool inside = id.is_number_unsigned() && id.get<std::uint64_t>() < count;
    if (!inside || !model_.pieces[id.get<std::size_t>()].text.empty())
      fail(file_, fmt::format("{}: {}", field, piece),
           fmt::format("an id of its own from 0 to {}", count - 1), jsonExcerpt(id));
    if (piece.empty()) fail(file_, field, "pieces with text", "an empty one");
    model_.pieces[id.get<std::size_t>()].text = piece;
    ids_.emplace(piece, id.get<std::size_t>());
  }

  void addToken(const std::string& content, const json& token) {
    const std::size_t id = ids_.at(content);
    if (at(token, "id") != id)
      fail(file_, fmt::format("added_tokens: {}", content), fmt::format("the id {} of the vocabulary", id),
           jsonExcerpt(at(token, "id")));
    const bool special = isTrue(token, "special");
    for (const char* key : {"lstrip", "rstrip", "single_word"})
      if (!special && isTrue(token, key))
        fail(file_, fmt::format("added_tokens: {}: {}", content, key), "false", "true",
             ErrorCode::unsupported);
    model_.pieces[id].type = special ? PieceType::control : PieceType::userDefined;
  }

  void readKinds(const json& unknown) {
    if (!unknown.is_string() || !ids_.contains(unknown.get_ref<const std::string&>()))
      fail(file_, "model.unk_token", "a piece of the vocabulary", jsonExcerpt(unknown));
    model_.pieces[ids_.at(unknown.get_ref<const std::string&>())].type = PieceType::unknown;
    if (!model_.byteFallback) return;
    std::array<bool, 256> present{};
    for (SpmPiece& piece : model_.pieces)
      if (const auto byte = byteOfPiece(piece.text); byte && piece.type == PieceType::normal) {
        piece.type = PieceType::byte;
        present[static_cast<std::size_t>(*byte)] = true;
      }
    // Hugging Face's files for Gemma say "\t" where SentencePiece says <0x09>, under the same id.
    for (std::size_t byte = 0; byte < 0x80; ++byte) {
      const auto letter = ids_.find(std::string(1, static_cast<char>(byte)));
      if (present[byte] || letter == ids_.end()) continue;
      SpmPiece& piece = model_.pieces[letter->second];
      if (piece.type != PieceType::normal) continue;
      piece = {fmt::format("<0x{:02X}>", byte), 0, PieceType::byte};
    }
  }

  std::size_t partId(const std::string& part, std::size_t entry) const {
    const auto found = ids_.find(part);
    if (found == ids_.end())
      fail(file_, fmt::format("model.merges: entry {}", entry), "pieces of the vocabulary",
           jsonExcerpt(json(part)));
    return found->second;
  }

  // The earlier a merge, the higher the piece's score. All merges to one piece stand together, since to
  // SentencePiece they are worth the same; user-defined pieces are found before anything is merged.
  void readMerges(const json& merges) {
    if (!merges.is_array()) fail(file_, "model.merges", "a list", jsonExcerpt(merges));
    std::size_t previous = model_.pieces.size();
    for (std::size_t i = 0; i < merges.size(); ++i) {
      const auto [left, right] = parts(merges[i], i);
      partId(left, i);
      partId(right, i);
      const std::size_t id = partId(left + right, i);
      merges_.insert(key(id, left.size()));
      SpmPiece& piece = model_.pieces[id];
      if (piece.type != PieceType::normal || id == previous) continue;
      if (piece.score != 0)
        fail(file_, fmt::format("model.merges: entry {}", i),
             "all merges to one piece together, as SentencePiece ranks them",
             fmt::format("one to {} apart from the others", jsonExcerpt(json(piece.text))),
             ErrorCode::unsupported);
      piece.score = -static_cast<float>(i + 1);
      previous = id;
    }
  }

  std::pair<std::string, std::string> parts(const json& merge, std::size_t entry) const {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string())
      return {merge[0], merge[1]};
    if (merge.is_string()) {
      const auto& text = merge.get_ref<const std::string&>();
      const std::size_t space = text.find(' ');
      if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos)
        return {text.substr(0, space), text.substr(space + 1)};
    }
    fail(file_, fmt::format("model.merges: entry {}", entry), "two pieces", jsonExcerpt(merge));
  }

  static std::uint64_t key(std::size_t id, std::size_t leftBytes) { return id << 16U | leftBytes; }

  bool isNormal(const std::string& text) const {
    const auto found = ids_.find(text);
    return found != ids_.end() && model_.pieces[found->second].type == PieceType::normal;
  }

  // SentencePiece merges whatever gives a piece, so a merge that is not listed would be done all the same.
  void checkAllMergesListed() const {
    for (std::size_t id = 0; id < model_.pieces.size(); ++id) {
      const SpmPiece& piece = model_.pieces[id];
      if (piece.type != PieceType::normal) continue;
      for (std::size_t cut = 1; cut < piece.text.size(); ++cut) {
        const bool insideCharacter = (static_cast<unsigned char>(piece.text[cut]) & 0xC0U) == 0x80;
        if (insideCharacter || merges_.contains(key(id, cut))) continue;
        if (isNormal(piece.text.substr(0, cut)) && isNormal(piece.text.substr(cut)))
          fail(file_, "model.merges", "every way to merge two pieces to one, as SentencePiece merges them",
               fmt::format("none of {} and {}", jsonExcerpt(json(piece.text.substr(0, cut))),
                           jsonExcerpt(json(piece.text.substr(cut)))),
               ErrorCode::unsupported);
      }
    }
  }

  const std::string& file_;
  json root_;
  SpmModel model_;
  bool escapes_ = false;
  std::unordered_map<std::string, std::size_t> ids_;
  std::unordered_set<std::uint64_t> merges_;
};

void makeControl(SpmModel& model, const std::string& text) {
  for (SpmPiece& piece : model.pieces)
    if (piece.text == text && piece.type != PieceType::unknown) piece.type = PieceType::control;
}

// A token is a string or an object with one.
void makeControl(SpmModel& model, const json& token) {
  const json& text = token.is_object() ? at(token, "content") : token;
  if (text.is_string()) makeControl(model, text.get_ref<const std::string&>());
}

void applyDecoder(SpmModel& model, const json& tokens, const std::string& file) {
  if (!tokens.is_null() && !tokens.is_object())
    fail(file, "added_tokens_decoder", "an object", jsonExcerpt(tokens));
  for (const auto& [key, token] : tokens.items()) {
    std::size_t id = model.pieces.size();
    const auto [end, status] = std::from_chars(key.data(), key.data() + key.size(), id);
    const std::string field = fmt::format("added_tokens_decoder: {}", key);
    if (status != std::errc{} || end != key.data() + key.size() || id >= model.pieces.size())
      fail(file, field, fmt::format("an id from 0 to {}", model.pieces.size() - 1), "another key");
    SpmPiece& piece = model.pieces[id];
    if (!says(token, "content", piece.text) && piece.type != PieceType::byte)
      fail(file, field, fmt::format("the token {} of tokenizer.json", jsonExcerpt(json(piece.text))),
           jsonExcerpt(at(token, "content")));
    if (isTrue(token, "special") && piece.type != PieceType::unknown) piece.type = PieceType::control;
  }
}

}  // namespace

SpmModel parseTokenizerJson(std::string_view text, const std::string& file) {
  return Reader(text, file).read();
}

void applyTokenizerConfig(SpmModel& model, std::string_view text, const std::string& file) {
  const json root = parseStrictJson(text, file, kLimits);
  if (!root.is_object()) fail(file, "tokenizer configuration", "an object", jsonExcerpt(root));
  applyDecoder(model, at(root, "added_tokens_decoder"), file);
  for (const char* key : {"bos_token", "eos_token", "pad_token", "cls_token", "sep_token", "mask_token"})
    makeControl(model, at(root, key));
  const json& more = at(root, "additional_special_tokens");
  if (!more.is_null() && !more.is_array())
    fail(file, "additional_special_tokens", "a list", jsonExcerpt(more));
  for (const json& token : more) makeControl(model, token);
  checkSpmModel(model, file);
}

}  // namespace eyrie::engine
