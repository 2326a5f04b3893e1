#include "engine/make_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <future>
#include <nlohmann/json.hpp>
#include <numbers>
#include <system_error>

#include "engine/checkpoint/file_io.h"
#include "engine/checkpoint/safetensors.h"
#include "engine/error.h"
#include "engine/tensor_registry.h"
#include "kernels/thread_pool.h"

namespace eyrie::engine {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kChunk = std::int64_t{1} << 21;  // elements drawn before they are written
constexpr std::int64_t kGrain = std::int64_t{1} << 12;
constexpr std::uint64_t kSpareBytes = 64U << 20U;

std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31U);
}

std::uint64_t streamOf(std::uint64_t seed, const std::string& name) {
  std::uint64_t stream = mix(seed);
  for (const char c : name) stream = mix(stream ^ static_cast<unsigned char>(c));
  return stream;
}

// Four 16-bit uniforms summed: bell-shaped, variance 1, within 3.5; one hash an element.
float bell(std::uint64_t bits) {
  const auto sum = static_cast<float>((bits & 0xffffU) + ((bits >> 16U) & 0xffffU) +
                                      ((bits >> 32U) & 0xffffU) + (bits >> 48U));
  constexpr float kMean = 2.0F * 65535.0F;
  constexpr float kDeviation = 37836.65F;  // 65536 / sqrt(3)
  return (sum - kMean) / kDeviation;
}

// p such that exp(-8 softplus(p)) = radius^8, radius² uniform on [0.9², 0.999²].
float recurrentParam(std::uint64_t bits) {
  const double uniform = static_cast<double>(bits >> 11U) * 0x1p-53;
  const double squared = 0.81 + uniform * (0.999 * 0.999 - 0.81);
  return static_cast<float>(std::log(std::expm1(-0.5 * std::log(squared))));
}

// Angles are uniform up to a tenth of a half turn.
float recurrentImagParam(std::uint64_t bits) {
  return static_cast<float>(0.1 * std::numbers::pi * static_cast<double>(bits >> 11U) * 0x1p-53);
}

// Standard deviation of a tensor's values.
float deviationOf(const ExpectedTensor& tensor, const ModelConfig& config) {
  constexpr float kBiasNoise = 0.02F;
  constexpr float kNormNoise = 0.05F;
  const auto over = [](double scale, std::int64_t fanIn) {
    return static_cast<float>(std::sqrt(scale / static_cast<double>(fanIn)));
  };
  switch (tensor.role) {
    case TensorRole::embedding:
      return over(1.0, config.D);
    case TensorRole::norm:
      return kNormNoise;
    case TensorRole::bias:
    case TensorRole::gateBias:
      return kBiasNoise;
    case TensorRole::convolution:
      return over(1.0, config.K);
    case TensorRole::gateWeight:
      return over(1.0, tensor.shape[1]);
    case TensorRole::linear: {
      // What is added to the residual stream shrinks with the depth.
      const bool residual = tensor.shape[0] == config.D && (tensor.name.ends_with("linear_out.weight") ||
                                                            tensor.name.ends_with("o_proj.weight") ||
                                                            tensor.name.ends_with("down_proj.weight"));
      return over(residual ? 2.0 / static_cast<double>(config.L) : 1.0, tensor.shape[1]);
    }
    case TensorRole::recurrentParam:
    case TensorRole::recurrentImagParam:
      break;
  }
  return 1.0F;
}

std::int64_t countOf(const std::vector<std::int64_t>& shape) {
  std::int64_t count = 1;
  for (const std::int64_t dim : shape) count *= dim;
  return count;
}

// out[i] = valueOf(i), i in [begin, end), as `dtype`; the choice stands outside the loop.
template <typename ValueOf>
void fill(std::byte* out, kernels::DType dtype, std::int64_t begin, std::int64_t end,
          const ValueOf& valueOf) {
  const auto store = [&](auto convert) {
    using Stored = decltype(convert(0.0F));
    for (std::int64_t i = begin; i < end; ++i) {
      const Stored value = convert(valueOf(i));
      std::memcpy(out + static_cast<std::size_t>(i) * sizeof value, &value, sizeof value);
    }
  };
  switch (dtype) {
    case kernels::DType::f32:
      return store([](float value) { return value; });
    case kernels::DType::f16:
      return store([](float value) { return kernels::floatToF16(value); });
    case kernels::DType::int8:
    case kernels::DType::int4:  // never in a file
    case kernels::DType::bf16:
      return store([](float value) { return kernels::floatToBf16(value); });
  }
}

