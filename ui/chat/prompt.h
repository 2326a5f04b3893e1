// The tokens that stand for the shown path, and where each turn's words lie among them. Replies keep the very
// tokens the model wrote, so that its state can be reused; only their words would be tokenised anew.
#pragma once

#include <QString>
#include <vector>

#include "engine/events.h"
#include "ui/chat/conversation.h"

namespace eyrie::ui {

struct TurnSpan {
  TurnId turn = 0;
  std::int64_t textBegin = 0;  // positions of the turn's own words, without template tokens
  std::int64_t textEnd = 0;
};

struct Prompt {
  std::vector<std::int32_t> tokens;
  std::vector<TurnSpan> spans;
};

// `openReply`: end with an opened model turn where the last turn asks for one. Needs model.tokenizer.
Prompt buildPrompt(const engine::ModelInfo& model, const Conversation& conversation,
                   const QString& systemPrompt, bool openReply);
// The same as text with control tokens as ⟨…⟩: what is really sent.
QString promptAsText(const engine::ModelInfo& model, const Prompt& prompt);

}  // namespace eyrie::ui
