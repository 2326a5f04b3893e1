#include "app/cli/random_model.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "engine/checkpoint/file_io.h"
#include "engine/checkpoint/safetensors.h"
#include "engine/error.h"
#include "engine/tensor_registry.h"

namespace eyrie::app {
namespace {

using engine::Error;
using engine::ErrorCode;
using engine::ExpectedTensor;
using engine::TensorRole;

constexpr std::int64_t kBlock = 1 << 18;  // elements made and written at once

// SplitMix64's finaliser: a counter becomes 64 independent-looking bits.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

std::uint64_t streamOf(std::uint64_t seed, const std::string& name) {
  std::uint64_t hash = mix(seed);
  for (const char c : name) hash = mix(hash ^ static_cast<unsigned char>(c));
  return hash;
}

// Mean 0, variance 1: the sum of four 16-bit uniforms, near enough to a normal and cheap.
float nearlyNormal(std::uint64_t bits) {
  const auto sum = std::int64_t(bits & 0xffff) + std::int64_t((bits >> 16) & 0xffff) +
                   std::int64_t((bits >> 32) & 0xffff) + std::int64_t(bits >> 48);
  constexpr float kMean = 2.0F * 65535.0F;
  constexpr float kPerDeviation = 1.0F / (65536.0F * 0.57735027F);  // sqrt(4 / 12)
  return (float(sum) - kMean) * kPerDeviation;
}

// p with softplus(p) = -ln(radius), the squared radius uniform on [0.9², 0.999²].
float recurrentParam(std::uint64_t bits) {
  const double u = double(bits >> 11) * 0x1.0p-53;
  const double radius = std::sqrt(0.81 + u * (0.998001 - 0.81));
  return static_cast<float>(std::log(1.0 / radius - 1.0));
}

// Standard deviation of the weights; 0 for those that begin at zero.
float deviation(const ExpectedTensor& tensor, const engine::ModelConfig& config) {
  switch (tensor.role) {
    case TensorRole::embedding:
      return 1.0F / std::sqrt(float(config.D));
    case TensorRole::linear:
    case TensorRole::gateWeight:
      return 1.0F / std::sqrt(float(tensor.shape[1]));
    case TensorRole::convolution:
      return 1.0F / std::sqrt(float(config.K));
    case TensorRole::norm:
    case TensorRole::bias:
    case TensorRole::gateBias:
    case TensorRole::recurrentParam:
      return 0.0F;
  }
  return 0.0F;
}

std::int64_t countOf(const ExpectedTensor& tensor) {
  std::int64_t count = 1;
  for (const auto size : tensor.shape) count *= size;
  return count;
}

void store(float value, kernels::DType dtype, std::byte* at) {
  if (dtype == kernels::DType::f32) {
    std::memcpy(at, &value, 4);
    return;
  }
  const std::uint16_t bits =
      dtype == kernels::DType::bf16 ? kernels::floatToBf16(value) : kernels::floatToF16(value);
  std::memcpy(at, &bits, 2);
}

void writeTensor(engine::SafetensorsWriter& writer, const ExpectedTensor& tensor,
                 const engine::ModelConfig& config, kernels::DType dtype, std::uint64_t seed,
                 const std::stop_token& stop) {
  const std::uint64_t stream = streamOf(seed, tensor.name);
  const float scale = deviation(tensor, config);
  const std::size_t size = kernels::dtypeSize(dtype);
  const std::int64_t count = countOf(tensor);
  std::vector<std::byte> block(static_cast<std::size_t>(std::min(count, kBlock)) * size);
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    if (stop.stop_requested()) throw Error(ErrorCode::cancelled, "cancelled");
    const std::int64_t n = std::min(kBlock, count - begin);
    for (std::int64_t i = 0; i < n; ++i) {
      const std::uint64_t bits = mix(stream ^ static_cast<std::uint64_t>(begin + i));
      const float value = tensor.role == TensorRole::recurrentParam ? recurrentParam(bits)
                          : scale > 0                               ? scale * nearlyNormal(bits)
                                                                    : 0.0F;
      store(value, dtype, block.data() + static_cast<std::size_t>(i) * size);
    }
    writer.write(block.data(), static_cast<std::size_t>(n) * size);
  }
}

void checkFolder(const std::filesystem::path& folder, std::uint64_t bytes) {
  std::error_code status;
  std::filesystem::create_directories(folder, status);
  if (status) {
    throw Error(ErrorCode::ioFailed,
                fmt::format("{}: cannot be made: {}", folder.string(), status.message()));
  }
  if (std::filesystem::exists(folder / "config.json")) {
    throw Error(ErrorCode::badArgument, fmt::format("{}: holds a model already", folder.string()));
  }
  const auto space = std::filesystem::space(folder, status);
  if (!status && space.available < bytes) {
    throw Error(ErrorCode::ioFailed,
                fmt::format("{}: needs {} bytes, {} are free", folder.string(), bytes, space.available));
  }
}

const char* torchName(kernels::DType dtype) {
  switch (dtype) {
    case kernels::DType::f32:
      return "float32";
    case kernels::DType::f16:
      return "float16";
    case kernels::DType::bf16:
      return "bfloat16";
  }
  return "?";
}

}  // namespace

WrittenModel writeRandomModel(const std::filesystem::path& folder, const engine::ModelConfig& config,
                              kernels::DType dtype, std::uint64_t seed, std::stop_token stop) {
  const auto expected = engine::expectedTensors(config);
  std::vector<engine::SafetensorsTensor> header;
  WrittenModel written;
  for (const auto& tensor : expected) {
    engine::SafetensorsTensor entry;
    entry.name = tensor.name;
    entry.dtype = kernels::dtypeName(dtype);
    entry.shape = tensor.shape;
    entry.bytes = static_cast<std::uint64_t>(countOf(tensor)) * kernels::dtypeSize(dtype);
    written.parameters += countOf(tensor);
    written.bytes += entry.bytes;
    header.push_back(std::move(entry));
  }
  checkFolder(folder, written.bytes);
  engine::SafetensorsWriter writer(folder / "model.safetensors", header, {{"format", "pt"}});
  for (const auto& tensor : expected) writeTensor(writer, tensor, config, dtype, seed, stop);
  writer.finish();
  engine::writeFile(folder / "config.json", engine::writeConfig(config, torchName(dtype)));
  written.bytes = std::filesystem::file_size(folder / "model.safetensors");
  return written;
}

}  // namespace eyrie::app
