#include "engine/checkpoint/strict_json.h"

#include <fmt/format.h>

#include <unordered_set>
#include <vector>

#include "engine/error.h"

namespace eyrie::engine {
namespace {

using nlohmann::json;

// Watches the parser: one set of keys for every object that is open.
class Guard {
 public:
  Guard(const std::string& file, const JsonLimits& limits) : file_(file), limits_(limits) {}

  bool operator()(int depth, json::parse_event_t event, json& value) {
    if (event != json::parse_event_t::object_end && event != json::parse_event_t::array_end &&
        ++values_ > limits_.values)
      fail(fmt::format("expected at most {} JSON values, found more", limits_.values));
    if (depth > limits_.depth) fail(fmt::format("JSON is nested more than {} deep", limits_.depth));
    if (event == json::parse_event_t::object_start) keys_.emplace_back();
    if (event == json::parse_event_t::object_end) keys_.pop_back();
    if (event == json::parse_event_t::key && !keys_.back().insert(value.get<std::string>()).second)
      fail(fmt::format("JSON key \"{}\" appears twice", printable(value.get<std::string>())));
    return true;
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::badFile, fmt::format("{}: {}", file_, what));
  }

 private:
  const std::string& file_;
  const JsonLimits& limits_;
  std::size_t values_ = 0;
  std::vector<std::unordered_set<std::string>> keys_;
};

}  // namespace

json parseStrictJson(std::string_view text, const std::string& file, const JsonLimits& limits) {
  Guard guard(file, limits);
  try {
    return json::parse(text.begin(), text.end(), std::ref(guard));
  } catch (const json::parse_error& error) {
    guard.fail(fmt::format("expected JSON, found a mistake at byte {} of {}", error.byte, text.size()));
  } catch (const json::exception&) {
    guard.fail("expected JSON, found a number that is out of range");
  }
}

std::string printable(std::string_view text) {
  constexpr std::size_t kMost = 80;
  std::string out;
  for (const char c : text.substr(0, kMost))
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  while (text.size() > kMost && !out.empty() && (static_cast<unsigned char>(out.back()) & 0x80U) != 0)
    out.pop_back();  // a character cut in two
  if (text.size() > kMost) out += "...";
  return out;
}

std::string jsonExcerpt(const json& value) {
  if (value.is_array() && value.size() > 16) return fmt::format("an array of {} values", value.size());
  if (value.is_object()) return "an object";
  return printable(value.dump(-1, ' ', false, json::error_handler_t::replace));
}

}  // namespace eyrie::engine
