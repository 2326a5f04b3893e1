#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "kernels/cuda/ceilings.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

namespace eyrie::kernels::cuda {
namespace {

struct FreeDevice {
  void operator()(void* memory) const { cudaFree(memory); }
};
using DeviceMemory = std::unique_ptr<void, FreeDevice>;

DeviceMemory allocate(std::size_t bytes) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, bytes), "memory of a probe");
  return DeviceMemory(memory);
}

float asType(float value, float*) {
  return value;
}
__nv_bfloat16 asType(float value, __nv_bfloat16*) {
  return __float2bfloat16(value);
}

// A few megabytes of it again and again.
template <class Element>
DeviceMemory noise(std::size_t count, float scale) {
  constexpr std::size_t kDrawn = std::size_t{1} << 22U;
  std::mt19937 engine(static_cast<std::uint32_t>(count));
  std::normal_distribution<float> normal(0.0F, scale);
  std::vector<Element> drawn(std::min(count, kDrawn));
  for (Element& value : drawn) value = asType(normal(engine), static_cast<Element*>(nullptr));
  DeviceMemory memory = allocate(count * sizeof(Element));
  auto* target = static_cast<Element*>(memory.get());
  for (std::size_t at = 0; at < count; at += kDrawn) {
    const std::size_t bytes = std::min(kDrawn, count - at) * sizeof(Element);
    check(cudaMemcpy(target + at, drawn.data(), bytes, cudaMemcpyHostToDevice), "upload");
  }
  return memory;
}

// A stream and its clock.
class Clock {
 public:
  Clock() {
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream of a probe");
    check(cudaEventCreate(&begin_), "event");
    check(cudaEventCreate(&end_), "event");
  }
  ~Clock() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
    cudaStreamDestroy(stream_);
  }
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;

  // Of one `work`, which is begun so often that starting it does not count.
  template <class Work>
  double secondsOf(const Work& work) {
    constexpr double kLongEnough = 0.02;
    for (int times = 1;; times *= 4) {
      check(cudaEventRecord(begin_, stream_), "event");
      for (int i = 0; i < times; ++i) work(stream_);
      check(cudaEventRecord(end_, stream_), "event");
      check(cudaEventSynchronize(end_), "probe");
      float milliseconds = 0;
      check(cudaEventElapsedTime(&milliseconds, begin_, end_), "event");
      const double seconds = 1e-3 * static_cast<double>(milliseconds);
      if (seconds >= kLongEnough || times >= 4096) return seconds / times;
    }
  }

 private:
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
};

std::size_t sized(std::int64_t count) {
  return static_cast<std::size_t>(count);
}

}  // namespace

struct CopyProbe::Parts {
  std::size_t bytes;
  DeviceMemory from;
  DeviceMemory to;
  Clock clock;
};

CopyProbe::CopyProbe(std::int64_t bytes)
    : parts_(new Parts{
          sized(bytes), noise<float>(sized(bytes) / sizeof(float), 1), allocate(sized(bytes)), {}}) {}
CopyProbe::~CopyProbe() = default;

double CopyProbe::bytesPerSecond() {
  const double seconds = parts_->clock.secondsOf([this](Stream stream) {
    check(cudaMemcpyAsync(parts_->to.get(), parts_->from.get(), parts_->bytes, cudaMemcpyDeviceToDevice,
                          stream),
          "copy");
  });
  return 2 * static_cast<double>(parts_->bytes) / seconds;
}

struct GemmProbe::Parts {
  std::vector<cpu::GemmShape> shapes;
  Bf16Multiply multiply;
  DeviceMemory x;
  DeviceMemory weight;
  DeviceMemory out;
  Clock clock;
};

GemmProbe::GemmProbe(std::vector<cpu::GemmShape> shapes, Bf16Multiply multiply) {
  std::int64_t x = 0;
  std::int64_t weight = 0;
  std::int64_t out = 0;
  for (const cpu::GemmShape& shape : shapes) {
    x = std::max(x, shape.T * shape.cols);
    weight = std::max(weight, shape.rows * shape.cols);
    out = std::max(out, shape.T * shape.rows);
  }
  parts_.reset(new Parts{std::move(shapes),
                         std::move(multiply),
                         noise<__nv_bfloat16>(sized(x), 1),
                         noise<__nv_bfloat16>(sized(weight), 0.02F),
                         allocate(sized(out) * sizeof(float)),
                         {}});
}
GemmProbe::~GemmProbe() = default;

double GemmProbe::flopsPerSecond() {
  double operations = 0;
  double seconds = 0;
  bool able = true;
  for (const cpu::GemmShape& shape : parts_->shapes) {
    const Bf16Product product{shape, parts_->x.get(), parts_->weight.get(),
                              static_cast<float*>(parts_->out.get())};
    seconds +=
        parts_->clock.secondsOf([&](Stream stream) { able = able && parts_->multiply(product, stream); });
    operations += shape.operations();
    if (!able) return std::nan("");
  }
  return operations / seconds;
}

struct ScanProbe::Parts {
  std::int64_t T;
  std::int64_t R;
  std::int64_t batch;
  DeviceMemory x, input, recurrence, rate, state, out, workspace;
  Clock clock;

  float* at(const DeviceMemory& memory, std::int64_t which, std::int64_t size) const {
    return static_cast<float*>(memory.get()) + which * size;
  }
  RgLruArgs args(std::int64_t which) const {
    RgLruArgs args;
    args.x = at(x, which, T * R);
    args.inputPre = at(input, which, T * R);
    args.recurrencePre = at(recurrence, which, T * R);
    args.decayRate = at(rate, 0, 0);
    args.state = at(state, which, R);
    args.T = T;
    args.R = R;
    args.out = at(out, which, T * R);
    return args;
  }
};

ScanProbe::ScanProbe(std::int64_t T, std::int64_t R, std::int64_t batch) {
  const std::size_t count = sized(batch * T * R);
  const std::vector<float> rate(sized(R), decayRateOf(-4.0F));
  DeviceMemory rates = allocate(rate.size() * sizeof(float));
  check(cudaMemcpy(rates.get(), rate.data(), rate.size() * sizeof(float), cudaMemcpyHostToDevice), "upload");
  const std::size_t workspace = sized(std::max<std::int64_t>(1, rgLruWorkspace(T, R))) * sizeof(float);
  parts_.reset(new Parts{T,
                         R,
                         batch,
                         noise<float>(count, 1),
                         noise<float>(count, 1.5F),
                         noise<float>(count, 2),
                         std::move(rates),
                         noise<float>(sized(batch * R), 0.1F),
                         allocate(count * sizeof(float)),
                         allocate(workspace),
                         {}});
}
ScanProbe::~ScanProbe() = default;

double ScanProbe::seconds() {
  auto* const workspace =
      rgLruWorkspace(parts_->T, parts_->R) > 0 ? static_cast<float*>(parts_->workspace.get()) : nullptr;
  return parts_->clock.secondsOf([&](Stream stream) {
    for (std::int64_t which = 0; which < parts_->batch; ++which)
      rgLru(parts_->args(which), workspace, stream);
  });
}

OpCost ScanProbe::cost() const {
  const OpCost one = opCost(parts_->args(0));
  const auto batch = static_cast<double>(parts_->batch);
  return {batch * one.bytes, batch * one.flops};
}

}  // namespace eyrie::kernels::cuda
