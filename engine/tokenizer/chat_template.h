// Gemma's chat template (REFERENCE §2.3), built of token ids so that text can never forge a turn. Traps 31,
// 32, 46.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/config.h"
#include "engine/tokenizer/tokenizer.h"

namespace eyrie::engine {

enum class Role : std::uint8_t { system, user, model, text };  // text: read as it is, no turn around it

struct ChatMessage {
  Role role = Role::user;
  std::string text;
};

struct ChatFormat {
  bool turns =
      false;  // the tokenizer knows <start_of_turn>/<end_of_turn>; else messages are joined by newlines
  std::int32_t bos = 2;
  std::int32_t startOfTurn = -1;
  std::int32_t endOfTurn = -1;
};

ChatFormat chatFormatOf(const ModelConfig& config, const Tokenizer& tokenizer);
// The same for the model of a folder, which knows whether it was taught turns: none in a base model.
ChatFormat chatFormatOf(const ModelConfig& config, const Tokenizer& tokenizer,
                        const std::filesystem::path& folder);
// Whether a folder has a tokenizer_config.json and no chat template with Gemma's turns, there or in a file of
// its own: a base model, whose tokenizer knows the markers all the same. An unreadable file says nothing.
bool isBaseModel(const std::filesystem::path& folder);
// Tokens that end a reply: the configuration's EOS and, with turns, <end_of_turn>.
std::vector<std::int32_t> stopTokens(const ModelConfig& config, const ChatFormat& format);

// BOS + every message as a turn, its text without surrounding white space, + (openModelTurn) an opened model
// turn. A system message goes before the
// first user turn's text with a blank line between, since the format has no system role.
std::vector<std::int32_t> renderChat(const ChatFormat& format, const Tokenizer& tokenizer,
                                     const std::vector<ChatMessage>& messages, bool openModelTurn);
// The same as readable text with control tokens shown as ⟨…⟩: "show the effective prompt".
std::string renderChatText(const ChatFormat& format, const Tokenizer& tokenizer,
                           const std::vector<ChatMessage>& messages, bool openModelTurn);

}  // namespace eyrie::engine
