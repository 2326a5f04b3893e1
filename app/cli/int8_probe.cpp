#include "app/cli/int8_probe.h"

#include <dlfcn.h>
#include <dnnl.h>
#include <dnnl_version.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

namespace eyrie::app {
namespace {

using kernels::cpu::GemmShape;

template <class Size>
std::size_t largest(const std::vector<GemmShape>& shapes, const Size& size) {
  std::int64_t most = 0;
  for (const GemmShape& shape : shapes) most = std::max(most, size(shape));
  return static_cast<std::size_t>(most);
}

class OneDnnProbe final : public Int8Probe {
 public:
  OneDnnProbe(decltype(&dnnl_gemm_u8s8s32) gemm, std::vector<GemmShape> shapes)
      : gemm_(gemm),
        shapes_(std::move(shapes)),
        x_(largest(shapes_, [](const GemmShape& s) { return s.T * s.cols; }), 3),
        w_(largest(shapes_, [](const GemmShape& s) { return s.rows * s.cols; }), 2),
        out_(largest(shapes_, [](const GemmShape& s) { return s.T * s.rows; })) {}

  bool multiply(const GemmShape& shape) {
    const std::int32_t none = 0;
    return gemm_('N', 'T', 'F', shape.T, shape.rows, shape.cols, 1.0F, x_.data(), shape.cols, 0, w_.data(),
                 shape.cols, 0, 0.0F, out_.data(), shape.rows, &none) == dnnl_success;
  }

  double opsPerSecond() override {
    double operations = 0;
    const auto start = std::chrono::steady_clock::now();
    for (const GemmShape& shape : shapes_) {
      const int repeats = kernels::cpu::gemmRepeats(shape);
      for (int i = 0; i < repeats; ++i) multiply(shape);
      operations += repeats * shape.operations();
    }
    return operations / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

 private:
  decltype(&dnnl_gemm_u8s8s32) gemm_;
  std::vector<GemmShape> shapes_;
  std::vector<std::uint8_t> x_;
  std::vector<std::int8_t> w_;
  std::vector<std::int32_t> out_;
};

}  // namespace

std::unique_ptr<Int8Probe> openInt8Probe(int threads, std::vector<GemmShape> shapes, std::string& whyNot) {
  // Read when its OpenMP starts. Passive: its threads must not spin beside what is measured next.
  setenv("OMP_NUM_THREADS", std::to_string(threads).c_str(), 1);
  setenv("OMP_WAIT_POLICY", "passive", 1);
  const std::string name = fmt::format("libdnnl.so.{}", DNNL_VERSION_MAJOR);
  void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);  // for good: its threads outlive any call
  if (library == nullptr) {
    whyNot = name + " cannot be opened";
    return nullptr;
  }
  const auto gemm = reinterpret_cast<decltype(&dnnl_gemm_u8s8s32)>(dlsym(library, "dnnl_gemm_u8s8s32"));
  if (gemm == nullptr) {
    whyNot = name + " has no dnnl_gemm_u8s8s32";
    return nullptr;
  }
  auto probe = std::make_unique<OneDnnProbe>(gemm, std::move(shapes));
  if (!probe->multiply({1, 1, 1})) {
    whyNot = "oneDNN refuses the product";
    return nullptr;
  }
  return probe;
}

}  // namespace eyrie::app
