// The arrays and the metadata of a trace file, NPZ or safetensors, whoever wrote it: nothing in it is
// trusted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace eyrie::app {

struct TraceFileArray {
  std::vector<std::int64_t> shape;
  std::vector<float> values;  // f32, or i32 and f16 widened
};

struct TraceArraysFile {  // NOLINT(bugprone-exception-escape): json has a move that could throw
  std::map<std::string, TraceFileArray> arrays;
  nlohmann::json metadata;  // an object
  std::vector<std::string> tokenStrings;
};

// Throws Error(badFile) naming the array, what was expected and what was found; Error(notFound).
TraceArraysFile readTraceArrays(const std::filesystem::path& file);

}  // namespace eyrie::app
