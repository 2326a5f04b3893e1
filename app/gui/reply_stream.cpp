#include "app/gui/reply_stream.h"

namespace eyrie::app {

void ReplyStream::begin(std::vector<engine::TokenRecord> known, bool joined) {
  assembler_ = {};
  keepsSpace_ = joined;
  text_.clear();
  tokens_ = std::move(known);
}

QString ReplyStream::take(const std::vector<engine::TokenRecord>& tokens,
                          const engine::Tokenizer& tokenizer) {
  QString text;
  for (const engine::TokenRecord& record : tokens) {
    tokens_.push_back(record);
    text += QString::fromStdString(assembler_.push(tokenizer.bytes(record.token)));
  }
  if (text.isEmpty()) return text;
  // A reply begins with a space that only joins it to what it answers.
  if (!keepsSpace_ && text.startsWith(QLatin1Char(' '))) text.remove(0, 1);
  keepsSpace_ = true;
  text_ += text;
  return text;
}

QString ReplyStream::finish() {
  QString rest = QString::fromStdString(assembler_.finish());
  text_ += rest;
  return rest;
}

void ReplyStream::store(SessionService& sessions, sessions::MessageId message) {
  if (text_.isEmpty() && tokens_.empty()) return;
  sessions.appendTokens(message, text_, std::move(tokens_));
  text_.clear();
  tokens_.clear();
}

}  // namespace eyrie::app
