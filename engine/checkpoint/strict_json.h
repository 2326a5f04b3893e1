// JSON from files we did not write: duplicate keys, deep nesting and floods of values are refused, and every
// failure is an Error that names the file.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace eyrie::engine {

struct JsonLimits {
  int depth = 16;                // arrays and objects inside each other
  std::size_t values = 200'000;  // keys, numbers, strings, arrays, objects: bounds the memory
};

// Throws Error(badFile).
nlohmann::json parseStrictJson(std::string_view text, const std::string& file, const JsonLimits& limits = {});

// `value` as short text for "found …" in messages.
std::string jsonExcerpt(const nlohmann::json& value);
// Text from a file for a message: printable, at most 80 bytes.
std::string printable(std::string_view text);

}  // namespace eyrie::engine
