#include "tests/engine/bad_input_cases.h"

namespace eyrie::engine::test {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kTensor = "model.embed_tokens.weight";

void edited(std::vector<BadCase>& cases, const std::string& name, const std::vector<std::string>& named,
            const std::function<void(Json&)>& edit) {
  cases.push_back({"index: " + name, named, [edit](ModelFiles& files) { editIndex(files, edit); }, true});
}

void addNames(std::vector<BadCase>& cases) {
  for (const std::string name : {"../model.safetensors", "/etc/passwd", "sub/a.safetensors", "..", ".", "",
                                 "..\\a", "./model-00001.safetensors", "C:\\a"})
    edited(cases, "a shard named \"" + name + "\"", {kIndex, kTensor, "a file in the same folder"},
           [name](Json& index) { index["weight_map"][kTensor] = name; });
  edited(cases, "a shard name with a zero byte", {kIndex, kTensor, "a file in the same folder"},
         [](Json& index) { index["weight_map"][kTensor] = std::string("a\0b", 3); });
  edited(cases, "a very long shard name", {kIndex, kTensor, "a file in the same folder"},
         [](Json& index) { index["weight_map"][kTensor] = std::string(5000, 'a'); });
  for (const Json& value : {Json(3), Json(nullptr), Json(Json::array({"a"})), Json(true)})
    edited(cases, std::string("a shard ") + value.dump(), {kIndex, kTensor, "expected a file name"},
           [value](Json& index) { index["weight_map"][kTensor] = value; });
}

void addMaps(std::vector<BadCase>& cases) {
  edited(cases, "a shard that does not exist", {kIndex, "expected shard model-99999.safetensors"},
         [](Json& index) { index["weight_map"][kTensor] = "model-99999.safetensors"; });
  edited(cases, "a tensor in another shard", {kIndex, kTensor, "expected it in", "found it in"},
         [](Json& index) { index["weight_map"][kTensor] = index["weight_map"]["model.final_norm.weight"]; });
  edited(cases, "a tensor that is nowhere", {kIndex, "model.ghost", "found no such tensor"},
         [](Json& index) { index["weight_map"]["model.ghost"] = index["weight_map"][kTensor]; });
  edited(cases, "a tensor left out", {kTensor, "expected it in model.safetensors.index.json"},
         [](Json& index) { index["weight_map"].erase(kTensor); });
  edited(cases, "no weight_map", {kIndex, "weight_map"}, [](Json& index) { index.erase("weight_map"); });
  edited(cases, "an empty weight_map", {kIndex, "weight_map"},
         [](Json& index) { index["weight_map"] = Json::object(); });
  for (const Json& value : {Json::array(), Json("model.safetensors"), Json(3), Json(nullptr)})
    edited(cases, std::string("weight_map = ") + value.dump(), {kIndex, "weight_map: expected an object"},
           [value](Json& index) { index["weight_map"] = value; });
}

void addFiles(std::vector<BadCase>& cases) {
  const auto text = [&](const char* name, const std::string& content, const char* expected) {
    cases.push_back({std::string("index: ") + name,
                     {kIndex, expected},
                     [content](ModelFiles& files) { files[kIndex] = content; },
                     true});
  };
  text("empty", "", "the file is empty");
  text("not JSON", "weight_map", "expected JSON");
  text("an array", "[]", "expected a JSON object");
  text("deep", std::string(100'000, '['), "nested more than");
  text("a key twice", R"({"weight_map": {"a": "x", "a": "y"}})", "\"a\" appears twice");
  const auto shard = [&](const char* name, const std::function<void(std::string&)>& damage,
                         const char* expected) {
    cases.push_back({std::string("shard: ") + name,
                     {".safetensors: ", expected},
                     [damage](ModelFiles& files) {
                       for (auto& [file, bytes] : files)
                         if (file.starts_with("model-00002")) damage(bytes);
                     },
                     true});
  };
  shard(
      "empty", [](std::string& bytes) { bytes.clear(); }, "the file is empty");
  shard(
      "half of it", [](std::string& bytes) { bytes.resize(bytes.size() / 2); }, "expected");
  shard(
      "one byte less", [](std::string& bytes) { bytes.pop_back(); }, "expected");
  shard(
      "one byte more", [](std::string& bytes) { bytes += 'x'; }, "expected");
  shard(
      "a length of 2^60",
      [](std::string& bytes) { bytes.replace(0, 8, std::string("\0\0\0\0\0\0\0\x10", 8)); }, "header length");
  cases.push_back({"shard: missing",
                   {kIndex, "expected shard model-00002"},
                   [](ModelFiles& files) {
                     std::erase_if(files,
                                   [](const auto& file) { return file.first.starts_with("model-00002"); });
                   },
                   true});
  cases.push_back({"shard: a tensor in two of them",
                   {kTensor, "expected it once"},
                   [](ModelFiles& files) {
                     for (auto& [file, bytes] : files) {
                       if (!file.starts_with("model-00002")) continue;
                       RawSafetensors raw = RawSafetensors::parse(bytes);
                       addTensor(raw, kTensor, "BF16", {32, 16}, std::string(1024, '\0'));
                       bytes = raw.bytes();
                     }
                   },
                   true});
}

}  // namespace

std::vector<BadCase> badIndexCases() {
  std::vector<BadCase> cases;
  addNames(cases);
  addMaps(cases);
  addFiles(cases);
  return cases;
}

std::vector<BadCase> badCases() {
  std::vector<BadCase> cases = badConfigCases();
  for (auto& list : {badTensorCases(), badIndexCases()}) cases.insert(cases.end(), list.begin(), list.end());
  return cases;
}

}  // namespace eyrie::engine::test
