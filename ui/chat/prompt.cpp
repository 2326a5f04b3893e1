#include "ui/chat/prompt.h"

#include <algorithm>

namespace eyrie::ui {

namespace {

using engine::ChatMessage;
using engine::Role;
using Tokens = std::vector<std::int32_t>;

class PromptBuilder {
 public:
  PromptBuilder(const engine::ModelInfo& model, const QString& systemPrompt)
      : model_(model), system_(systemPrompt.trimmed().toStdString()) {
    prompt_.tokens = {model_.chat.bos};
  }

  void add(const Turn& turn) {
    const std::size_t before = prompt_.tokens.size();
    TurnSpan span{turn.id, std::int64_t(before), 0};
    if (turn.role == Role::model) {
      addReply(turn, span);
    } else if (turn.role == Role::text) {
      closeReply();
      span.textBegin = std::int64_t(prompt_.tokens.size());
      append(rendered({{Role::text, turn.text.toStdString()}}, false));
      span.textEnd = std::int64_t(prompt_.tokens.size());
    } else {
      addQuestion(turn, span);
    }
    prompt_.spans.push_back(span);
  }

  void openReply(Role last) {
    if (last == Role::user) append(opened());
  }

  Prompt take() { return std::move(prompt_); }

 private:
  // Without the BOS that every rendering starts with.
  Tokens rendered(const std::vector<ChatMessage>& messages, bool open) const {
    Tokens tokens = engine::renderChat(model_.chat, *model_.tokenizer, messages, open);
    if (!tokens.empty() && tokens.front() == model_.chat.bos) tokens.erase(tokens.begin());
    return tokens;
  }
  // What stands between a question and its reply: the difference an opened turn makes.
  Tokens opened() const {
    const Tokens closed = rendered({{Role::user, "x"}}, false);
    const Tokens open = rendered({{Role::user, "x"}}, true);
    if (open.size() <= closed.size()) return {};
    return {open.begin() + std::ptrdiff_t(closed.size()), open.end()};
  }
  void append(const Tokens& tokens) {
    prompt_.tokens.insert(prompt_.tokens.end(), tokens.begin(), tokens.end());
  }
  void closeReply() {
    if (!replyOpen_) return;
    replyOpen_ = false;
    if (model_.chat.turns && prompt_.tokens.back() != model_.chat.endOfTurn) {
      prompt_.tokens.push_back(model_.chat.endOfTurn);
    }
    append(model_.tokenizer->encode("\n"));
  }
  void addQuestion(const Turn& turn, TurnSpan& span) {
    closeReply();
    const std::size_t before = prompt_.tokens.size();
    std::vector<ChatMessage> messages;
    if (!system_.empty() && !systemSent_) messages.push_back({Role::system, system_});
    systemSent_ = true;
    messages.push_back({Role::user, turn.text.toStdString()});
    append(rendered(messages, false));
    // The words end where the template closes the turn, and begin a known number of tokens earlier.
    const Tokens words = model_.tokenizer->encode(turn.text.toStdString());
    std::size_t end = prompt_.tokens.size();
    if (model_.chat.turns) {
      while (end > before && prompt_.tokens[end - 1] != model_.chat.endOfTurn) --end;
      if (end > before) --end;
    }
    span.textEnd = std::int64_t(end);
    span.textBegin = std::int64_t(end - std::min(end - before, words.size()));
  }
  void addReply(const Turn& turn, TurnSpan& span) {
    if (!turn.rawContinuation) append(opened());
    span.textBegin = std::int64_t(prompt_.tokens.size());
    if (!turn.tokens.empty() && turn.fingerprint == model_.fingerprint) {
      for (const engine::TokenRecord& record : turn.tokens) prompt_.tokens.push_back(record.token);
      // An end-of-text token is the model's last word, not part of what a following turn answers.
      const std::vector<std::int32_t>& ends = model_.summary.config.eosTokens;
      while (std::find(ends.begin(), ends.end(), prompt_.tokens.back()) != ends.end())
        prompt_.tokens.pop_back();
    } else {
      append(model_.tokenizer->encode(turn.text.toStdString()));
    }
    span.textEnd = std::int64_t(prompt_.tokens.size());
    replyOpen_ = !turn.rawContinuation;
  }

  const engine::ModelInfo& model_;
  std::string system_;
  bool systemSent_ = false;
  bool replyOpen_ = false;
  Prompt prompt_;
};

}  // namespace

Prompt buildPrompt(const engine::ModelInfo& model, const Conversation& conversation,
                   const QString& systemPrompt, bool openReply) {
  PromptBuilder builder(model, systemPrompt);
  for (const TurnId id : conversation.path()) builder.add(conversation.turn(id));
  if (openReply && conversation.leaf() != 0) builder.openReply(conversation.turn(conversation.leaf()).role);
  return builder.take();
}

QString promptAsText(const engine::ModelInfo& model, const Prompt& prompt) {
  std::string text;
  std::vector<std::int32_t> run;
  for (const std::int32_t token : prompt.tokens) {
    if (!model.tokenizer->isControl(token)) {
      run.push_back(token);
      continue;
    }
    text += model.tokenizer->decode(run) + model.tokenizer->display(token);
    run.clear();
  }
  return QString::fromStdString(text + model.tokenizer->decode(run));
}

}  // namespace eyrie::ui
