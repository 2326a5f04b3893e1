#include "app/cli/doctor_card.h"

#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <string>

#include "app/cli/console.h"
#include "engine/error.h"
#include "engine/kept_crossovers.h"
#include "engine/model_locator.h"
#include "engine/verify/card_ops.h"
#include "kernels/cuda/ceilings.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/stream.h"

namespace eyrie::app {
namespace {

namespace cuda = kernels::cuda;

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

// "580.82.07", as the driver's module says; empty where it says nothing.
std::string driverVersion() {
  std::ifstream file("/proc/driver/nvidia/version");
  std::string line;
  std::getline(file, line);
  for (std::size_t at = line.find_first_of("0123456789"); at < line.size();) {
    const std::size_t end = line.find_first_not_of("0123456789.", at);
    std::string word = line.substr(at, end - at);
    if (word.find('.') != std::string::npos) return word;
    at = line.find_first_of("0123456789", end);
  }
  return {};
}

std::string cudaVersion(int number) {
  return fmt::format("{}.{}", number / 1000, number % 1000 / 10);
}

struct CardCeilings {
  double copy = std::nan("");      // bytes a second
  double products = std::nan("");  // operations a second
  std::string whyNoProducts;
};

CardCeilings measured() {
  constexpr std::int64_t kCopied = std::int64_t{1} << 30;
  CardCeilings ceilings;
  cuda::CopyProbe copy(kCopied);
  copy.bytesPerSecond();
  ceilings.copy = copy.bytesPerSecond();
  try {
    cuda::GemmProbe products({{8192, 12288, 4096}});
    products.flopsPerSecond();
    ceilings.products = products.flopsPerSecond();
    if (std::isnan(ceilings.products)) ceilings.whyNoProducts = "cuBLAS has no bf16 products for this card";
  } catch (const cuda::CudaError& error) {
    ceilings.whyNoProducts = error.what();
  }
  return ceilings;
}

const CardCeilings& ceilings() {
  static const CardCeilings once = measured();
  return once;
}

// Of the ceiling that bounds the op.
std::string shareOf(const engine::verify::CardTime& op) {
  const double moving = op.cost.bytes / ceilings().copy;
  const double multiplying = std::isnan(ceilings().products) ? 0 : op.cost.flops / ceilings().products;
  return moving >= multiplying ? fmt::format("{:.0f} % of copies", 100 * moving / op.seconds)
                               : fmt::format("{:.0f} % of products", 100 * multiplying / op.seconds);
}

// Measured, said, and kept for everyone who computes on this card.
void settleCrossover() {
  const engine::verify::CardCrossover found = engine::verify::measureCrossover();
  print("products of several rows are faster on tensor cores:\n");
  for (const kernels::DType dtype : cuda::MatmulCrossover::kTypes) {
    const std::int64_t rows = found.measured.rows(dtype);
    print(fmt::format("  {}: {} (estimated: {})\n", kernels::dtypeName(dtype),
                      rows > found.kMostRows ? fmt::format("not up to {} rows", found.kMostRows)
                                             : fmt::format("from {} rows on", rows),
                      found.estimated.rows(dtype)));
  }
  try {
    engine::keepCrossover(engine::cacheFolder(), found.backend, found.measured);
    print("kept: this card's products go by it from now on\n");
  } catch (const engine::Error& error) {
    print(fmt::format("not kept, estimates stay in use: {}\n", error.what()));
  }
  flushOutput();
}

}  // namespace

bool printDevices() {
  const cuda::DeviceList found = cuda::listDevices();
  for (const cuda::Device& device : found.devices) {
    print(fmt::format("cuda: {}, capability {}.{}, {:.1f} GiB\n", device.name, device.majorCapability,
                      device.minorCapability, double(device.totalMemory) / kGiB));
  }
  if (found.devices.empty()) {
    print(found.present > 0
              ? fmt::format("cuda: {} devices, none runs this program ({})\n", found.present, found.reason)
              : fmt::format("cuda: no device ({})\n", found.reason));
  } else {
    const std::string version = driverVersion();
    print(fmt::format("driver: {}{}CUDA {}, this program's {}\n", version, version.empty() ? "" : ", ",
                      cudaVersion(found.driver), cudaVersion(found.runtime)));
  }
  flushOutput();
  return !found.devices.empty();
}

void printCardCeilings() {
  print(fmt::format("copies: {:.0f} GB/s, bytes read and bytes written\n", ceilings().copy / 1e9));
  const double products = ceilings().products;
  print(std::isnan(products) ? fmt::format("bf16 products: not measured ({})\n", ceilings().whyNoProducts)
                             : fmt::format("bf16 products: {:.0f} TFLOP/s\n", products / 1e12));
  flushOutput();
}

void printCardTimes() {
  print("times at the widths of RecurrentGemma 9B (a token; chunks of 2048):\n");
  for (const engine::verify::CardTime& op : engine::verify::timeCardOps()) {
    print(fmt::format("  {}: {:.1f} us, {:.0f} GB/s, {:.1f} TFLOP/s, {}\n", op.name, 1e6 * op.seconds,
                      op.cost.bytes / op.seconds / 1e9, op.cost.flops / op.seconds / 1e12, shareOf(op)));
    flushOutput();
  }
  settleCrossover();
}

}  // namespace eyrie::app
