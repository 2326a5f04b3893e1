// The words and tokens of a reply while it is written: bytes become characters, and what is not handed to the
// store yet is kept. GUI thread.
#pragma once

#include <QString>
#include <vector>

#include "app/gui/session_service.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/utf8_assembler.h"

namespace eyrie::app {

class ReplyStream {
 public:
  // `known`: tokens the reply begins with because it continues another; they are stored like those that
  // follow. `joined`: its words go on where others end, so a leading space stays.
  void begin(std::vector<engine::TokenRecord> known, bool joined);
  // The words these tokens add.
  QString take(const std::vector<engine::TokenRecord>& tokens, const engine::Tokenizer& tokenizer);
  // What is left of a character that was cut in the middle.
  QString finish();
  // Hands over what the store does not have yet.
  void store(SessionService& sessions, sessions::MessageId message);

 private:
  engine::Utf8Assembler assembler_;
  bool keepsSpace_ = false;
  QString text_;
  std::vector<engine::TokenRecord> tokens_;
};

}  // namespace eyrie::app
