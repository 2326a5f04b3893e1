#include <utility>

#include "tests/engine/bad_input_cases.h"

namespace eyrie::engine::test {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFile = "model.safetensors";
constexpr const char* kSome[] = {"model.embed_tokens.weight", "model.layers.0.temporal_block.conv_1d.weight",
                                 "model.layers.1.temporal_block.rg_lru.recurrent_param",
                                 "model.layers.2.temporal_block.q_proj.weight", "model.final_norm.weight"};

// A damage to one tensor's entry; the message names the file and the tensor.
void entry(std::vector<BadCase>& cases, const std::string& name, const std::string& expected,
           const std::function<void(Json&)>& edit) {
  for (const char* tensor : kSome)
    cases.push_back({"tensor: " + name + " in " + tensor, {kFile, tensor, expected}, [=](ModelFiles& files) {
                       editTensors(files, [&](RawSafetensors& raw) { edit(raw.header[tensor]); });
                     }});
}

void addEntries(std::vector<BadCase>& cases) {
  entry(cases, "no dtype", "\"dtype\" is missing", [](Json& e) { e.erase("dtype"); });
  entry(cases, "no shape", "\"shape\" is missing", [](Json& e) { e.erase("shape"); });
  entry(cases, "no offsets", "\"data_offsets\" is missing", [](Json& e) { e.erase("data_offsets"); });
  entry(cases, "not an object", "expected an object", [](Json& e) { e = "weights"; });
  entry(cases, "unknown dtype", "dtype: expected", [](Json& e) { e["dtype"] = "Q4_0"; });
  entry(cases, "dtype of another size", "data_offsets: expected", [](Json& e) { e["dtype"] = "F32"; });
  entry(cases, "dtype that is no weight", "expected dtype F32, F16 or BF16, found I16",
        [](Json& e) { e["dtype"] = "I16"; });
  entry(cases, "a huge shape", "data_offsets: expected",
        [](Json& e) { e["shape"] = {std::int64_t{1} << 40}; });
  entry(cases, "a shape that overflows", "more than 2^64", [](Json& e) {
    e["shape"] = {std::int64_t{1} << 62, std::int64_t{1} << 62};
  });
  entry(cases, "a negative shape", "shape: expected", [](Json& e) { e["shape"][0] = -16; });
  entry(cases, "a fractional shape", "shape: expected", [](Json& e) { e["shape"][0] = 0.5; });
  entry(cases, "an extra dimension", "expected shape", [](Json& e) { e["shape"].push_back(1); });
  entry(cases, "offsets past the end", "data_offsets",
        [](Json& e) { e["data_offsets"][1] = std::int64_t{1} << 60; });
  entry(cases, "offsets reversed", "data_offsets",
        [](Json& e) { std::swap(e["data_offsets"][0], e["data_offsets"][1]); });
  entry(cases, "a negative offset", "data_offsets", [](Json& e) { e["data_offsets"][0] = -8; });
}

void addMissing(std::vector<BadCase>& cases) {
  for (const char* tensor : kSome) {
    cases.push_back(
        {std::string("tensor: missing ") + tensor, {tensor, "found no such tensor"}, [=](ModelFiles& files) {
           editTensors(files, [&](RawSafetensors& raw) { removeTensor(raw, tensor); });
         }});
    cases.push_back(
        {std::string("tensor: renamed ") + tensor, {tensor, "found no such tensor"}, [=](ModelFiles& files) {
           editTensors(files, [&](RawSafetensors& raw) {
             raw.header[std::string(tensor) + "_old"] = raw.header[tensor];
             raw.header.erase(tensor);
           });
         }});
  }
  for (const char* extra :
       {"model.layers.3.temporal_pre_norm.weight", "model.layers.0.temporal_block.q_proj.weight",
        "lm_head.bias", "optimizer.step", "model.layers.0.mlp_block.gate_proj.weight_scale"})
    cases.push_back({std::string("tensor: superfluous ") + extra,
                     {kFile, extra, "expected only"},
                     [=](ModelFiles& files) {
                       editTensors(files,
                                   [&](RawSafetensors& raw) { addTensor(raw, extra, "BF16", {1}, "xx"); });
                     }});
  cases.push_back({"tensor: head of another shape",
                   {kFile, "lm_head.weight", "expected shape [32, 16]"},
                   [](ModelFiles& files) {
                     editTensors(files, [](RawSafetensors& raw) {
                       addTensor(raw, "lm_head.weight", "BF16", {16, 32}, std::string(1024, '\0'));
                     });
                   }});
  cases.push_back({"tensor: a transposed linear",
                   {kFile, "mlp_block.up_proj.weight", "expected shape [20, 16]", "found [16, 20]"},
                   [](ModelFiles& files) {
                     editTensors(files, [](RawSafetensors& raw) {
                       raw.header["model.layers.1.mlp_block.up_proj.weight"]["shape"] = {16, 20};
                     });
                   }});
}

// The first eight bytes say how long the header is.
void addLengths(std::vector<BadCase>& cases) {
  const std::pair<const char*, std::string> lengths[] = {{"0", std::string(8, '\0')},
                                                         {"1", std::string("\1\0\0\0\0\0\0\0", 8)},
                                                         {"100", std::string("\x64\0\0\0\0\0\0\0", 8)},
                                                         {"2^24", std::string("\0\0\0\1\0\0\0\0", 8)},
                                                         {"2^32", std::string("\0\0\0\0\1\0\0\0", 8)},
                                                         {"2^60", std::string("\0\0\0\0\0\0\0\x10", 8)},
                                                         {"2^63", std::string("\0\0\0\0\0\0\0\x80", 8)},
                                                         {"2^64-1", std::string(8, '\xff')}};
  for (const auto& [name, bytes] : lengths)
    cases.push_back({std::string("header: length ") + name,
                     {kFile, "expected"},
                     [bytes = bytes](ModelFiles& files) { files[kFile].replace(0, 8, bytes); }});
}

void addWhole(std::vector<BadCase>& cases) {
  const auto content = [&](const char* name, const std::string& bytes, const char* expected) {
    cases.push_back({std::string("file: ") + name, {kFile, expected}, [bytes](ModelFiles& files) {
                       files[kFile] = bytes;
                     }});
  };
  content("empty", "", "the file is empty");
  content("three bytes", "abc", "at least 8 bytes, found 3");
  content("text", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 5000000000\n",
          "header length");
  content("a pickle", std::string("PK\3\4\0\0\0\0\0\0data.pkl", 18), "header length");
  content("zeros", std::string(4096, '\0'), "header length");
  cases.push_back(
      {"file: one byte more", {kFile, "end with the file"}, [](ModelFiles& files) { files[kFile] += 'x'; }});
  cases.push_back(
      {"file: one byte less", {kFile, "data_offsets"}, [](ModelFiles& files) { files[kFile].pop_back(); }});
  for (const std::size_t part : {1U, 5U, 20U, 50U, 80U, 99U})
    cases.push_back({std::string("file: cut to ") + std::to_string(part) + " %",
                     {kFile, "expected", "found"},
                     [part](ModelFiles& files) { files[kFile].resize(files[kFile].size() * part / 100); }});
  cases.push_back({"file: none",
                   {"expected model.safetensors, model.safetensors.index.json or a single other"},
                   [](ModelFiles& files) { files.erase(kFile); }});
  cases.push_back(
      {"header: metadata that is no text", {kFile, "__metadata__: format"}, [](ModelFiles& files) {
         editTensors(files, [](RawSafetensors& raw) { raw.header["__metadata__"]["format"] = 3; });
       }});
  cases.push_back({"header: two tensors on the same bytes",
                   {kFile, "data_offsets: expected to begin at"},
                   [](ModelFiles& files) {
                     editTensors(files, [](RawSafetensors& raw) {
                       raw.header["model.layers.0.temporal_pre_norm.weight"]["data_offsets"] =
                           raw.header["model.layers.1.temporal_pre_norm.weight"]["data_offsets"];
                     });
                   }});
  cases.push_back({"header: an empty object", {"num_hidden_layers", "only 0 tensors"}, [](ModelFiles& files) {
                     files[kFile] = std::string("\2\0\0\0\0\0\0\0{}", 10);
                   }});
}

}  // namespace

std::vector<BadCase> badTensorCases() {
  std::vector<BadCase> cases;
  addEntries(cases);
  addMissing(cases);
  addLengths(cases);
  addWhole(cases);
  return cases;
}

}  // namespace eyrie::engine::test
