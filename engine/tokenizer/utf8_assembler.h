// Collects token bytes and gives back whole UTF-8 characters only.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace eyrie::engine {

// Bytes of the character that `text` begins with; 0 where it begins with no whole valid one.
std::size_t characterBytes(std::string_view text);

class Utf8Assembler {
 public:
  // Appends bytes; returns every character that is complete now. Bytes that can never become valid come out
  // as U+FFFD.
  std::string push(std::string_view bytes);
  // What is left, as U+FFFD if incomplete. Resets.
  std::string finish();

 private:
  std::string pending_;
};

}  // namespace eyrie::engine
