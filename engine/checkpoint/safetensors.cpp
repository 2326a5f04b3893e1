#include "engine/checkpoint/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>

#include "engine/checkpoint/strict_json.h"
#include "engine/error.h"

namespace eyrie::engine {
namespace {

using nlohmann::json;

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the reference implementation
constexpr std::size_t kMaxRank = 8;
constexpr std::size_t kDataAlignment = 64;

// clang-format off
constexpr std::array<std::pair<std::string_view, std::size_t>, 16> kDTypes = {{
    {"BOOL", 1}, {"U8", 1}, {"I8", 1}, {"F8_E5M2", 1}, {"F8_E4M3", 1}, {"F8_E8M0", 1},
    {"I16", 2}, {"U16", 2}, {"F16", 2}, {"BF16", 2},
    {"I32", 4}, {"U32", 4}, {"F32", 4},
    {"I64", 8}, {"U64", 8}, {"F64", 8}}};
// clang-format on

[[noreturn]] void fail(const std::string& file, const std::string& what) {
  throw Error(ErrorCode::badFile, fmt::format("{}: {}", file, what));
}

// Where the header ends, after checking that it can.
std::uint64_t headerEnd(std::span<const std::byte> bytes, std::uint64_t fileSize, const std::string& file) {
  if (fileSize < kLengthBytes || bytes.size() < kLengthBytes)
    fail(file, fmt::format("safetensors header: expected at least {} bytes, found {}", kLengthBytes,
                           std::min<std::uint64_t>(fileSize, bytes.size())));
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i)
    length |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  if (length > kMaxHeaderBytes)
    fail(file,
         fmt::format("safetensors header length: expected at most {}, found {}", kMaxHeaderBytes, length));
  if (length < 2 || length > fileSize - kLengthBytes || length > bytes.size() - kLengthBytes)
    fail(file, fmt::format("safetensors header length: expected 2 to {} (the file has {} bytes), found {}",
                           fileSize - kLengthBytes, fileSize, length));
  return kLengthBytes + length;
}

// A whole number of at least 0, from JSON.
std::uint64_t wholeNumber(const json& value, const std::string& file, const std::string& what) {
  if (!value.is_number_integer() || (!value.is_number_unsigned() && value.get<std::int64_t>() < 0))
    fail(file, fmt::format("{}: expected a whole number, found {}", what, jsonExcerpt(value)));
  return value.get<std::uint64_t>();
}

const json& field(const json& entry, const char* key, const std::string& file, const std::string& what) {
  const auto found = entry.find(key);
  if (found == entry.end()) fail(file, fmt::format("{}: \"{}\" is missing", what, key));
  return *found;
}

std::vector<std::int64_t> parseShape(const json& value, const std::string& file, const std::string& what) {
  if (!value.is_array() || value.size() > kMaxRank)
    fail(file, fmt::format("{}: shape: expected an array of at most {} numbers, found {}", what, kMaxRank,
                           jsonExcerpt(value)));
  std::vector<std::int64_t> shape;
  for (const json& dim : value) {
    const std::uint64_t size = wholeNumber(dim, file, what + ": shape");
    if (size > std::uint64_t{std::numeric_limits<std::int64_t>::max()})
      fail(file, fmt::format("{}: shape: expected less than 2^63, found {}", what, size));
    shape.push_back(static_cast<std::int64_t>(size));
  }
  return shape;
}

// Bytes of shape × element, nothing on overflow.
std::optional<std::uint64_t> byteCount(const std::vector<std::int64_t>& shape, std::size_t elementSize) {
  std::uint64_t count = elementSize;
  for (const std::int64_t dim : shape)
    if (__builtin_mul_overflow(count, static_cast<std::uint64_t>(dim), &count)) return std::nullopt;
  return count;
}

SafetensorsTensor parseEntry(const std::string& name, const json& entry, std::uint64_t dataStart,
                             std::uint64_t fileSize, const std::string& file) {
  const std::string what = fmt::format("tensor {}", printable(name));
  if (!entry.is_object())
    fail(file, fmt::format("{}: expected an object, found {}", what, jsonExcerpt(entry)));
  SafetensorsTensor tensor;
  tensor.name = name;
  const json& dtype = field(entry, "dtype", file, what);
  const std::size_t elementSize =
      dtype.is_string() ? safetensorsElementSize(dtype.get_ref<const std::string&>()) : 0;
  if (elementSize == 0)
    fail(file,
         fmt::format("{}: dtype: expected one of safetensors' dtypes, found {}", what, jsonExcerpt(dtype)));
  tensor.dtype = dtype.get<std::string>();
  tensor.shape = parseShape(field(entry, "shape", file, what), file, what);

  const json& offsets = field(entry, "data_offsets", file, what);
  if (!offsets.is_array() || offsets.size() != 2)
    fail(file, fmt::format("{}: data_offsets: expected [begin, end], found {}", what, jsonExcerpt(offsets)));
  const std::uint64_t begin = wholeNumber(offsets[0], file, what + ": data_offsets");
  const std::uint64_t end = wholeNumber(offsets[1], file, what + ": data_offsets");
  const std::uint64_t dataBytes = fileSize - dataStart;
  if (begin > end || end > dataBytes)
    fail(file, fmt::format("{}: data_offsets: expected begin <= end <= {}, found [{}, {}]", what, dataBytes,
                           begin, end));
  const auto needed = byteCount(tensor.shape, elementSize);
  if (!needed || *needed != end - begin)
    fail(file, fmt::format("{}: data_offsets: expected {} bytes for {} [{}], found {}", what,
                           needed ? std::to_string(*needed) : "more than 2^64", tensor.dtype,
                           fmt::join(tensor.shape, ", "), end - begin));
  if (entry.size() != 3)
    fail(file, fmt::format("{}: expected dtype, shape and data_offsets, found {} keys", what, entry.size()));
  tensor.begin = dataStart + begin;
  tensor.bytes = end - begin;
  return tensor;
}

std::map<std::string, std::string> parseMetadata(const json& value, const std::string& file) {
  if (!value.is_object())
    fail(file, fmt::format("__metadata__: expected an object, found {}", jsonExcerpt(value)));
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string())
      fail(file, fmt::format("__metadata__: {}: expected text, found {}", printable(key), jsonExcerpt(text)));
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

// No byte unclaimed, none claimed twice.
void checkCoverage(const std::vector<SafetensorsTensor>& tensors, std::uint64_t dataStart,
                   std::uint64_t fileSize, const std::string& file) {
  std::uint64_t next = dataStart;
  for (const SafetensorsTensor& tensor : tensors) {
    if (tensor.begin != next)
      fail(file, fmt::format("tensor {}: data_offsets: expected to begin at {}, found {} ({})",
                             printable(tensor.name), next - dataStart, tensor.begin - dataStart,
                             tensor.begin < next ? "overlaps another tensor" : "leaves a hole"));
    next = tensor.begin + tensor.bytes;
  }
  if (next != fileSize)
    fail(file, fmt::format("data_offsets: expected tensors to end with the file at {}, found their end at {}",
                           fileSize, next));
}

}  // namespace

