// Standard output, JSON lines and Ctrl-C.
#pragma once

#include <nlohmann/json.hpp>
#include <stop_token>
#include <string>
#include <string_view>

namespace eyrie::app {

using Json = nlohmann::ordered_json;

// Writes to stdout. Throws Error(ioFailed) when that is no longer possible (disk full).
void print(std::string_view text);
// One object, one line, flushed; invalid UTF-8 becomes U+FFFD.
void printLine(const Json& object);
void flushOutput();
// A message for people, on stderr, with a line feed.
void note(std::string_view message);
// What went wrong: "eyrie-cli: MESSAGE" on one line, whatever names from outside it carries.
void complain(std::string_view message);

// Words from outside for a terminal: control characters, which could order it about, become '?'.
std::string plain(std::string_view text);

// null for NaN and infinities, which JSON does not have.
Json number(double value);

// While it lives, Ctrl-C (and a closed terminal, and kill) asks token() to stop; a second one ends the
// process at once. One at a time.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  std::stop_token token() const;
  bool requested() const { return token().stop_requested(); }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace eyrie::app
