// Model folders as bytes that a test may bend: small models made once, edited, written out.
#pragma once

#include <QtCore/QString>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "engine/config.h"

namespace eyrie::engine::test {

// File name → content of one model folder.
using ModelFiles = std::map<std::string, std::string>;

std::string readBytes(const std::filesystem::path& file);
void writeBytes(const std::filesystem::path& file, const std::string& bytes);
ModelFiles readFolder(const std::filesystem::path& folder);
void writeFolder(const std::filesystem::path& folder, const ModelFiles& files);

// A Griffin of three layers (R, R, A) and about 10,000 parameters; R is not D, gate blocks are not heads.
ModelConfig smallConfig();
// Its files, in one shard or in three with an index.
ModelFiles smallModel(bool sharded = false);

// A safetensors file taken apart without any check, and put together again.
struct RawSafetensors {
  nlohmann::ordered_json header;
  std::string data;
  static RawSafetensors parse(const std::string& bytes);
  std::string bytes() const;
};

// Edits config.json, the header of a safetensors file, or the index.
void editConfig(ModelFiles& files, const std::function<void(nlohmann::ordered_json&)>& edit);
void editTensors(ModelFiles& files, const std::function<void(RawSafetensors&)>& edit,
                 const std::string& file = "model.safetensors");
void editIndex(ModelFiles& files, const std::function<void(nlohmann::ordered_json&)>& edit);
// Adds a tensor at the end of the data.
void addTensor(RawSafetensors& raw, const std::string& name, const std::string& dtype,
               const std::vector<std::int64_t>& shape, const std::string& bytes);
// Takes a tensor and its bytes out, moving those behind it up.
void removeTensor(RawSafetensors& raw, const std::string& name);
std::string tensorBytes(const RawSafetensors& raw, const std::string& name);

// The message of the Error that `action` throws; "" when it throws nothing, "not an Error: …" when it throws
// something else.
std::string errorOf(const std::function<void()>& action);

}  // namespace eyrie::engine::test
