#include "app/cli/checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <string>

#include "engine/checkpoint/strict_json.h"
#include "engine/make_model.h"

namespace eyrie::app {
namespace {

// Whether all of `text` is one number.
template <class Number>
bool parse(const std::string& text, Number& value) {
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  return status == std::errc{} && end == text.data() + text.size();
}

}  // namespace

CLI::Validator wholeNumber(std::uint64_t least, std::uint64_t most) {
  const auto check = [least, most](std::string& text) -> std::string {
    std::uint64_t value = 0;
    const bool octal = text.size() > 1 && text.front() == '0';  // to CLI11, and not to people
    if (!octal && parse(text, value) && value >= least && value <= most) return {};
    return fmt::format("expected a whole number from {} to {}, found '{}'", least, most,
                       engine::printable(text));
  };
  return {check, ""};
}

CLI::Validator realNumber() {
  const auto check = [](std::string& text) -> std::string {
    double value = 0;
    if (parse(text, value)) return {};
    return fmt::format("expected a number, found '{}'", engine::printable(text));
  };
  return {check, ""};
}

CLI::Validator filled() {
  const auto check = [](std::string& text) -> std::string {
    return text.empty() ? "expected a name, found nothing" : "";
  };
  return {check, ""};
}

CLI::Validator presetName() {
  const auto check = [](std::string& text) -> std::string {
    const auto presets = engine::modelPresets();
    if (std::find(presets.begin(), presets.end(), text) != presets.end()) return {};
    return fmt::format("expected one of {}; found '{}'", fmt::join(presets, ", "), engine::printable(text));
  };
  return {check, ""};
}

}  // namespace eyrie::app
