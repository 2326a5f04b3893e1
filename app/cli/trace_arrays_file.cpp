#include "app/cli/trace_arrays_file.h"

#include <fmt/format.h>
#include <zip.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "engine/checkpoint/file_io.h"
#include "engine/checkpoint/safetensors.h"
#include "engine/checkpoint/strict_json.h"
#include "engine/error.h"
#include "kernels/dtype.h"

namespace eyrie::app {
namespace {

using engine::Error;
using engine::ErrorCode;

constexpr std::uint64_t kMostBytes = 4ULL << 30;  // of a whole file, unpacked
constexpr const char* kStringsName = "token_strings";
// A string for each token of a long text.
constexpr engine::JsonLimits kMetadataLimits = {.depth = 8, .values = std::size_t{1} << 26U};

[[noreturn]] void bad(const std::string& where, const std::string& what) {
  throw Error(ErrorCode::badFile, fmt::format("{}: {}", where, what));
}

float elementAt(const char* data, const std::string& type, std::size_t index) {
  if (type == "<f2") {
    std::uint16_t bits = 0;
    std::memcpy(&bits, data + index * 2, 2);
    return kernels::f16ToFloat(bits);
  }
  if (type == "<i4") {
    std::int32_t value = 0;
    std::memcpy(&value, data + index * 4, 4);
    return static_cast<float>(value);
  }
  float value = 0;
  std::memcpy(&value, data + index * 4, 4);
  return value;
}

// `bytes` holds exactly the elements of `shape`.
TraceFileArray widened(const std::string& where, const std::string& type, std::vector<std::int64_t> shape,
                       const char* data, std::uint64_t bytes) {
  if (type != "<f4" && type != "<f2" && type != "<i4") {
    bad(where, fmt::format("expected <f4, <f2 or <i4, found {}", type));
  }
  const std::uint64_t size = type == "<f2" ? 2 : 4;
  std::uint64_t count = 1;
  for (const auto extent : shape) {
    if (extent < 0 || (extent > 0 && count > kMostBytes / static_cast<std::uint64_t>(extent))) {
      bad(where, "expected a shape, found one that no memory holds");
    }
    count *= static_cast<std::uint64_t>(extent);
  }
  if (count * size != bytes) bad(where, fmt::format("expected {} bytes, found {}", count * size, bytes));
  TraceFileArray array;
  array.shape = std::move(shape);
  array.values.resize(count);
  for (std::size_t i = 0; i < count; ++i) array.values[i] = elementAt(data, type, i);
  return array;
}

// The value of `key` in a .npy header: what stands between `open` and `close` after it.
std::string headerField(const std::string& where, const std::string& header, const std::string& key,
                        char open, char close) {
  const auto at = header.find("'" + key + "'");
  const auto begin = at == header.npos ? at : header.find(open, at + key.size() + 2);
  const auto end = begin == header.npos ? begin : header.find(close, begin + 1);
  if (end == header.npos) bad(where, fmt::format("expected {} in the array's header, found none", key));
  return header.substr(begin + 1, end - begin - 1);
}

TraceFileArray parseArray(const std::string& where, const std::string& bytes) {
  constexpr std::size_t kPrefix = 10;
  if (bytes.size() < kPrefix || bytes.compare(0, 8, std::string("\x93NUMPY\x01\x00", 8)) != 0) {
    bad(where, "expected a NumPy array of format 1.0, found something else");
  }
  const std::size_t length =
      static_cast<unsigned char>(bytes[8]) + 256U * static_cast<unsigned char>(bytes[9]);
  if (kPrefix + length > bytes.size()) bad(where, "expected an array, found it cut off");
  const std::string header = bytes.substr(kPrefix, length);
  if (header.find("'fortran_order': False") == header.npos) bad(where, "expected C order, found another");
  const std::string type = headerField(where, header, "descr", '\'', '\'');
  std::vector<std::int64_t> shape;
  const std::string list = headerField(where, header, "shape", '(', ')');
  const char* at = list.c_str();
  while (*at != '\0') {
    char* next = nullptr;
    const long long extent = std::strtoll(at, &next, 10);
    if (next == at) break;
    shape.push_back(extent);
    at = next;
    while (*at == ',' || *at == ' ') ++at;
  }
  const std::size_t begin = kPrefix + length;
  return widened(where, type, std::move(shape), bytes.data() + begin, bytes.size() - begin);
}

void setMetadata(TraceArraysFile& file, const std::string& where, nlohmann::json metadata) {
  if (!metadata.is_object() || !metadata.contains("format") || metadata["format"] != "eyrie-trace") {
    bad(where, "expected a trace written by Eyrie, found another file");
  }
  if (metadata.contains(kStringsName) && metadata[kStringsName].is_array()) {
    for (const auto& text : metadata[kStringsName]) {
      file.tokenStrings.push_back(text.is_string() ? text.get<std::string>() : std::string());
    }
    metadata.erase(kStringsName);
  }
  file.metadata = std::move(metadata);
}

std::string readEntry(zip_t* archive, zip_uint64_t index, const std::string& where, std::uint64_t& budget) {
  zip_stat_t status = {};
  if (zip_stat_index(archive, index, 0, &status) != 0) bad(where, "expected an entry, found none");
  if (status.size > budget) bad(where, fmt::format("expected at most {} bytes, found more", kMostBytes));
  budget -= status.size;
  const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> entry(zip_fopen_index(archive, index, 0),
                                                                zip_fclose);
  std::string bytes(status.size, '\0');
  const auto read = entry ? zip_fread(entry.get(), bytes.data(), bytes.size()) : -1;
  if (read != static_cast<zip_int64_t>(bytes.size())) bad(where, "expected an entry, found it damaged");
  // libzip compares the checksum when it reads past the end.
  char none = 0;
  if (zip_fread(entry.get(), &none, 1) != 0) bad(where, "expected an entry, found it damaged");
  return bytes;
}

TraceArraysFile readNpz(const std::filesystem::path& path) {
  int code = 0;
  const std::unique_ptr<zip_t, void (*)(zip_t*)> archive(zip_open(path.c_str(), ZIP_RDONLY, &code),
                                                         zip_discard);
  if (!archive) bad(path.string(), "expected an NPZ file, found something else or half of one");
  TraceArraysFile file;
  std::uint64_t budget = kMostBytes;
  nlohmann::json metadata;
  const auto entries = static_cast<zip_uint64_t>(zip_get_num_entries(archive.get(), 0));
  for (zip_uint64_t i = 0; i < entries; ++i) {
    const char* rawName = zip_get_name(archive.get(), i, 0);
    const std::string name = rawName != nullptr ? rawName : "";
    const std::string where = path.string() + ": " + name;
    const std::string bytes = readEntry(archive.get(), i, where, budget);
    if (name == "meta.json") metadata = engine::parseStrictJson(bytes, where, kMetadataLimits);
    if (name.ends_with(".npy")) file.arrays[name.substr(0, name.size() - 4)] = parseArray(where, bytes);
  }
  setMetadata(file, path.string(), std::move(metadata));
  return file;
}

// Values that were no strings are kept as JSON text.
nlohmann::json metadataValue(const std::string& text, const std::string& where) {
  try {
    nlohmann::json value = engine::parseStrictJson(text, where, kMetadataLimits);
    return value.is_string() ? nlohmann::json(text) : std::move(value);
  } catch (const Error&) {
    return text;  // no JSON: it was a string
  }
}

TraceArraysFile readSafetensors(const std::filesystem::path& path) {
  const engine::MappedFile mapped(path);
  const auto parsed = engine::parseSafetensors(mapped.bytes(), mapped.bytes().size(), path.string());
  TraceArraysFile file;
  nlohmann::json metadata = nlohmann::json::object();
  for (const auto& [key, text] : parsed.metadata) metadata[key] = metadataValue(text, path.string());
  metadata.erase(kStringsName);
  for (const auto& tensor : parsed.tensors) {
    const auto* data = static_cast<const char*>(tensor.data);
    const std::string where = path.string() + ": " + tensor.name;
    if (tensor.name == kStringsName) {
      nlohmann::json strings = nlohmann::json::array();
      std::string text;
      for (std::uint64_t i = 0; i <= tensor.bytes; ++i) {
        if (i < tensor.bytes && data[i] != '\0') {
          text += data[i];
        } else {
          strings.push_back(std::move(text));
          text.clear();
        }
      }
      metadata[kStringsName] = std::move(strings);
      continue;
    }
    const std::string type = tensor.dtype == "F32"   ? "<f4"
                             : tensor.dtype == "F16" ? "<f2"
                             : tensor.dtype == "I32" ? "<i4"
                                                     : tensor.dtype;
    file.arrays[tensor.name] = widened(where, type, tensor.shape, data, tensor.bytes);
  }
  setMetadata(file, path.string(), std::move(metadata));
  return file;
}

}  // namespace

TraceArraysFile readTraceArrays(const std::filesystem::path& file) {
  std::error_code failed;
  const auto status = std::filesystem::status(file, failed);
  if (!std::filesystem::exists(status))
    throw Error(ErrorCode::notFound, fmt::format("{}: no such file", file.string()));
  if (!std::filesystem::is_regular_file(status)) {
    bad(file.string(), fmt::format("expected a file, found a {}",
                                   std::filesystem::is_directory(status) ? "folder" : "device or pipe"));
  }
  std::string ending = file.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
  if (ending == ".npz") return readNpz(file);
  if (ending == ".safetensors") return readSafetensors(file);
  throw Error(
      ErrorCode::badArgument,
      fmt::format("{}: expected a trace as .npz or .safetensors (CSV and JSON Lines hold no channels)",
                  file.string()));
}

}  // namespace eyrie::app
