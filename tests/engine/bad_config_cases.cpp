#include "tests/engine/bad_input_cases.h"

namespace eyrie::engine::test {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kRequired[] = {"hidden_size", "intermediate_size", "num_hidden_layers",
                                     "num_attention_heads", "vocab_size"};
constexpr const char* kSizes[] = {
    "hidden_size", "intermediate_size",   "num_hidden_layers", "num_attention_heads",   "vocab_size",
    "lru_width",   "num_key_value_heads", "head_dim",          "attention_window_size", "conv1d_width"};

void add(std::vector<BadCase>& cases, const std::string& name, const std::string& named,
         const std::function<void(Json&)>& edit) {
  cases.push_back({"config: " + name, {"config.json", named, "expected", "found"}, [edit](ModelFiles& files) {
                     editConfig(files, edit);
                   }});
}

void set(std::vector<BadCase>& cases, const std::string& key, const Json& value,
         const std::string& named = "") {
  add(cases, key + " = " + value.dump(), named.empty() ? key : named,
      [=](Json& config) { config[key] = value; });
}

void addSizes(std::vector<BadCase>& cases) {
  for (const char* key : kSizes)
    for (const Json& value :
         {Json(0), Json(-1), Json((std::int64_t{1} << 30) + 1), Json(1.5), Json(16.0), Json(true), Json("16"),
          Json(Json::array({16})), Json(Json::object()), Json(1e300), Json(UINT64_MAX), Json(INT64_MIN)})
      set(cases, key, value);
  for (const char* key : kRequired) {
    cases.push_back(
        {std::string("config: without ") + key,
         {"config.json", key, "the key is missing"},
         [key](ModelFiles& files) { editConfig(files, [key](Json& config) { config.erase(key); }); }});
    cases.push_back(
        {std::string("config: null ") + key,
         {"config.json", key, "the key is missing"},
         [key](ModelFiles& files) { editConfig(files, [key](Json& config) { config[key] = nullptr; }); }});
  }
}

void addWords(std::vector<BadCase>& cases) {
  for (const char* key : {"_block_types", "block_types", "layer_types"})
    for (const Json& value :
         {Json("recurrent"), Json::array(), Json::array({"mamba"}), Json::array({1}), Json(3)})
      cases.push_back({std::string("config: ") + key + " = " + value.dump(),
                       {"config.json", key, "expected", "found"},
                       [=](ModelFiles& files) {
                         editConfig(files, [&](Json& config) {
                           config.erase("_block_types");
                           config[key] = value;
                         });
                       }});
  set(cases, "hidden_activation", "tanhshrink");
  set(cases, "hidden_activation", 3);
  set(cases, "model_type", "llama");
  set(cases, "rope_parameters", 3);
  set(cases, "rope_parameters", {{"rope_type", "yarn"}}, "rope_parameters: rope_type");
  set(cases, "rope_scaling", {{"rope_type", "linear"}}, "rope_scaling: rope_type");
  set(cases, "rope_scaling", {{"type", "linear"}, {"factor", 2.0}}, "rope_scaling: type");
  set(cases, "rope_parameters", {{"rope_theta", "10000"}}, "rope_parameters: rope_theta");
  set(cases, "partial_rotary_factor", 1.5);
  set(cases, "partial_rotary_factor", -0.5);
  set(cases, "partial_rotary_factor", 0.4, "partial_rotary_factor");  // 3 of 8 dimensions
  set(cases, "rope_theta", 0);
  set(cases, "rope_theta", 1e300);
  set(cases, "rms_norm_eps", -1e-6);
  set(cases, "rms_norm_eps", "1e-6");
  set(cases, "logits_soft_cap", -30);
  set(cases, "logits_soft_cap", true);
  set(cases, "tie_word_embeddings", 1);
  set(cases, "embeddings_scale_by_sqrt_dim", "yes");
  set(cases, "attention_bias", true);
  set(cases, "attention_bias", "false");
  set(cases, "bos_token_id", -1);
  set(cases, "bos_token_id", 32);
  set(cases, "bos_token_id", 2.0);
  set(cases, "eos_token_id", "1");
  set(cases, "eos_token_id", Json::array({1, 99}));
  set(cases, "eos_token_id", Json::array({true}));
  set(cases, "pad_token_id", 1000);
  set(cases, "eyrie", 3);
  set(cases, "eyrie", {{"rg_lru", "quaternion"}}, "eyrie: rg_lru");
  set(cases, "eyrie", {{"rg_lru", true}}, "eyrie: rg_lru");
  set(cases, "eyrie", {{"window_counting", "both"}}, "eyrie: window_counting");
  set(cases, "eyrie", {{"windowcounting", "hf"}}, "eyrie: windowcounting");
}

// Values that are fine alone but not with the others or with the tensors.
void addContradictions(std::vector<BadCase>& cases) {
  set(cases, "intermediate_size", 41);
  set(cases, "num_key_value_heads", 3);
  add(cases, "head_dim missing where heads do not divide the width", "head_dim", [](Json& config) {
    config.erase("head_dim");
    config["num_attention_heads"] = 3;
  });
  const std::pair<const char*, int> sizes[] = {
      {"hidden_size", 32},        {"intermediate_size", 20},    {"lru_width", 48},
      {"num_attention_heads", 4}, {"vocab_size", 33},           {"conv1d_width", 5},
      {"head_dim", 16},           {"num_key_value_heads", 2},   {"num_hidden_layers", 4},
      {"num_hidden_layers", 2},   {"num_hidden_layers", 60'000}};
  for (const auto& [key, value] : sizes)
    cases.push_back({std::string("config: ") + key + " = " + std::to_string(value) + " against the tensors",
                     {value == 60'000 ? "num_hidden_layers" : "tensor model.", "expected", "found"},
                     [key = key, value = value](ModelFiles& files) {
                       editConfig(files, [&](Json& config) { config[key] = value; });
                     }});
  cases.push_back(
      {"config: lru_width that no gate block divides",
       {"input_gate_weight", "lru_width 25"},
       [](ModelFiles& files) { editConfig(files, [](Json& config) { config["lru_width"] = 25; }); }});
  cases.push_back({"config: complex against real tensors",
                   {"tensor model.layers.0.temporal_block.rg_lru.recurrent_param",
                    "expected shape [12] = [lru_width / 2]", "found [24]"},
                   [](ModelFiles& files) {
                     editConfig(files, [](Json& config) { config["eyrie"]["rg_lru"] = "complex"; });
                   }});
  cases.push_back({"config: complex with an odd lru_width",
                   {"config.json: lru_width", "expected an even number", "found 25"},
                   [](ModelFiles& files) {
                     editConfig(files, [](Json& config) {
                       config["lru_width"] = 25;
                       config["eyrie"]["rg_lru"] = "complex";
                     });
                   }});
  cases.push_back(
      {"config: another pattern than the tensors'",
       {"model.layers.0.temporal_block.q_proj.weight", "found no such tensor"},
       [](ModelFiles& files) {
         editConfig(files, [](Json& config) { config["_block_types"] = {"attention", "recurrent"}; });
       }});
}

std::string repeated(std::string_view part, std::size_t times) {
  std::string all;
  for (std::size_t i = 0; i < times; ++i) all += part;
  return all;
}

void addText(std::vector<BadCase>& cases) {
  const auto text = [&](const char* name, const std::string& content, const std::string& expected) {
    cases.push_back({std::string("config: ") + name, {"config.json", expected}, [content](ModelFiles& files) {
                       files["config.json"] = content;
                     }});
  };
  text("empty file", "", "the file is empty");
  text("not JSON", "hidden_size: 16", "expected JSON");
  text("an array", "[]", "expected a JSON object, found []");
  text("a number", "7", "expected a JSON object, found 7");
  text("zero bytes", std::string(64, '\0'), "expected JSON");
  text("invalid UTF-8", "{\"hidden_size\": \"\xff\xfe\"}", "expected JSON");
  text("the same key twice", R"({"hidden_size": 16, "hidden_size": 32})", "\"hidden_size\" appears twice");
  text("arrays a million deep", std::string(1'000'000, '['), "nested more than");
  text("objects a hundred deep", repeated("{\"a\":", 100), "nested more than");
  text("a flood of values", repeated("[", 1).append(repeated("0,", 300'000)), "at most 200000 JSON values");
  text("five megabytes", std::string(5U << 20U, ' ') + "{}", "expected at most 4194304 bytes");
  text("a number out of range", R"({"hidden_size": 1e999})", "out of range");
  text("trailing text", "{} {}", "expected JSON");
  for (const std::size_t part : {1U, 10U, 50U, 90U})
    cases.push_back({std::string("config: cut to ") + std::to_string(part) + " %",
                     {"config.json", "expected JSON"},
                     [part](ModelFiles& files) {
                       std::string& config = files["config.json"];
                       config.resize(config.size() * part / 100);
                     }});
  cases.push_back({"config: no file", {"config.json", "cannot be opened"}, [](ModelFiles& files) {
                     files.erase("config.json");
                   }});
}

}  // namespace

std::vector<BadCase> badConfigCases() {
  std::vector<BadCase> cases;
  addSizes(cases);
  addWords(cases);
  addContradictions(cases);
  addText(cases);
  return cases;
}

}  // namespace eyrie::engine::test
