#include "engine/checkpoint/shard_index.h"

#include <fmt/format.h>

#include "engine/checkpoint/strict_json.h"
#include "engine/error.h"

namespace eyrie::engine {
namespace {

bool isPlainName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.size() <= 255 &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

}  // namespace

ShardIndex parseShardIndex(std::string_view text, const std::string& file) {
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorCode::badFile, fmt::format("{}: {}", file, what));
  };
  const nlohmann::json root = parseStrictJson(text, file, {.depth = 8, .values = 1'000'000});
  if (!root.is_object()) fail(fmt::format("expected a JSON object, found {}", jsonExcerpt(root)));
  const auto map = root.find("weight_map");
  if (map == root.end()) fail("weight_map: expected an object, the key is missing");
  if (!map->is_object() || map->empty())
    fail(fmt::format("weight_map: expected an object with tensors, found {}",
                     map->is_object() ? "an empty one" : jsonExcerpt(*map)));
  ShardIndex index;
  for (const auto& [tensor, name] : map->items()) {
    if (!name.is_string())
      fail(fmt::format("weight_map: {}: expected a file name, found {}", printable(tensor),
                       jsonExcerpt(name)));
    if (!isPlainName(name.get_ref<const std::string&>()))
      fail(fmt::format("weight_map: {}: expected the name of a file in the same folder, found {}",
                       printable(tensor), jsonExcerpt(name)));
    index.files.emplace(tensor, name.get<std::string>());
  }
  return index;
}

}  // namespace eyrie::engine
