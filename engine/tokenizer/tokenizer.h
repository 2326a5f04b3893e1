// SentencePiece tokenizer of a model folder, from its tokenizer.model or else its tokenizer.json. Typed text
// never becomes a control token (trap 46).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace eyrie::engine {

// Immutable, shareable between threads.
class Tokenizer {
 public:
  // Reads tokenizer.model, or a file called tokenizer.json. User-defined pieces that look like control tokens
  // (<start_of_turn> …) no longer match in plain text. Throws Error(badTokenizer).
  static std::shared_ptr<const Tokenizer> load(const std::filesystem::path& modelFile);
  // The same from the file's bytes; `file` names it in errors.
  static std::shared_ptr<const Tokenizer> parse(std::string_view bytes, const std::string& file);
  // From a tokenizer.json and, unless empty, the tokenizer_config.json that goes with it (tokenizer_json.h).
  static std::shared_ptr<const Tokenizer> parseJson(std::string_view json, const std::string& file,
                                                    std::string_view config = {},
                                                    const std::string& configFile = {});
  // The tokenizer of a model folder: tokenizer.model, else tokenizer.json with tokenizer_config.json, else
  // null. Throws Error(badTokenizer) also where it has more pieces than the model's vocabulary (fewer is
  // fine).
  static std::shared_ptr<const Tokenizer> loadFor(const std::filesystem::path& folder,
                                                  std::int64_t vocabulary);
  virtual ~Tokenizer() = default;

  virtual std::int64_t size() const = 0;
  // Text as text: no BOS, no control tokens, whatever it contains.
  virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;
  // Bytes the token stands for; empty for control tokens. Not necessarily whole UTF-8 characters.
  virtual std::string bytes(std::int32_t token) const = 0;
  // For display in lists: control tokens as ⟨name⟩, single bytes as ⟨E4⟩, leading space kept.
  virtual std::string display(std::int32_t token) const = 0;
  virtual bool isControl(std::int32_t token) const = 0;
  virtual std::optional<std::int32_t> controlToken(std::string_view piece) const = 0;  // e.g. "<end_of_turn>"
  // Whether encode() puts a space before the text (SentencePiece's dummy prefix; Gemma does not).
  virtual bool addsPrefixSpace() const = 0;
  // The bytes of several tokens from the start of a text (less the prefix space), invalid UTF-8 replaced only
  // at the end of the text.
  std::string decode(const std::vector<std::int32_t>& tokens) const;
};

}  // namespace eyrie::engine
