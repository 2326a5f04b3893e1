#include "engine/tokenizer/chat_template.h"

#include <algorithm>
#include <string_view>

#include "engine/checkpoint/file_io.h"
#include "engine/checkpoint/strict_json.h"
#include "engine/error.h"

namespace eyrie::engine {
namespace {

// A piece of the prompt: a control token, or text to be encoded as text.
struct Segment {
  std::int32_t control = -1;  // -1: text
  std::string text;
};

std::string trimmed(const std::string& text) {
  constexpr const char* kSpace = " \t\r\n\v\f";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

// Text next to text is one text: SentencePiece must see it whole.
void addText(std::vector<Segment>& segments, const std::string& text) {
  if (!segments.empty() && segments.back().control < 0)
    segments.back().text += text;
  else
    segments.push_back({-1, text});
}

// System text waits for the first user turn; alone it makes a user turn of its own.
std::vector<Segment> turnSegments(const ChatFormat& format, const std::vector<ChatMessage>& messages,
                                  bool open) {
  std::vector<Segment> segments = {{format.bos, {}}};
  std::string system;
  const auto turn = [&](const char* role, const std::string& text) {
    segments.push_back({format.startOfTurn, {}});
    addText(segments, std::string(role) + "\n" + text);
    segments.push_back({format.endOfTurn, {}});
    addText(segments, "\n");
  };
  const auto userTurn = [&](const std::string& text) {
    const std::string joined = system.empty() || text.empty() ? system + text : system + "\n\n" + text;
    system.clear();
    turn("user", joined);
  };
  for (const ChatMessage& message : messages) {
    if (message.role == Role::system) system += (system.empty() ? "" : "\n\n") + trimmed(message.text);
    if (message.role == Role::user) userTurn(trimmed(message.text));
    if (message.role == Role::model) turn("model", trimmed(message.text));
    if (message.role == Role::text) addText(segments, message.text);
  }
  if (!system.empty()) userTurn({});
  if (open) {
    segments.push_back({format.startOfTurn, {}});
    addText(segments, "model\n");
  }
  return segments;
}

std::vector<Segment> plainSegments(const ChatFormat& format, const std::vector<ChatMessage>& messages,
                                   bool open) {
  std::vector<Segment> segments = {{format.bos, {}}};
  for (std::size_t i = 0; i < messages.size(); ++i) addText(segments, (i > 0 ? "\n" : "") + messages[i].text);
  const bool onlyText = std::all_of(messages.begin(), messages.end(),
                                    [](const ChatMessage& m) { return m.role == Role::text; });
  if (open && !messages.empty() && !onlyText) addText(segments, "\n");
  return segments;
}

std::vector<Segment> segmentsOf(const ChatFormat& format, const std::vector<ChatMessage>& messages,
                                bool open) {
  return format.turns ? turnSegments(format, messages, open) : plainSegments(format, messages, open);
}

}  // namespace

ChatFormat chatFormatOf(const ModelConfig& config, const Tokenizer& tokenizer) {
  ChatFormat format;
  format.bos = config.bosToken;
  const auto start = tokenizer.controlToken("<start_of_turn>");
  const auto end = tokenizer.controlToken("<end_of_turn>");
  format.turns = start && end;
  if (format.turns) {
    format.startOfTurn = *start;
    format.endOfTurn = *end;
  }
  return format;
}

bool isBaseModel(const std::filesystem::path& folder) {
  constexpr std::uint64_t kMaxBytes = 64U << 20U;
  constexpr std::string_view kTurn = "<start_of_turn>";
  std::error_code ignored;
  const std::filesystem::path config = folder / "tokenizer_config.json";
  if (!std::filesystem::exists(config, ignored)) return false;
  try {
    for (const char* name : {"chat_template.jinja", "chat_template.json"})
      if (std::filesystem::exists(folder / name, ignored) &&
          readFile(folder / name, kMaxBytes).find(kTurn) != std::string::npos)
        return false;
    const nlohmann::json root = parseStrictJson(readFile(config, kMaxBytes), config.string());
    const auto chat = root.find("chat_template");  // a text, or a list of several
    return chat == root.end() || chat->dump().find(kTurn) == std::string::npos;
  } catch (const Error&) {
    return false;
  }
}

ChatFormat chatFormatOf(const ModelConfig& config, const Tokenizer& tokenizer,
                        const std::filesystem::path& folder) {
  const ChatFormat format = chatFormatOf(config, tokenizer);
  if (!format.turns || !isBaseModel(folder)) return format;
  ChatFormat plain;
  plain.bos = format.bos;
  return plain;
}

std::vector<std::int32_t> stopTokens(const ModelConfig& config, const ChatFormat& format) {
  std::vector<std::int32_t> stops = config.eosTokens;
  if (format.turns && std::find(stops.begin(), stops.end(), format.endOfTurn) == stops.end())
    stops.push_back(format.endOfTurn);
  return stops;
}

std::vector<std::int32_t> renderChat(const ChatFormat& format, const Tokenizer& tokenizer,
                                     const std::vector<ChatMessage>& messages, bool openModelTurn) {
  std::vector<std::int32_t> tokens;
  for (const Segment& segment : segmentsOf(format, messages, openModelTurn)) {
    if (segment.control >= 0) {
      tokens.push_back(segment.control);
      continue;
    }
    const std::vector<std::int32_t> text = tokenizer.encode(segment.text);
    tokens.insert(tokens.end(), text.begin(), text.end());
  }
  return tokens;
}

std::string renderChatText(const ChatFormat& format, const Tokenizer& tokenizer,
                           const std::vector<ChatMessage>& messages, bool openModelTurn) {
  std::string text;
  for (const Segment& segment : segmentsOf(format, messages, openModelTurn))
    text += segment.control >= 0 ? tokenizer.display(segment.control) : segment.text;
  return text;
}

}  // namespace eyrie::engine