// Writes one part while the next is drawn. Parts go out in order; a failed write throws from the next call.
class WritingBehind {
 public:
  explicit WritingBehind(SafetensorsWriter& writer) : writer_(writer) {}

  // The part to fill, good until write() is called.
  std::vector<std::byte>& part() { return parts_[current_]; }
  void write() {
    wait();
    pending_ =
        std::async(std::launch::async, [this, &full = part()] { writer_.write(full.data(), full.size()); });
    current_ = 1 - current_;
  }
  void wait() {
    if (pending_.valid()) pending_.get();
  }

 private:
  SafetensorsWriter& writer_;
  std::array<std::vector<std::byte>, 2> parts_;
  std::size_t current_ = 0;
  std::future<void> pending_;  // destroyed first, which waits
};

// What is to be written, shard by shard.
struct Plan {
  std::vector<ExpectedTensor> tensors;
  std::vector<std::vector<std::size_t>> shards;  // indices into tensors
  std::uint64_t bytes = 0;
};

Plan planOf(const ModelConfig& config, kernels::DType dtype, std::uint64_t shardBytes) {
  Plan plan;
  plan.tensors = expectedTensors(config);
  const std::size_t element = kernels::dtypeSize(dtype);
  std::uint64_t inShard = 0;
  for (std::size_t i = 0; i < plan.tensors.size(); ++i) {
    const std::uint64_t bytes = static_cast<std::uint64_t>(countOf(plan.tensors[i].shape)) * element;
    if (plan.shards.empty() || (inShard > 0 && inShard + bytes > shardBytes)) {
      plan.shards.emplace_back();
      inShard = 0;
    }
    plan.shards.back().push_back(i);
    inShard += bytes;
    plan.bytes += bytes;
  }
  return plan;
}

std::string safetensorsName(kernels::DType dtype) {
  return kernels::dtypeName(dtype);
}

std::string torchName(kernels::DType dtype) {
  return dtype == kernels::DType::f32 ? "float32" : dtype == kernels::DType::f16 ? "float16" : "bfloat16";
}

class Maker {
 public:
  Maker(const ModelConfig& config, const fs::path& folder, const MakeModelOptions& options)
      : config_(config),
        folder_(folder),
        options_(options),
        plan_(planOf(config, options.dtype, options.shardBytes)),
        pool_(options.threads) {}

  void run() {
    prepareFolder();
    try {
      for (std::size_t i = 0; i < plan_.shards.size(); ++i) writeShard(i);
      if (plan_.shards.size() > 1) writeIndex();
      // Last, because a folder without it is no model.
      writeFile(claim("config.json"), writeConfig(config_, torchName(options_.dtype)));
    } catch (...) {
      removeWritten();
      throw;
    }
    if (options_.progress) options_.progress(1.0);
  }

 private:
  void prepareFolder() {
    std::error_code failed;
    if (fs::exists(folder_, failed) && (!fs::is_directory(folder_, failed) || !fs::is_empty(folder_, failed)))
      throw Error(ErrorCode::badArgument,
                  fmt::format("{}: expected a new or empty folder, found {}", folder_.string(),
                              fs::is_directory(folder_, failed) ? "files in it" : "a file"));
    created_ = fs::create_directories(folder_, failed);
    if (failed)
      throw Error(ErrorCode::ioFailed,
                  fmt::format("{}: cannot be created: {}", folder_.string(), failed.message()));
    const fs::space_info space = fs::space(folder_, failed);
    if (failed || space.available >= plan_.bytes + kSpareBytes) return;
    removeWritten();
    throw Error(ErrorCode::ioFailed,
                fmt::format("{}: expected {} MB free for the model, found {} MB", folder_.string(),
                            (plan_.bytes + kSpareBytes) / 1'000'000, space.available / 1'000'000));
  }