std::size_t safetensorsElementSize(std::string_view dtype) {
  for (const auto& [name, size] : kDTypes)
    if (name == dtype) return size;
  return 0;
}

std::optional<kernels::DType> kernelDType(std::string_view dtype) {
  if (dtype == "F32") return kernels::DType::f32;
  if (dtype == "F16") return kernels::DType::f16;
  if (dtype == "BF16") return kernels::DType::bf16;
  return std::nullopt;
}

SafetensorsFile parseSafetensors(std::span<const std::byte> bytes, std::uint64_t fileSize,
                                 const std::string& file) {
  const std::uint64_t dataStart = headerEnd(bytes, fileSize, file);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes,
                              dataStart - kLengthBytes);
  const json header = parseStrictJson(text, file, {.depth = 4, .values = 4'000'000});
  if (!header.is_object())
    fail(file, fmt::format("safetensors header: expected a JSON object, found {}", jsonExcerpt(header)));
  SafetensorsFile parsed;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__")
      parsed.metadata = parseMetadata(entry, file);
    else
      parsed.tensors.push_back(parseEntry(name, entry, dataStart, fileSize, file));
  }
  std::stable_sort(parsed.tensors.begin(), parsed.tensors.end(), [](const auto& a, const auto& b) {
    return std::pair(a.begin, a.bytes) < std::pair(b.begin, b.bytes);
  });
  checkCoverage(parsed.tensors, dataStart, fileSize, file);
  for (SafetensorsTensor& tensor : parsed.tensors)
    if (tensor.begin + tensor.bytes <= bytes.size()) tensor.data = bytes.data() + tensor.begin;
  return parsed;
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     const std::vector<SafetensorsTensor>& tensors,
                                     const std::map<std::string, std::string>& metadata)
    : file_(path) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t end = 0;
  for (const SafetensorsTensor& tensor : tensors) {
    const auto bytes = byteCount(tensor.shape, safetensorsElementSize(tensor.dtype));
    if (!bytes || *bytes != tensor.bytes || header.contains(tensor.name))
      throw Error(ErrorCode::badArgument, fmt::format("{}: tensor {}: dtype, shape and bytes do not agree",
                                                      path.string(), tensor.name));
    header[tensor.name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {end, end + tensor.bytes}}};
    end += tensor.bytes;
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.append((kDataAlignment - (kLengthBytes + text.size()) % kDataAlignment) % kDataAlignment, ' ');
  std::array<unsigned char, kLengthBytes> length{};
  for (std::size_t i = 0; i < kLengthBytes; ++i)
    length[i] = static_cast<unsigned char>(text.size() >> (8 * i));
  file_.write(length.data(), length.size());
  file_.write(text.data(), text.size());
  expected_ = file_.written() + end;
}

void SafetensorsWriter::write(const void* data, std::size_t bytes) {
  file_.write(data, bytes);
}

void SafetensorsWriter::finish() {
  if (file_.written() != expected_)
    throw Error(ErrorCode::badArgument, fmt::format("safetensors: expected {} bytes to be written, found {}",
                                                    expected_, file_.written()));
  file_.commit();
}

void writeSafetensors(const std::filesystem::path& path, const std::vector<SafetensorsTensor>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  SafetensorsWriter writer(path, tensors, metadata);
  for (const SafetensorsTensor& tensor : tensors) writer.write(tensor.data, tensor.bytes);
  writer.finish();
}

}  // namespace eyrie::engine
