// Files of the source tree carried inside the libraries (eyrie_embed in CMakeLists.txt).
#pragma once

#include <string_view>

namespace eyrie::sessions::embedded {

std::string_view openTracePy();
std::string_view initialSql();

}  // namespace eyrie::sessions::embedded
