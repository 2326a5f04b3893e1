// The list of damages for bad_input_test.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/engine/model_files.h"

namespace eyrie::engine::test {

struct BadCase {
  std::string name;
  std::vector<std::string> named;  // what the message must contain
  std::function<void(ModelFiles&)> damage;
  bool sharded = false;
};

std::vector<BadCase> badConfigCases();  // config.json
std::vector<BadCase> badTensorCases();  // model.safetensors
std::vector<BadCase> badIndexCases();   // the index and its shards
std::vector<BadCase> badCases();        // all of them

}  // namespace eyrie::engine::test
