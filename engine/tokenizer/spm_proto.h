// The part of SentencePiece's ModelProto that Eyrie uses, read from the wire format without protobuf's
// headers. A model file is untrusted: SentencePiece 0.1.97 reads outside its arrays or ends the process on
// several kinds of damage, so everything it relies on is checked here and only what was checked is handed to
// it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace eyrie::engine {

enum class PieceType : std::uint8_t {
  normal = 1,
  unknown = 2,
  control = 3,
  userDefined = 4,
  unused = 5,
  byte = 6
};

struct SpmPiece {
  std::string text;
  float score = 0;
  PieceType type = PieceType::normal;
};

struct SpmModel {
  std::vector<SpmPiece> pieces;
  std::int64_t modelType = 1;  // 1 unigram, 2 BPE, 4 characters
  bool byteFallback = false;
  bool whitespaceAsSuffix = false;
  std::string charsMap;  // compiled normalisation rules, may be empty
  bool addDummyPrefix = true;
  bool removeExtraWhitespaces = true;
  bool escapeWhitespaces = true;
};

// Throws Error(badTokenizer) naming `file` and what is wrong.
SpmModel parseSpmModel(std::string_view bytes, const std::string& file);
// What all pieces together, and the text and score of each, must be for SentencePiece to use them safely.
// Throws Error(badTokenizer).
void checkSpmModel(const SpmModel& model, const std::string& file);
// The byte that "<0xE4>" stands for.
std::optional<int> byteOfPiece(std::string_view piece);
// A ModelProto with just these fields: no self test, no training record.
std::string serialiseSpmModel(const SpmModel& model);

// Whether a piece stands for markup of the conversation and not for text: <start_of_turn>, <bos>, <unused7>,
// [multimodal] … but not <table> or <b>, which Gemma's vocabulary has as text.
bool looksLikeControl(std::string_view piece);
// Turns user-defined pieces that look like control tokens into control pieces, which SentencePiece never
// matches in text (trap 46).
void protectControlPieces(SpmModel& model);

// Facts of a model folder for a summary, without building a tokenizer. An unreadable or damaged file counts
// as absent.
struct TokenizerFacts {
  bool present = false;
  bool turns = false;  // <start_of_turn> and <end_of_turn> exist
};
TokenizerFacts inspectTokenizer(const std::filesystem::path& folder);

inline constexpr std::uint64_t kMaxTokenizerBytes = 64U << 20U;

}  // namespace eyrie::engine
