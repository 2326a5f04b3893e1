#include <fmt/format.h>
#include <sentencepiece_processor.h>

#include <functional>
#include <unordered_map>
#include <utility>

#include "engine/checkpoint/file_io.h"
#include "engine/error.h"
#include "engine/tokenizer/spm_proto.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/tokenizer_json.h"
#include "engine/tokenizer/utf8_assembler.h"

namespace eyrie::engine {
namespace {

constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";
constexpr const char* kJsonFile = "tokenizer.json";
constexpr const char* kConfigFile = "tokenizer_config.json";

std::string withSpaces(std::string_view piece) {
  std::string out;
  for (std::size_t i = 0; i < piece.size();) {
    if (piece.substr(i).starts_with(kSpaceSymbol)) {
      out += ' ';
      i += kSpaceSymbol.size();
    } else {
      out += piece[i++];
    }
  }
  return out;
}

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(SpmModel model, const std::string& file) : file_(file), model_(std::move(model)) {
    protectControlPieces(model_);
    const auto status = processor_.LoadFromSerializedProto(serialiseSpmModel(model_));
    if (!status.ok())
      throw Error(ErrorCode::badTokenizer,
                  fmt::format("{}: SentencePiece cannot use it: {}", file, status.message()));
    for (std::size_t i = 0; i < model_.pieces.size(); ++i)
      if (model_.pieces[i].type == PieceType::control)
        controls_.emplace(model_.pieces[i].text, static_cast<std::int32_t>(i));
    model_.charsMap.clear();  // SentencePiece has its own copy
  }

  std::int64_t size() const override { return static_cast<std::int64_t>(model_.pieces.size()); }

  std::vector<std::int32_t> encode(std::string_view text) const override {
    std::vector<int> ids;
    const auto status = processor_.Encode(text, &ids);
    if (!status.ok())
      throw Error(ErrorCode::badTokenizer,
                  fmt::format("{}: the text cannot be encoded: {}", file_, status.message()));
    return {ids.begin(), ids.end()};
  }

  std::string bytes(std::int32_t token) const override {
    const SpmPiece* piece = pieceOf(token);
    if (piece == nullptr) return {};
    switch (piece->type) {
      case PieceType::control:
        return {};
      case PieceType::unknown:
        return "\xEF\xBF\xBD";
      case PieceType::byte:
        return std::string(1, static_cast<char>(std::stoi(piece->text.substr(3, 2), nullptr, 16)));
      case PieceType::normal:
      case PieceType::userDefined:
      case PieceType::unused:
        return model_.escapeWhitespaces ? withSpaces(piece->text) : piece->text;
    }
    return {};
  }

  std::string display(std::int32_t token) const override {
    const SpmPiece* piece = pieceOf(token);
    if (piece == nullptr) return fmt::format("\u27E8{}\u27E9", token);
    if (piece->type == PieceType::byte) return fmt::format("\u27E8{}\u27E9", piece->text.substr(3, 2));
    if (piece->type != PieceType::control && piece->type != PieceType::unknown) return bytes(token);
    std::string_view name = piece->text;
    if (name.size() > 2 && (name.front() == '<' || name.front() == '['))
      name = name.substr(1, name.size() - 2);
    return fmt::format("\u27E8{}\u27E9", name);
  }

  bool isControl(std::int32_t token) const override {
    const SpmPiece* piece = pieceOf(token);
    return piece == nullptr || piece->type == PieceType::control;
  }

  std::optional<std::int32_t> controlToken(std::string_view piece) const override {
    const auto found = controls_.find(std::string(piece));
    if (found == controls_.end()) return std::nullopt;
    return found->second;
  }

  bool addsPrefixSpace() const override { return model_.addDummyPrefix && !model_.whitespaceAsSuffix; }

 private:
  const SpmPiece* pieceOf(std::int32_t token) const {
    if (token < 0 || token >= size()) return nullptr;
    return &model_.pieces[static_cast<std::size_t>(token)];
  }

