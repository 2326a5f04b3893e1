#include "tests/sessions/archive.h"

#include <zip.h>

#include <QRegularExpression>
#include <cmath>
#include <cstring>
#include <fstream>
#include <stdexcept>

namespace eyrie::sessions::testing {
namespace {

double halfValue(std::uint16_t half) {
  const int exponent = half >> 10 & 31;
  const double fraction = half & 1023;
  const double sign = (half & 0x8000) != 0 ? -1 : 1;
  if (exponent == 31) return fraction != 0 ? std::nan("") : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

std::vector<double> decode(const std::string& dtype, const char* data, std::size_t bytes) {
  std::vector<double> out;
  const auto each = [&]<class T>(T, auto convert) {
    for (std::size_t i = 0; i + sizeof(T) <= bytes; i += sizeof(T)) {
      T value;
      std::memcpy(&value, data + i, sizeof(T));
      out.push_back(convert(value));
    }
  };
  const auto plain = [](auto v) { return double(v); };
  if (dtype == "<f4")
    each(float{}, plain);
  else if (dtype == "<i8")
    each(std::int64_t{}, plain);
  else if (dtype == "<i4")
    each(std::int32_t{}, plain);
  else if (dtype == "|u1")
    each(std::uint8_t{}, plain);
  else if (dtype == "<f2")
    each(std::uint16_t{}, halfValue);
  else
    throw std::runtime_error("dtype " + dtype);
  return out;
}

void checkSize(const std::string& name, const Array& array) {
  std::int64_t elements = 1;
  for (const auto size : array.shape) elements *= size;
  if (elements != std::int64_t(array.values.size()))
    throw std::runtime_error(name + ": shape and size differ");
}

Array parseNpy(const std::string& name, const std::string& bytes) {
  if (bytes.compare(0, 8, std::string("\x93NUMPY\x01\x00", 8)) != 0)
    throw std::runtime_error(name + ": magic");
  const std::size_t length = std::size_t(std::uint8_t(bytes[8])) | std::size_t(std::uint8_t(bytes[9])) << 8;
  const std::string header = bytes.substr(10, length);
  if ((10 + length) % 64 != 0 || header.back() != '\n') throw std::runtime_error(name + ": header alignment");
  static const QRegularExpression form(
      R"re(\A\{'descr': '([^']+)', 'fortran_order': False, 'shape': \(([0-9, ]*)\), \} *\n\z)re");
  const QRegularExpressionMatch match =
      form.match(QString::fromLatin1(header.data(), qsizetype(header.size())));
  if (!match.hasMatch()) throw std::runtime_error(name + ": header " + header);
  Array array;
  array.dtype = match.captured(1).toStdString();
  for (const QString& size : match.captured(2).split(',', Qt::SkipEmptyParts))
    array.shape.push_back(size.trimmed().toLongLong());
  array.dataOffset = 10 + length;
  array.values = decode(array.dtype, bytes.data() + 10 + length, bytes.size() - 10 - length);
  checkSize(name, array);
  return array;
}

}  // namespace

std::string readFile(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + file.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

Archive readNpz(const std::filesystem::path& file) {
  int code = 0;
  zip_t* zip = zip_open(file.c_str(), ZIP_RDONLY | ZIP_CHECKCONS, &code);
  if (zip == nullptr) throw std::runtime_error("zip_open: " + std::to_string(code));
  Archive archive;
  for (zip_int64_t i = 0; i < zip_get_num_entries(zip, 0); ++i) {
    zip_stat_t stat;
    zip_stat_index(zip, zip_uint64_t(i), 0, &stat);
    std::string bytes(stat.size, '\0');
    zip_file_t* member = zip_fopen_index(zip, zip_uint64_t(i), 0);
    // Reading to the end checks the CRC.
    const zip_int64_t got = zip_fread(member, bytes.data(), bytes.size());
    char past = 0;
    const zip_int64_t more = zip_fread(member, &past, 1);
    zip_fclose(member);
    const std::string name = stat.name;
    if (got != zip_int64_t(bytes.size()) || more != 0) throw std::runtime_error(name + ": size or CRC");
    if (name == "meta.json") {
      archive.meta = nlohmann::json::parse(bytes);
    } else {
      archive.arrays[name.substr(0, name.size() - 4)] = parseNpy(name, bytes);
    }
  }
  zip_close(zip);
  return archive;
}

Archive readSafetensors(const std::filesystem::path& file) {
  const std::string bytes = readFile(file);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  const auto header = nlohmann::json::parse(bytes.substr(8, length));
  const std::map<std::string, std::string> types = {
      {"F32", "<f4"}, {"F16", "<f2"}, {"I32", "<i4"}, {"U8", "|u1"}};
  Archive archive;
  std::map<std::uint64_t, std::uint64_t> ranges;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      for (const auto& [key, value] : entry.items()) {
        if (!value.is_string()) throw std::runtime_error(key + ": metadata is not a string");
        archive.meta[key] = value;
      }
      continue;
    }
    Array array;
    array.dtype = types.at(entry["dtype"]);
    array.shape = entry["shape"].get<std::vector<std::int64_t>>();
    const auto from = entry["data_offsets"][0].get<std::uint64_t>();
    const auto to = entry["data_offsets"][1].get<std::uint64_t>();
    if (to > from) ranges[from] = to;
    array.dataOffset = 8 + length + from;
    array.values = decode(array.dtype, bytes.data() + array.dataOffset, to - from);
    checkSize(name, array);
    archive.arrays[name] = std::move(array);
  }
  std::uint64_t at = 0;
  for (const auto& [from, to] : ranges) {
    if (from != at) throw std::runtime_error("data_offsets do not cover the buffer");
    at = to;
  }
  if (8 + length + at != bytes.size()) throw std::runtime_error("bytes after the last array");
  return archive;
}

}  // namespace eyrie::sessions::testing
