#include "kernels/cuda/ceilings.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <random>

#include "kernels/cuda/blas.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/uploader.h"
#include "kernels/dtype.h"

namespace eyrie::kernels::cuda {
namespace {

std::size_t sized(std::int64_t count) {
  return static_cast<std::size_t>(count);
}

float* floats(const DeviceMemory& memory) {
  return reinterpret_cast<float*>(memory.data());
}

// A few megabytes of it again and again, as f32 or bf16.
DeviceMemory noise(std::int64_t count, float scale, DType dtype = DType::f32) {
  constexpr std::int64_t kDrawn = std::int64_t{1} << 22;
  std::mt19937 engine(static_cast<std::uint32_t>(count));
  std::normal_distribution<float> normal(0.0F, scale);
  const std::int64_t drawn = std::min(count, kDrawn);
  const std::size_t size = dtypeSize(dtype);
  const PinnedMemory host(sized(drawn) * size);
  for (std::int64_t i = 0; i < drawn; ++i) {
    const float value = normal(engine);
    if (dtype == DType::bf16)
      reinterpret_cast<std::uint16_t*>(host.data())[i] = floatToBf16(value);
    else
      reinterpret_cast<float*>(host.data())[i] = value;
  }
  DeviceMemory memory(sized(count) * size);
  const OwnedStream stream;
  for (std::int64_t at = 0; at < count; at += drawn) {
    const std::size_t bytes = sized(std::min(drawn, count - at)) * size;
    copyToDevice(memory.data() + sized(at) * size, host.data(), bytes, stream);
  }
  stream.wait();
  return memory;
}

template <class Element>
DeviceMemory uploaded(const std::vector<Element>& values) {
  DeviceMemory memory(values.size() * sizeof(Element));
  const OwnedStream stream;
  copyToDevice(memory.data(), values.data(), memory.bytes(), stream);
  stream.wait();
  return memory;
}

// Of one `work`, which is begun so often that starting it and waiting for it do not count.
template <class Work>
double secondsOf(const OwnedStream& stream, const Work& work) {
  constexpr double kLongEnough = 0.02;
  constexpr int kMostTimes = 4096;
  stream.wait();
  for (int times = 1;; times *= 4) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < times; ++i) work(stream);
    stream.wait();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (seconds >= kLongEnough || times >= kMostTimes) return seconds / times;
  }
}

}  // namespace

struct CopyProbe::Parts {
  explicit Parts(std::int64_t bytes) : from(noise(bytes / 4, 1)), to(from.bytes()) {}
  DeviceMemory from;
  DeviceMemory to;
  OwnedStream stream;
};

CopyProbe::CopyProbe(std::int64_t bytes) : parts_(std::make_unique<Parts>(bytes)) {}
CopyProbe::~CopyProbe() = default;

double CopyProbe::bytesPerSecond() {
  const std::size_t bytes = parts_->to.bytes();
  const double seconds = secondsOf(parts_->stream, [&](Stream stream) {
    copyOnDevice(parts_->to.data(), parts_->from.data(), bytes, stream);
  });
  return 2 * static_cast<double>(bytes) / seconds;
}

struct UploadProbe::Parts {
  explicit Parts(std::int64_t bytes) : pinned(sized(bytes)), plain(sized(bytes)), onCard(sized(bytes)) {
    std::memset(pinned.data(), 1, pinned.bytes());
  }
  PinnedMemory pinned;
  std::vector<std::byte> plain;
  DeviceMemory onCard;
  OwnedStream stream;
  Uploader uploader;
};

UploadProbe::UploadProbe(std::int64_t bytes) : parts_(std::make_unique<Parts>(bytes)) {}
UploadProbe::~UploadProbe() = default;

double UploadProbe::busBytesPerSecond() {
  const std::size_t bytes = parts_->onCard.bytes();
  return static_cast<double>(bytes) / secondsOf(parts_->stream, [&](Stream stream) {
           copyToDevice(parts_->onCard.data(), parts_->pinned.data(), bytes, stream);
         });
}

double UploadProbe::bytesPerSecond() {
  const auto start = std::chrono::steady_clock::now();
  parts_->uploader.copy(parts_->onCard.data(), parts_->plain.data(), parts_->onCard.bytes());
  parts_->uploader.finish();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return static_cast<double>(parts_->onCard.bytes()) / seconds;
}