  std::string file_;
  SpmModel model_;
  sentencepiece::SentencePieceProcessor processor_;
  std::unordered_map<std::string, std::int32_t> controls_;
};

std::shared_ptr<const Tokenizer> build(const std::string& file, const std::function<SpmModel()>& read) {
  try {
    return std::make_shared<const SentencePieceTokenizer>(read(), file);
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::outOfMemory, fmt::format("{}: not enough memory for the tokenizer", file));
  } catch (const std::exception& error) {  // the double array's builder throws its own
    throw Error(ErrorCode::badTokenizer,
                fmt::format("{}: SentencePiece cannot use it: {}", file, error.what()));
  }
}

// tokenizer.model, else tokenizer.json; empty where a folder has neither.
std::filesystem::path tokenizerFile(const std::filesystem::path& folder) {
  std::error_code ignored;
  for (const char* name : {"tokenizer.model", kJsonFile})
    if (std::filesystem::exists(folder / name, ignored)) return folder / name;
  return {};
}

// The pieces of a folder's tokenizer.json.
SpmModel readTokenizerJson(std::string_view json, const std::string& file, std::string_view config,
                           const std::string& configFile) {
  SpmModel model = parseTokenizerJson(json, file);
  if (!config.empty()) applyTokenizerConfig(model, config, configFile);
  return model;
}

// Its text, empty where there is none.
std::string configBeside(const std::filesystem::path& jsonFile) {
  const std::filesystem::path file = jsonFile.parent_path() / kConfigFile;
  std::error_code ignored;
  return std::filesystem::exists(file, ignored) ? readFile(file, kMaxTokenizerBytes) : std::string();
}

SpmModel readModel(const std::filesystem::path& file) {
  const std::string bytes = readFile(file, kMaxTokenizerBytes);
  if (file.filename() != kJsonFile) return parseSpmModel(bytes, file.string());
  return readTokenizerJson(bytes, file.string(), configBeside(file),
                           (file.parent_path() / kConfigFile).string());
}

}  // namespace

std::shared_ptr<const Tokenizer> Tokenizer::parse(std::string_view bytes, const std::string& file) {
  return build(file, [&] { return parseSpmModel(bytes, file); });
}

std::shared_ptr<const Tokenizer> Tokenizer::parseJson(std::string_view json, const std::string& file,
                                                      std::string_view config,
                                                      const std::string& configFile) {
  return build(file, [&] { return readTokenizerJson(json, file, config, configFile); });
}

std::shared_ptr<const Tokenizer> Tokenizer::load(const std::filesystem::path& modelFile) {
  return build(modelFile.string(), [&] { return readModel(modelFile); });
}

std::shared_ptr<const Tokenizer> Tokenizer::loadFor(const std::filesystem::path& folder,
                                                    std::int64_t vocabulary) {
  const std::filesystem::path file = tokenizerFile(folder);
  if (file.empty()) return nullptr;
  auto tokenizer = load(file);
  if (tokenizer->size() > vocabulary)
    throw Error(ErrorCode::badTokenizer, fmt::format("{}: expected at most {} pieces (vocab_size), found {}",
                                                     file.string(), vocabulary, tokenizer->size()));
  return tokenizer;
}

TokenizerFacts inspectTokenizer(const std::filesystem::path& folder) {
  TokenizerFacts facts;
  try {
    const std::filesystem::path file = tokenizerFile(folder);
    if (file.empty()) return facts;
    const SpmModel model = readModel(file);
    facts.present = true;
    int markers = 0;
    for (const SpmPiece& piece : model.pieces)
      markers += piece.text == "<start_of_turn>" || piece.text == "<end_of_turn>" ? 1 : 0;
    facts.turns = markers == 2;
  } catch (const Error&) {
    return {};
  }
  return facts;
}

std::string Tokenizer::decode(const std::vector<std::int32_t>& tokens) const {
  std::string all;
  for (const std::int32_t token : tokens) all += bytes(token);
  if (addsPrefixSpace() && all.starts_with(' ')) all.erase(0, 1);
  Utf8Assembler utf8;
  std::string text = utf8.push(all);
  return text + utf8.finish();
}

}  // namespace eyrie::engine