  fs::path claim(const std::string& name) {
    written_.push_back(folder_ / name);
    return written_.back();
  }

  void removeWritten() const {
    std::error_code ignored;
    for (const fs::path& file : written_) fs::remove(file, ignored);
    if (created_) fs::remove(folder_, ignored);
  }

  std::string shardName(std::size_t index) const {
    if (plan_.shards.size() == 1) return "model.safetensors";
    return fmt::format("model-{:05}-of-{:05}.safetensors", index + 1, plan_.shards.size());
  }

  void writeShard(std::size_t index) {
    std::vector<SafetensorsTensor> header;
    for (const std::size_t i : plan_.shards[index]) {
      SafetensorsTensor tensor;
      tensor.name = plan_.tensors[i].name;
      tensor.dtype = safetensorsName(options_.dtype);
      tensor.shape = plan_.tensors[i].shape;
      tensor.bytes = static_cast<std::uint64_t>(countOf(tensor.shape)) * kernels::dtypeSize(options_.dtype);
      header.push_back(std::move(tensor));
    }
    SafetensorsWriter writer(claim(shardName(index)), header, {{"format", "pt"}});
    WritingBehind output(writer);
    for (const std::size_t i : plan_.shards[index]) writeTensor(output, plan_.tensors[i]);
    output.wait();
    writer.finish();
  }

  void writeTensor(WritingBehind& output, const ExpectedTensor& tensor) {
    const std::size_t element = kernels::dtypeSize(options_.dtype);
    const std::uint64_t stream = streamOf(options_.seed, tensor.name);
    const float deviation = deviationOf(tensor, config_);
    const std::int64_t count = countOf(tensor.shape);
    for (std::int64_t start = 0; start < count; start += kChunk) {
      if (options_.stop.stop_requested()) throw Error(ErrorCode::cancelled, "make-model: stopped");
      const std::int64_t n = std::min(kChunk, count - start);
      std::vector<std::byte>& part = output.part();
      part.resize(static_cast<std::size_t>(n) * element);
      pool_.parallelFor(n, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
        const auto bits = [&](std::int64_t i) {
          return mix(stream ^ mix(static_cast<std::uint64_t>(start + i)));
        };
        const auto filled = [&](auto valueOf) { fill(part.data(), options_.dtype, begin, end, valueOf); };
        if (tensor.role == TensorRole::recurrentParam)
          filled([&](auto i) { return recurrentParam(bits(i)); });
        else if (tensor.role == TensorRole::recurrentImagParam)
          filled([&](auto i) { return recurrentImagParam(bits(i)); });
        else
          filled([&](auto i) { return deviation * bell(bits(i)); });
      });
      done_ += part.size();
      output.write();
      if (options_.progress) options_.progress(static_cast<double>(done_) / static_cast<double>(plan_.bytes));
    }
  }

  void writeIndex() {
    nlohmann::ordered_json index;
    index["metadata"] = {{"total_size", plan_.bytes}};
    for (std::size_t shard = 0; shard < plan_.shards.size(); ++shard)
      for (const std::size_t i : plan_.shards[shard])
        index["weight_map"][plan_.tensors[i].name] = shardName(shard);
    writeFile(claim("model.safetensors.index.json"), index.dump(2) + "\n");
  }

  const ModelConfig& config_;
  const fs::path& folder_;
  const MakeModelOptions& options_;
  Plan plan_;
  kernels::ThreadPool pool_;
  std::vector<fs::path> written_;
  std::uint64_t done_ = 0;
  bool created_ = false;
};

}  // namespace

std::uint64_t modelBytes(const ModelConfig& config, kernels::DType dtype) {
  return planOf(config, dtype, MakeModelOptions{}.shardBytes).bytes;
}

void makeModel(const ModelConfig& config, const fs::path& folder, const MakeModelOptions& options) {
  Maker(config, folder, options).run();
}

}  // namespace eyrie::engine
