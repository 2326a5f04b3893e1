#include "engine/verify/card_ops.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <deque>

#include "engine/verify/card_clock.h"
#include "kernels/cuda/device.h"

namespace eyrie::engine::verify {

namespace cuda = kernels::cuda;
using kernels::DType;

Values normed(const Twin<float>& x, const Twin<float>& weight, std::int64_t T) {
  Values all(asSize(x.count));
  kernels::reference::rmsNorm({x.host, weight.host, kNormEps, T, x.count / T, all.data()});
  return all;
}

Values product(const float* x, const kernels::MatrixView& weight, const float* bias, std::int64_t T) {
  Values out(asSize(T * weight.rows));
  kernels::reference::linear({x, weight, bias, T, out.data()});
  return out;
}

std::function<Values()> reader(std::vector<Twin<float>> arrays) {
  return [arrays = std::move(arrays)] {
    Values all;
    for (const Twin<float>& array : arrays) all = joined({all, readCard(array.card, array.count)});
    return all;
  };
}

kernels::OpCost sum(std::initializer_list<kernels::OpCost> costs) {
  kernels::OpCost all;
  for (const kernels::OpCost& cost : costs) {
    all.bytes += cost.bytes;
    all.flops += cost.flops;
  }
  return all;
}

Values joined(std::initializer_list<Values> parts) {
  Values all;
  for (const Values& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

CardShape largeCardShape(std::int64_t divisor) {
  return {.T = 2048 / divisor,
          .N = 1,
          .D = 4096 / divisor,
          .R = 4096 / divisor,
          .G = 16,
          .H = 16,
          .kvHeads = 1,
          .Dh = 256 / divisor,
          .E = 12288 / divisor,
          .V = 256000 / divisor,
          .older = 2048 / divisor,
          .position = 4096};
}

cuda::DeviceFacts takeCard() {
  const cuda::DeviceList found = cuda::listDevices(1);
  if (found.devices.empty())
    throw Error(ErrorCode::unsupported, fmt::format("cuda: no device ({})", found.reason));
  cuda::useDevice(found.devices.front().index);
  return cuda::deviceFacts();
}

std::int64_t copiesBeyondCache(double bytes, std::int64_t divisor) {
  constexpr double kTogether = 128.0 * 1024 * 1024;  // an H200's cache holds 60 MB
  constexpr double kMost = 24;  // each takes time to make; of what is that small the start counts
  return static_cast<std::int64_t>(std::min(std::ceil(kTogether / bytes), divisor == 1 ? kMost : 2.0));
}

double secondsOnCard(const std::function<void(cuda::Stream)>& enqueue, std::int64_t kinds) {
  constexpr double kLongEnough = 0.01;
  constexpr std::int64_t kMostTimes = 1024;
  constexpr std::size_t kSamples = 5;
  const cuda::OwnedStream stream;
  const auto secondsOf = [&](std::int64_t times) {
    const auto start = std::chrono::steady_clock::now();
    for (std::int64_t i = 0; i < times; ++i) enqueue(stream);
    stream.wait();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  secondsOf(kinds);  // what is loaded or chosen at the first use
  std::int64_t times = 1;
  while (times < kMostTimes && secondsOf(times) < kLongEnough) times *= 4;
  std::array<double, kSamples> samples{};
  for (double& sample : samples) sample = secondsOf(times) / static_cast<double>(times);
  std::nth_element(samples.begin(), samples.begin() + kSamples / 2, samples.end());
  return samples[kSamples / 2];
}

namespace {

// Odd, so that every op has a rest.
constexpr CardShape kSmall{.T = 35,
                           .N = 3,
                           .D = 93,
                           .R = 66,
                           .G = 3,
                           .H = 4,
                           .kvHeads = 2,
                           .Dh = 22,
                           .E = 67,
                           .V = 5003,
                           .older = 8,
                           .position = 21};

std::vector<MakeCase> allCases(bool all, const cuda::DeviceFacts& card) {
  std::vector<MakeCase> cases = cardProductCases(all);
  for (const auto& more : {cardStepCases(all), cardTapCases(), cardHeadCases(),
                           cardChunkCases(all, card.capability >= cuda::kTensorAttentionCapability)})
    cases.insert(cases.end(), more.begin(), more.end());
  return cases;
}

// Once, and what it wrote.
CheckResult compared(const CardCase& op) {
  const cuda::OwnedStream stream;
  op.enqueue(stream);
  stream.wait();
  return compareArrays(op.name, op.found(), op.expected(), op.tolerance);
}

}  // namespace

std::vector<CheckResult> checkCardOps() {
  return onCard([](const cuda::DeviceFacts& card) {
    std::vector<CheckResult> results;
    for (const MakeCase& make : allCases(true, card)) {
      CardMemory memory(kCardSeed);
      const CardCase op = make(memory, kSmall, false);
      results.push_back(compared(op));
      CardMemory same(kCardSeed);
      const CheckResult broken = compared(make(same, kSmall, true));
      results.push_back(mustReject(op.name + " · rejects a wrong argument", broken));
    }
    return results;
  });
}

std::vector<CardTime> timeCardOps(std::int64_t divisor) {
  return onCard([&](const cuda::DeviceFacts& card) {
    std::vector<CardTime> times;
    for (const MakeCase& make : allCases(false, card)) {
      std::deque<CardMemory> memories;
      std::vector<CardCase> copies;
      do {
        copies.push_back(make(memories.emplace_back(kCardSeed), largeCardShape(divisor), false));
      } while (std::ssize(copies) < copiesBeyondCache(copies[0].cost.bytes, divisor));
      std::size_t next = 0;
      const double seconds = secondsOnCard(
          [&](cuda::Stream stream) { copies[next++ % copies.size()].enqueue(stream); }, std::ssize(copies));
      times.push_back({copies[0].name, seconds, copies[0].cost});
    }
    return times;
  });
}

}  // namespace eyrie::engine::verify
