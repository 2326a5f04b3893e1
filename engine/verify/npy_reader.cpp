#include "engine/verify/npy_reader.h"

#include <fmt/core.h>
#include <zip.h>

#include <cstring>
#include <memory>

#include "engine/checkpoint/file_io.h"
#include "engine/error.h"

namespace eyrie::engine::verify {
namespace {

constexpr std::uint64_t kLargestFile = std::uint64_t{1} << 30;

[[noreturn]] void bad(const std::string& file, const std::string& what) {
  throw Error(ErrorCode::badFile, file + ": " + what);
}

// The text after `key` in the header's dictionary.
std::string_view valueOf(std::string_view header, std::string_view key, const std::string& file) {
  const std::size_t at = header.find(key);
  if (at == std::string_view::npos) bad(file, fmt::format("header: expected {}, found none", key));
  std::string_view rest = header.substr(at + key.size());
  rest.remove_prefix(std::min(rest.find_first_not_of(": "), rest.size()));
  return rest;
}

std::vector<std::int64_t> parseShape(std::string_view text, const std::string& file) {
  const std::size_t close = text.find(')');
  if (text.empty() || text.front() != '(' || close == std::string_view::npos) bad(file, "header: shape");
  std::vector<std::int64_t> shape;
  std::int64_t number = -1;
  for (const char c : text.substr(1, close)) {
    if (c >= '0' && c <= '9') {
      number = std::max<std::int64_t>(number, 0) * 10 + (c - '0');
      if (number > static_cast<std::int64_t>(kLargestFile)) bad(file, "header: shape too large");
    } else if (number >= 0) {
      shape.push_back(number);
      number = -1;
    }
  }
  return shape;
}

std::string_view headerOf(std::string_view bytes, const std::string& file) {
  if (bytes.size() < 12 || bytes.substr(0, 6) != std::string_view("\x93NUMPY", 6))
    bad(file, "not an .npy file");
  const auto byteAt = [&](std::size_t i) {
    return static_cast<std::size_t>(static_cast<unsigned char>(bytes[i]));
  };
  const bool first = bytes[6] == 1;
  const std::size_t start = first ? 10 : 12;
  std::size_t length = byteAt(8) + (byteAt(9) << 8);
  if (!first) length += (byteAt(10) << 16) + (byteAt(11) << 24);
  if (length > bytes.size() - start) bad(file, fmt::format("header: expected {} bytes, found fewer", length));
  return bytes.substr(0, start + length);
}

struct ZipCloser {
  void operator()(zip_t* zip) const { zip_discard(zip); }
  void operator()(zip_file_t* entry) const { zip_fclose(entry); }
};

std::string readEntry(zip_t* zip, zip_uint64_t index, std::uint64_t size, const std::string& file) {
  const std::unique_ptr<zip_file_t, ZipCloser> entry(zip_fopen_index(zip, index, 0));
  if (!entry || size > kLargestFile) bad(file, "an entry cannot be read");
  std::string bytes(size, '\0');
  if (zip_fread(entry.get(), bytes.data(), size) != static_cast<zip_int64_t>(size))
    bad(file, "an entry is cut");
  return bytes;
}

}  // namespace

NpyArray parseNpy(std::string_view bytes, const std::string& file) {
  const std::string_view header = headerOf(bytes, file);
  const std::string_view descr = valueOf(header, "'descr'", file).substr(0, 5);
  const bool integers = descr == "'<i4'";
  if (!integers && descr != "'<f4'") bad(file, fmt::format("dtype: expected <f4 or <i4, found {}", descr));
  if (!valueOf(header, "'fortran_order'", file).starts_with("False")) bad(file, "expected C order");
  NpyArray array;
  array.shape = parseShape(valueOf(header, "'shape'", file), file);
  std::uint64_t count = 1;
  for (const std::int64_t extent : array.shape) {
    count *= static_cast<std::uint64_t>(extent);
    if (count > kLargestFile) bad(file, "header: shape too large");
  }
  const std::string_view data = bytes.substr(header.size());
  if (data.size() != count * 4)
    bad(file, fmt::format("data: expected {} bytes, found {}", count * 4, data.size()));
  array.values.resize(count);
  if (count > 0) std::memcpy(array.values.data(), data.data(), data.size());
  if (!integers) return array;
  for (float& value : array.values) {
    std::int32_t integer = 0;
    std::memcpy(&integer, &value, sizeof integer);
    value = static_cast<float>(integer);
  }
  return array;
}

NpyArray readNpy(const std::filesystem::path& path) {
  return parseNpy(readFile(path, kLargestFile), path.string());
}

std::map<std::string, NpyArray> readNpz(const std::filesystem::path& path) {
  int code = 0;
  const std::unique_ptr<zip_t, ZipCloser> zip(zip_open(path.c_str(), ZIP_RDONLY, &code));
  if (!zip) bad(path.string(), fmt::format("not a zip file (libzip error {})", code));
  std::map<std::string, NpyArray> arrays;
  const zip_int64_t entries = zip_get_num_entries(zip.get(), 0);
  for (zip_int64_t i = 0; i < entries; ++i) {
    const auto index = static_cast<zip_uint64_t>(i);
    zip_stat_t stat;
    if (zip_stat_index(zip.get(), index, 0, &stat) != 0) bad(path.string(), "an entry cannot be read");
    std::string name = stat.name;
    if (!name.ends_with(".npy")) continue;  // Eyrie's own traces carry their metadata beside the arrays
    const std::string bytes = readEntry(zip.get(), index, stat.size, path.string());
    name.resize(name.size() - 4);
    arrays.emplace(name, parseNpy(bytes, path.string() + ":" + stat.name));
  }
  return arrays;
}

}  // namespace eyrie::engine::verify
