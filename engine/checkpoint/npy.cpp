#include "engine/checkpoint/npy.h"

#include <fmt/format.h>

#include "engine/error.h"

namespace eyrie::engine {

std::string npyHeader(std::string_view descr, const std::vector<std::int64_t>& shape) {
  std::string dims;
  for (const std::int64_t dim : shape) dims += fmt::format("{}, ", dim);
  // A tuple of one needs its comma, longer ones must not end in ", ".
  if (shape.size() == 1) dims.pop_back();
  if (shape.size() > 1) dims.resize(dims.size() - 2);
  std::string dict = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", descr, dims);
  constexpr std::size_t kPreamble = 10;
  dict.append(63 - (kPreamble + dict.size()) % 64, ' ');
  dict += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>(dict.size() & 0xffU);
  header += static_cast<char>(dict.size() >> 8U);
  return header + dict;
}

NpyWriter::NpyWriter(const std::filesystem::path& path, std::string_view descr,
                     const std::vector<std::int64_t>& shape)
    : file_(path) {
  const std::string header = npyHeader(descr, shape);
  file_.write(header.data(), header.size());
  auto bytes = static_cast<std::uint64_t>(descr.back() - '0');
  for (const std::int64_t dim : shape) bytes *= static_cast<std::uint64_t>(dim);
  expected_ = header.size() + bytes;
}

void NpyWriter::write(const void* data, std::size_t bytes) {
  file_.write(data, bytes);
}

void NpyWriter::finish() {
  if (file_.written() != expected_)
    throw Error(ErrorCode::badArgument,
                fmt::format("npy: expected {} bytes to be written, found {}", expected_, file_.written()));
  file_.commit();
}

}  // namespace eyrie::engine