struct GemmProbe::Parts {
  explicit Parts(std::vector<cpu::GemmShape> all)
      : shapes(std::move(all)),
        x(noise(largest(&cpu::GemmShape::T, &cpu::GemmShape::cols), 1, DType::bf16)),
        weight(noise(largest(&cpu::GemmShape::rows, &cpu::GemmShape::cols), 0.02F, DType::bf16)),
        out(sized(largest(&cpu::GemmShape::T, &cpu::GemmShape::rows)) * sizeof(float)),
        workspace(Blas::kWorkspaceBytes),
        blas(workspace.data()) {}

  std::int64_t largest(std::int64_t cpu::GemmShape::*a, std::int64_t cpu::GemmShape::*b) const {
    std::int64_t most = 0;
    for (const cpu::GemmShape& shape : shapes) most = std::max(most, shape.*a * shape.*b);
    return most;
  }

  std::vector<cpu::GemmShape> shapes;
  DeviceMemory x, weight, out, workspace;
  Blas blas;
  OwnedStream stream;
};

GemmProbe::GemmProbe(std::vector<cpu::GemmShape> shapes)
    : parts_(std::make_unique<Parts>(std::move(shapes))) {}
GemmProbe::~GemmProbe() = default;

double GemmProbe::flopsPerSecond() {
  double operations = 0;
  double seconds = 0;
  for (const cpu::GemmShape& shape : parts_->shapes) {
    Product product;
    product.dtype = DType::bf16;
    product.outType = DType::bf16;
    product.x = parts_->x.data();
    product.weight = parts_->weight.data();
    product.out = parts_->out.data();
    product.T = shape.T;
    product.rows = shape.rows;
    product.cols = shape.cols;
    product.xStride = shape.cols;
    product.outStride = shape.rows;
    if (!parts_->blas.product(product, parts_->stream)) return std::nan("");
    seconds += secondsOf(parts_->stream, [&](Stream stream) { parts_->blas.product(product, stream); });
    operations += shape.operations();
  }
  return operations / seconds;
}

struct ScanProbe::Parts {
  Parts(std::int64_t T, std::int64_t R, std::int64_t N)
      : x(noise(N * T * R, 1)),
        input(noise(N * T * R, 1.5F)),
        recurrence(noise(N * T * R, 2)),
        state(noise(N * R, 0.1F)),
        out(x.bytes()),
        rate(uploaded(std::vector<float>(sized(R), decayRateOf(-4.0F)))),
        positions(uploaded(std::vector<std::int64_t>(sized(N * T), 1))) {
    std::vector<std::int64_t> first;
    std::vector<float*> each;
    for (std::int64_t i = 0; i <= N; ++i) first.push_back(i * T);
    for (std::int64_t i = 0; i < N; ++i) each.push_back(floats(state) + i * R);
    begins = uploaded(first);
    states = uploaded(each);
    args.rows.x = floats(x);
    args.rows.inputPre = floats(input);
    args.rows.recurrencePre = floats(recurrence);
    args.rows.decayRate = floats(rate);
    args.rows.T = N * T;
    args.rows.R = R;
    args.rows.out = floats(out);
    args.states = reinterpret_cast<float* const*>(states.data());
    args.sequences = {reinterpret_cast<const std::int64_t*>(begins.data()), nullptr,
                      reinterpret_cast<const std::int64_t*>(positions.data()), N};
  }

  DeviceMemory x, input, recurrence, state, out, rate, positions, begins, states;
  RgLruBatchArgs args;
  OwnedStream stream;
};

ScanProbe::ScanProbe(std::int64_t T, std::int64_t R, std::int64_t batch)
    : parts_(std::make_unique<Parts>(T, R, batch)) {}
ScanProbe::~ScanProbe() = default;

double ScanProbe::seconds() {
  return secondsOf(parts_->stream, [this](Stream stream) { rgLru(parts_->args, stream); });
}

OpCost ScanProbe::cost() const {
  return opCost(parts_->args.rows);
}

}  // namespace eyrie::kernels::cuda
