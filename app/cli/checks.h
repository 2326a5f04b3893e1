// What the text of an option must be. Each check says what it expected and what it found; CLI11 alone would
// read 010 as 8, nothing as 0, and cut what is too large.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>

namespace eyrie::app {

// Decimal, without sign and leading zeros.
CLI::Validator wholeNumber(std::uint64_t least, std::uint64_t most);
// Any number, also inf and nan: what they are good for is the engine's to say.
CLI::Validator realNumber();
// A name of something: not empty.
CLI::Validator filled();

// One of engine::modelPresets().
CLI::Validator presetName();

}  // namespace eyrie::app
