// Checks SentencePiece's compiled normalisation rules (a Darts double array and its strings).
#pragma once

#include <string>
#include <string_view>

namespace eyrie::engine {

// Empty when every walk SentencePiece can make stays inside the arrays, else what is wrong.
std::string charsMapDefect(std::string_view blob);

}  // namespace eyrie::engine
