#include "app/cli/bench_ceilings.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"

namespace eyrie::app {
namespace {

// Of the matrices of one layer that a prefill multiplies with.
std::vector<kernels::cpu::GemmShape> shapesOf(const engine::ModelConfig& config, std::int64_t rows) {
  std::vector<kernels::cpu::GemmShape> shapes{{rows, config.E, config.D}, {rows, config.D, config.E}};
  if (config.hasKind(engine::BlockKind::recurrent)) {
    shapes.push_back({rows, config.R, config.D});
  } else {
    shapes.push_back({rows, config.H * config.Dh, config.D});
  }
  return shapes;
}

}  // namespace

const char* nameOf(Limit limit) {
  constexpr std::array kNames{"nothing",     "read bandwidth", "f32 GEMM", "int8 GEMM",
                              "device copy", "bf16 GEMM",      "bus"};
  return kNames[static_cast<std::size_t>(limit)];
}

const char* unitOf(Limit limit) {
  constexpr std::array kUnits{"", "GB/s", "GFLOP/s", "Gop/s", "GB/s", "GFLOP/s", "GB/s"};
  return kUnits[static_cast<std::size_t>(limit)];
}

Spread spreadOf(std::vector<double> values) {
  if (values.empty()) return {std::nan(""), std::nan(""), std::nan(""), 0};
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back(), values.size()};
}

Ceilings::Ceilings(kernels::ThreadPool& pool, const engine::ModelConfig& config, std::int64_t readBytes,
                   std::int64_t rows, std::stop_token stop)
    : pool_(pool), shapes_(shapesOf(config, rows)), readBytes_(readBytes), stop_(std::move(stop)) {}

double Ceilings::probe(Limit limit) {
  switch (limit) {
    case Limit::none:
      return std::nan("");
    case Limit::bandwidth:
      if (!read_) read_ = std::make_unique<kernels::cpu::ReadProbe>(pool_, readBytes_);
      return read_->bytesPerSecond();
    case Limit::f32Gemm:
      if (!gemm_) gemm_ = std::make_unique<kernels::cpu::GemmProbe>(pool_, shapes_);
      return gemm_->flopsPerSecond();
    case Limit::int8Gemm:
      if (!int8_ && whyNoInt8_.empty()) int8_ = openInt8Probe(pool_.size(), shapes_, whyNoInt8_);
      return int8_ ? int8_->opsPerSecond() : std::nan("");
    case Limit::cardCopy:
      if (!cardCopy_) cardCopy_ = std::make_unique<kernels::cuda::CopyProbe>(readBytes_);
      return cardCopy_->bytesPerSecond();
    case Limit::cardGemm:
      if (!cardGemm_) cardGemm_ = std::make_unique<kernels::cuda::GemmProbe>(shapes_);
      return cardGemm_->flopsPerSecond();
    case Limit::cardBus:
      return bus().busBytesPerSecond();
  }
  return std::nan("");
}

kernels::cuda::UploadProbe& Ceilings::bus() {
  constexpr std::int64_t kBytes = std::int64_t{1} << 30;
  if (!cardBus_) cardBus_ = std::make_unique<kernels::cuda::UploadProbe>(std::min(kBytes, readBytes_));
  return *cardBus_;
}

std::string Ceilings::whyNot(Limit limit) const {
  if (limit == Limit::int8Gemm) return whyNoInt8_;
  if (limit == Limit::cardGemm && cardGemm_ && spread(limit).runs == 0)
    return "cuBLAS has no bf16 products for this card";
  return "";
}

double Ceilings::measure(Limit limit) {
  if (stop_.stop_requested()) throw engine::Error(engine::ErrorCode::cancelled, "cancelled");
  auto& all = measured_[static_cast<std::size_t>(limit)];
  if (all.empty()) probe(limit);  // the first finds cold pages, sleeping threads and code not yet made
  const double rate = probe(limit);
  if (!std::isnan(rate)) all.push_back(rate);
  return rate;
}

}  // namespace eyrie::app
