// model.safetensors.index.json: which tensor lies in which file of the same folder.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace eyrie::engine {

struct ShardIndex {
  std::map<std::string, std::string> files;  // tensor name → file name
};

// Pure function of text. File names with separators, "." or ".." are refused: an index names files of its own
// folder only. Throws Error(badFile) naming `file`, the tensor and what was found.
ShardIndex parseShardIndex(std::string_view text, const std::string& file);

}  // namespace eyrie::engine
