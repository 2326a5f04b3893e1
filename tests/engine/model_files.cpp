#include "tests/engine/model_files.h"

#include <QtCore/QTemporaryDir>
#include <fstream>
#include <iterator>

#include "engine/error.h"
#include "engine/make_model.h"

namespace eyrie::engine::test {
namespace {

namespace fs = std::filesystem;

ModelFiles make(std::uint64_t shardBytes) {
  const QTemporaryDir folder;
  const fs::path path = fs::path(folder.path().toStdString()) / "model";
  MakeModelOptions options;
  options.threads = 1;
  options.shardBytes = shardBytes;
  makeModel(smallConfig(), path, options);
  return readFolder(path);
}

}  // namespace

std::string readBytes(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void writeBytes(const fs::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary) << bytes;
}

ModelFiles readFolder(const fs::path& folder) {
  ModelFiles files;
  for (const auto& entry : fs::directory_iterator(folder))
    files[entry.path().filename().string()] = readBytes(entry);
  return files;
}

void writeFolder(const fs::path& folder, const ModelFiles& files) {
  fs::create_directories(folder);
  for (const auto& [name, bytes] : files) writeBytes(folder / name, bytes);
}

ModelConfig smallConfig() {
  ModelConfig config;
  config.D = 16;
  config.R = 24;
  config.E = 20;
  config.L = 3;
  config.H = 2;
  config.Dh = 8;
  config.rotary = 4;
  config.V = 32;
  config.W = 8;
  config.gateBlocks = 3;
  config.blocks = {BlockKind::recurrent, BlockKind::recurrent, BlockKind::localAttention};
  return config;
}

ModelFiles smallModel(bool sharded) {
  static const ModelFiles single = make(1U << 30U);
  static const ModelFiles split = make(6000);
  return sharded ? split : single;
}

RawSafetensors RawSafetensors::parse(const std::string& bytes) {
  std::uint64_t length = 0;
  for (int i = 7; i >= 0; --i)
    length = length << 8U | static_cast<unsigned char>(bytes[static_cast<std::size_t>(i)]);
  return {nlohmann::ordered_json::parse(bytes.substr(8, length)), bytes.substr(8 + length)};
}

std::string RawSafetensors::bytes() const {
  const std::string text = header.dump();
  std::string out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>(text.size() >> (8 * i));
  return out + text + data;
}

void editConfig(ModelFiles& files, const std::function<void(nlohmann::ordered_json&)>& edit) {
  auto json = nlohmann::ordered_json::parse(files.at("config.json"));
  edit(json);
  files["config.json"] = json.dump();
}

void editTensors(ModelFiles& files, const std::function<void(RawSafetensors&)>& edit,
                 const std::string& file) {
  RawSafetensors raw = RawSafetensors::parse(files.at(file));
  edit(raw);
  files[file] = raw.bytes();
}

void editIndex(ModelFiles& files, const std::function<void(nlohmann::ordered_json&)>& edit) {
  auto json = nlohmann::ordered_json::parse(files.at("model.safetensors.index.json"));
  edit(json);
  files["model.safetensors.index.json"] = json.dump();
}

void addTensor(RawSafetensors& raw, const std::string& name, const std::string& dtype,
               const std::vector<std::int64_t>& shape, const std::string& bytes) {
  raw.header[name] = {{"dtype", dtype},
                      {"shape", shape},
                      {"data_offsets", {raw.data.size(), raw.data.size() + bytes.size()}}};
  raw.data += bytes;
}

std::string tensorBytes(const RawSafetensors& raw, const std::string& name) {
  const auto& offsets = raw.header.at(name).at("data_offsets");
  const auto begin = offsets[0].get<std::size_t>();
  return raw.data.substr(begin, offsets[1].get<std::size_t>() - begin);
}

void removeTensor(RawSafetensors& raw, const std::string& name) {
  const auto begin = raw.header.at(name).at("data_offsets")[0].get<std::size_t>();
  const std::size_t size = tensorBytes(raw, name).size();
  raw.header.erase(name);
  raw.data.erase(begin, size);
  for (auto& [other, entry] : raw.header.items()) {
    if (other == "__metadata__" || entry["data_offsets"][0].get<std::size_t>() < begin) continue;
    for (auto& offset : entry["data_offsets"]) offset = offset.get<std::size_t>() - size;
  }
}

std::string errorOf(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("not an Error: ") + error.what();
  } catch (...) {
    return "not an Error: unknown";
  }
  return {};
}

}  // namespace eyrie::engine::test
