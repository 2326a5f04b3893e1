#include "engine/interventions.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <iterator>

#include "engine/checkpoint/fingerprint.h"
#include "engine/checkpoint/strict_json.h"
#include "engine/error.h"

namespace eyrie::engine {
namespace {

constexpr const char* kTargetNames[] = {
    "recurrence_gate", "input_gate", "decay", "multiplier", "state", "conv",
    "recurrence",      "attention",  "head",  "mlp",        "block", "window"};
constexpr std::int64_t kMostIndex = std::int64_t{1} << 40;
constexpr double kMostValue = std::numeric_limits<float>::max();

// Of which a scaled one is limited to 1.
bool isShare(InterventionTarget target) {
  return target <= InterventionTarget::multiplier;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}
  Interventions rules();

 private:
  Intervention rule();
  InterventionTarget target();
  void action(Intervention& rule);
  void number(Intervention& rule);
  IndexRange closedRange(const char* what);
  IndexRange channels();
  std::int64_t index(const char* what);
  IndexRange rising(std::size_t at, IndexRange range) const;

  void skipSpace();
  bool atEnd();
  bool take(std::string_view symbol);
  bool atDigit();
  std::string_view word();
  [[noreturn]] void fail(std::size_t at, const std::string& expected) const;

  std::string_view text_;
  std::size_t at_ = 0;
};

bool isSpace(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool isWord(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool isDigit(char c) {
  return c >= '0' && c <= '9';
}

// The whole word or number at `at`, or the one character of anything else.
std::string_view foundAt(std::string_view text, std::size_t at) {
  const bool number = isDigit(text[at]) || text[at] == '-' || text[at] == '.';
  const auto belongs = [&](std::size_t i) {
    const bool exponentSign =
        (text[i] == '-' || text[i] == '+') && (text[i - 1] == 'e' || text[i - 1] == 'E');
    return isWord(text[i]) || isDigit(text[i]) || text[i] == '.' || (number && i > at && exponentSign);
  };
  std::size_t end = at + (text[at] == '-' ? 1 : 0);
  while (end < text.size() && belongs(end)) ++end;
  // A character of UTF-8 has its continuation bytes with it.
  if (end == at) {
    do ++end;
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U);
  }
  return text.substr(at, end - at);
}

void Parser::fail(std::size_t at, const std::string& expected) const {
  const std::string found =
      at >= text_.size() ? "the end" : fmt::format("'{}'", printable(foundAt(text_, at)));
  throw Error(ErrorCode::badArgument,
              fmt::format("interventions: at character {}: expected {}, found {}", at + 1, expected, found));
}

void Parser::skipSpace() {
  while (at_ < text_.size() && isSpace(text_[at_])) ++at_;
}

bool Parser::atEnd() {
  skipSpace();
  return at_ == text_.size();
}

bool Parser::take(std::string_view symbol) {
  skipSpace();
  if (!text_.substr(at_).starts_with(symbol)) return false;
  at_ += symbol.size();
  return true;
}

bool Parser::atDigit() {
  skipSpace();
  return at_ < text_.size() && isDigit(text_[at_]);
}

std::string_view Parser::word() {
  skipSpace();
  std::size_t end = at_;
  while (end < text_.size() && isWord(text_[end])) ++end;
  return text_.substr(at_, end - at_);
}

std::int64_t Parser::index(const char* what) {
  skipSpace();
  std::int64_t value = 0;
  const char* const end = text_.data() + text_.size();
  if (!atDigit()) fail(at_, what);
  const auto [next, status] = std::from_chars(text_.data() + at_, end, value);
  if (status != std::errc{} || value > kMostIndex) {
    fail(at_, fmt::format("{} of at most {}", what, kMostIndex));
  }
  at_ = static_cast<std::size_t>(next - text_.data());
  return value;
}

IndexRange Parser::rising(std::size_t at, IndexRange range) const {
  if (range.end <= range.first) fail(at, "a rising range");
  return range;
}

// N, N-M or N-.
IndexRange Parser::closedRange(const char* what) {
  skipSpace();
  const std::size_t begin = at_;
  IndexRange range;
  range.first = index(what);
  range.end = range.first + 1;
  if (take("-")) range.end = atDigit() ? index(what) + 1 : IndexRange::kOpen;
  return rising(begin, range);
}

// After '['.
IndexRange Parser::channels() {
  constexpr const char* kWhat = "a channel's number";
  skipSpace();
  const std::size_t begin = at_;
  IndexRange range;
  const bool hasFirst = atDigit();
  if (hasFirst) range.first = index(kWhat);
  if (take(":")) {
    if (atDigit()) {
      range.end = index(kWhat);
    } else if (!hasFirst) {
      fail(at_, kWhat);
    }
  } else {
    if (!hasFirst) fail(at_, kWhat);
    range.end = range.first + 1;
  }
  if (!take("]")) fail(at_, range.end == IndexRange::kOpen ? "a channel's number or ']'" : "']'");
  return rising(begin, range);
}

InterventionTarget Parser::target() {
  const std::string_view name = word();
  for (std::size_t i = 0; i < std::size(kTargetNames); ++i) {
    if (name != kTargetNames[i]) continue;
    at_ += name.size();
    return static_cast<InterventionTarget>(i);
  }
  fail(at_, fmt::format("one of {}", fmt::join(kTargetNames, ", ")));
}

void Parser::number(Intervention& rule) {
  skipSpace();
  const bool share = isShare(rule.target);
  const bool window = rule.target == InterventionTarget::window;
  const bool set = rule.action == InterventionAction::set;
  const char* expected = window         ? "a whole number of keys, 1 or more"
                         : share && set ? "a number from 0 to 1"
                         : share        ? "a number of 0 or more"
                                        : "a number that f32 can hold";
  double value = 0;
  const char* const begin = text_.data() + at_;
  const auto [next, status] = std::from_chars(begin, text_.data() + text_.size(), value);
  bool fits = status == std::errc{} && std::abs(value) <= kMostValue;
  if (share) fits = fits && value >= 0 && (!set || value <= 1);
  if (window) fits = fits && value >= 1 && value <= double(kMostIndex) && std::floor(value) == value;
  if (!fits) fail(at_, expected);
  rule.value = value + 0.0;  // -0 becomes 0
  at_ += static_cast<std::size_t>(next - begin);
}

void Parser::action(Intervention& rule) {
  const bool window = rule.target == InterventionTarget::window;
  if (!window && word() == "off") {
    at_ += 3;
    return;
  }
  if (!window && take("*=")) {
    rule.action = InterventionAction::scale;
  } else if (!take("=")) {
    fail(at_, window ? "=" : rule.channels.all() ? "[, =, *= or off" : "=, *= or off");
  }
  number(rule);
}

Intervention Parser::rule() {
  Intervention rule;
  if (word() == "layer") {
    at_ += 5;
    rule.layers = closedRange("a layer's number");
  }
  rule.target = target();
  if (rule.target == InterventionTarget::head) rule.heads = closedRange("a head's number");
  if (rule.target != InterventionTarget::window && take("[")) rule.channels = channels();
  action(rule);
  if (take("@")) rule.tokens = closedRange("a position");
  return rule;
}

Interventions Parser::rules() {
  Interventions rules;
  while (!atEnd()) {
    rules.push_back(rule());
    if (atEnd()) break;
    if (!take(";")) fail(at_, rules.back().tokens.all() ? "@, ; or the end" : "; or the end");
  }
  return rules;
}

std::string printClosed(const IndexRange& range) {
  if (range.end == IndexRange::kOpen) return fmt::format("{}-", range.first);
  if (range.end == range.first + 1) return fmt::format("{}", range.first);
  return fmt::format("{}-{}", range.first, range.end - 1);
}

std::string printChannels(const IndexRange& range) {
  if (range.all()) return {};
  if (range.end == IndexRange::kOpen) return fmt::format("[{}:]", range.first);
  if (range.end == range.first + 1) return fmt::format("[{}]", range.first);
  return fmt::format("[{}:{}]", range.first, range.end);
}

std::string printAction(const Intervention& rule) {
  if (rule.action == InterventionAction::scale) return fmt::format("*= {}", rule.value);
  return rule.value == 0 ? "off" : fmt::format("= {}", rule.value);
}

}  // namespace

const char* targetName(InterventionTarget target) {
  return kTargetNames[static_cast<std::size_t>(target)];
}

Interventions parseInterventions(std::string_view text) {
  return Parser(text).rules();
}

std::string printIntervention(const Intervention& rule) {
  std::string text;
  if (!rule.layers.all()) text += fmt::format("layer {} ", printClosed(rule.layers));
  text += targetName(rule.target);
  if (rule.target == InterventionTarget::head) text += fmt::format(" {}", printClosed(rule.heads));
  text += fmt::format("{} {}", printChannels(rule.channels), printAction(rule));
  if (!rule.tokens.all()) text += fmt::format(" @{}", printClosed(rule.tokens));
  return text;
}

std::string printInterventions(const Interventions& rules) {
  std::vector<std::string> lines;
  for (const Intervention& rule : rules) lines.push_back(printIntervention(rule));
  return fmt::format("{}", fmt::join(lines, "; "));
}

std::string stateFingerprint(const std::string& fingerprint, const Interventions& rules) {
  if (rules.empty()) return fingerprint;
  Digest digest;
  digest.add(printInterventions(rules));
  return fingerprint + " changed " + digest.hex();
}

}  // namespace eyrie::engine
