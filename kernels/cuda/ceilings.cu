#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "kernels/cuda/blas.h"
#include "kernels/cuda/ceilings.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/runtime.h"

namespace eyrie::kernels::cuda {
namespace {

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
  DeviceMemory memory(count * sizeof(Element));
  auto* target = reinterpret_cast<Element*>(memory.data());
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
          sized(bytes), noise<float>(sized(bytes) / sizeof(float), 1), DeviceMemory(sized(bytes)), {}}) {}
CopyProbe::~CopyProbe() = default;

double CopyProbe::bytesPerSecond() {
  const double seconds = parts_->clock.secondsOf(
      [this](Stream stream) { copyOnDevice(parts_->to.data(), parts_->from.data(), parts_->bytes, stream); });
  return 2 * static_cast<double>(parts_->bytes) / seconds;
}

struct GemmProbe::Parts {
  std::vector<cpu::GemmShape> shapes;
  DeviceMemory x;
  DeviceMemory weight;
  DeviceMemory out;
  DeviceMemory workspace;
  Blas blas;
  Clock clock;
};

GemmProbe::GemmProbe(std::vector<cpu::GemmShape> shapes) {
  std::int64_t x = 0;
  std::int64_t weight = 0;
  std::int64_t out = 0;
  for (const cpu::GemmShape& shape : shapes) {
    x = std::max(x, shape.T * shape.cols);
    weight = std::max(weight, shape.rows * shape.cols);
    out = std::max(out, shape.T * shape.rows);
  }
  DeviceMemory workspace(Blas::kWorkspaceBytes);
  void* const place = workspace.data();
  parts_.reset(new Parts{std::move(shapes),
                         noise<__nv_bfloat16>(sized(x), 1),
                         noise<__nv_bfloat16>(sized(weight), 0.02F),
                         DeviceMemory(sized(out) * sizeof(__nv_bfloat16)),
                         std::move(workspace),
                         Blas(place),
                         {}});
}
GemmProbe::~GemmProbe() = default;

double GemmProbe::flopsPerSecond() {
  double operations = 0;
  double seconds = 0;
  bool able = true;
  for (const cpu::GemmShape& shape : parts_->shapes) {
    Product product;
    product.dtype = DType::bf16;
    product.x = parts_->x.data();
    product.weight = parts_->weight.data();
    product.out = parts_->out.data();
    product.outType = DType::bf16;
    product.T = shape.T;
    product.rows = shape.rows;
    product.cols = shape.cols;
    product.xStride = shape.cols;
    product.outStride = shape.rows;
    seconds +=
        parts_->clock.secondsOf([&](Stream stream) { able = able && parts_->blas.product(product, stream); });
    operations += shape.operations();
    if (!able) return std::nan("");
  }
  return operations / seconds;
}

struct ScanProbe::Parts {
  std::int64_t T;
  std::int64_t R;
  std::int64_t batch;
  DeviceMemory x, input, recurrence, rate, state, out;
  Clock clock;

  float* at(const DeviceMemory& memory, std::int64_t which, std::int64_t size) const {
    return reinterpret_cast<float*>(memory.data()) + which * size;
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
  DeviceMemory rates(rate.size() * sizeof(float));
  check(cudaMemcpy(rates.data(), rate.data(), rate.size() * sizeof(float), cudaMemcpyHostToDevice), "upload");
  parts_.reset(new Parts{T,
                         R,
                         batch,
                         noise<float>(count, 1),
                         noise<float>(count, 1.5F),
                         noise<float>(count, 2),
                         std::move(rates),
                         noise<float>(sized(batch * R), 0.1F),
                         DeviceMemory(count * sizeof(float)),
                         {}});
}
ScanProbe::~ScanProbe() = default;

double ScanProbe::seconds() {
  return parts_->clock.secondsOf([&](Stream stream) {
    for (std::int64_t which = 0; which < parts_->batch; ++which) rgLru(parts_->args(which), stream);
  });
}

OpCost ScanProbe::cost() const {
  const OpCost one = opCost(parts_->args(0));
  const auto batch = static_cast<double>(parts_->batch);
  return {batch * one.bytes, batch * one.flops};
}

}  // namespace eyrie::kernels::cuda
