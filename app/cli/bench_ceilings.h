// The ceilings of this machine, measured again and again between the runs they are compared with.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "app/cli/int8_probe.h"
#include "engine/config.h"
#include "kernels/cpu/ceilings.h"
#include "kernels/cuda/ceilings.h"
#include "kernels/thread_pool.h"

namespace eyrie::app {

// What limits a part of the benchmark.
enum class Limit : std::uint8_t { none, bandwidth, f32Gemm, int8Gemm, cardCopy, cardGemm, cardBus };
inline constexpr std::array kCeilings{Limit::bandwidth, Limit::f32Gemm,  Limit::int8Gemm,
                                      Limit::cardCopy,  Limit::cardGemm, Limit::cardBus};
const char* nameOf(Limit limit);  // "read bandwidth"
const char* unitOf(Limit limit);  // "GB/s"

// Of what was measured several times; NaN of nothing.
struct Spread {
  double median = 0;
  double least = 0;
  double most = 0;
  std::size_t runs = 0;
};
Spread spreadOf(std::vector<double> values);

class Ceilings {
 public:
  // Products have the shapes of `config`'s matrices, `rows` tokens at once.
  Ceilings(kernels::ThreadPool& pool, const engine::ModelConfig& config, std::int64_t readBytes,
           std::int64_t rows, std::stop_token stop);

  // Bytes or operations a second, now; NaN for none, for int8 without oneDNN, and for products on a card
  // without a way to do them. Throws Error(cancelled), of a card CudaError.
  double measure(Limit limit);
  // Of all measurements so far.
  Spread spread(Limit limit) const { return spreadOf(measured_[static_cast<std::size_t>(limit)]); }
  std::int64_t readBytes() const { return readBytes_; }
  // Bytes a second from ordinary memory to the card, as weights travel. Throws CudaError.
  double measureUpload() { return bus().bytesPerSecond(); }
  std::string whyNot(Limit limit) const;  // empty until it was measured, and where it could be

 private:
  double probe(Limit limit);
  kernels::cuda::UploadProbe& bus();

  kernels::ThreadPool& pool_;
  std::vector<kernels::cpu::GemmShape> shapes_;
  std::int64_t readBytes_;
  std::stop_token stop_;
  // Made when first asked for: their memory shall not count where nobody compares with them.
  std::unique_ptr<kernels::cpu::ReadProbe> read_;
  std::unique_ptr<kernels::cpu::GemmProbe> gemm_;
  std::unique_ptr<Int8Probe> int8_;
  std::unique_ptr<kernels::cuda::CopyProbe> cardCopy_;
  std::unique_ptr<kernels::cuda::GemmProbe> cardGemm_;
  std::unique_ptr<kernels::cuda::UploadProbe> cardBus_;
  std::string whyNoInt8_;
  std::array<std::vector<double>, kCeilings.size() + 1> measured_;
};

}  // namespace eyrie::app
