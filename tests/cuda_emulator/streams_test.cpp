// The emulator's streams: launches that begin early, graphs, and what may not be done while one is captured.
#include <QTest>
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/runtime.h"
#include "tests/cuda_emulator/card.h"

using namespace eyrie::kernels::cuda;
namespace emulator = eyrie::emulator;

namespace {

constexpr unsigned kBlocks = 6;
constexpr unsigned kThreads = 64;
constexpr std::size_t kCount = kBlocks * kThreads;

Shape shapeOf(bool early) {
  Shape shape{{kBlocks}, {kThreads}};
  shape.early = early;
  return shape;
}

enum class TooSoon { nothing, reads, writes };

// out = in + 1. Of an even number of threads every second one does too soon what the test says.
template <TooSoon kWhat>
__global__ void addOne_kernel(const float* in, float* out) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  float value = in[i];
  if constexpr (kWhat == TooSoon::writes) {
    if (i % 2 == 0) out[i] = -1.0F;
  }
  letNextBegin();
  waitForPrior();
  if (kWhat != TooSoon::reads || i % 2 != 0) value = in[i];
  out[i] = value + 1.0F;
}

__global__ void neverWaits_kernel(float* out) {
  letNextBegin();
  out[blockIdx.x * blockDim.x + threadIdx.x] = 1.0F;
}

// Threads without work end; one of the first block's does wait.
__global__ void oneWaits_kernel(const float* in, float* out) {
  if (blockIdx.x > 0 || threadIdx.x > 0) return;
  waitForPrior();
  *out = *in;
}

__global__ void failsEarly_kernel() {
  if (threadIdx.x == 0) __syncwarp(0x2U);
  waitForPrior();
}

__global__ void sharing_kernel() {
  EYRIE_SHARED(float, held, [1024]);
  held[threadIdx.x] = 0;
}

// Of what `doing` throws; empty: nothing.
template <class Problem>
std::string problemOf(const std::function<void()>& doing) {
  try {
    doing();
  } catch (const Problem& problem) {
    return problem.what();
  }
  return {};
}

bool says(const std::string& problem, const char* what) {
  return problem.find(what) != std::string::npos;
}

// Arrays of a stream's launches, each out of the one before: the first is zeros, the others NaN.
struct Arrays {
  std::vector<std::vector<float>> at;
  OwnedStream stream;

  explicit Arrays(std::size_t count)
      : at(count, std::vector<float>(kCount, std::numeric_limits<float>::quiet_NaN())) {
    at[0].assign(kCount, 0.0F);
  }
  template <TooSoon kWhat = TooSoon::nothing>
  void addOne(std::size_t from, std::size_t to, bool early = true) {
    launch(addOne_kernel<kWhat>, shapeOf(early), stream, at[from].data(), at[to].data());
  }
  // Which values an array has, in the order of their first.
  std::vector<float> valuesOf(std::size_t i) const {
    std::vector<float> values;
    for (const float value : at[i]) {
      const auto same = [&](float other) {
        return other == value || (std::isnan(other) && std::isnan(value));
      };
      if (std::none_of(values.begin(), values.end(), same)) values.push_back(value);
    }
    return values;
  }
  bool hasNan(std::size_t i) const {
    return std::any_of(at[i].begin(), at[i].end(), [](float value) { return std::isnan(value); });
  }
};

using Call = std::function<void(const OwnedStream&)>;

// Gives back one of several pieces of memory, another one each time.
template <class Memory>
Call freeingOne() {
  auto pieces = std::make_shared<std::vector<Memory>>();
  for (int i = 0; i < 2; ++i) pieces->emplace_back(4);
  return [pieces](const OwnedStream&) { pieces->pop_back(); };
}

void forEachOrder(const std::function<void()>& body) {
  emulator::useOrder(emulator::Order::forward);
  body();
  emulator::useOrder(emulator::Order::backward);
  body();
  emulator::useOrder(emulator::Order::shuffled, 1);
  body();
  emulator::useOrder(emulator::Order::forward);
}

}  // namespace

class StreamsTest : public QObject {
  Q_OBJECT

 private slots:
  void cleanup() { emulator::useCapability(90); }
  void earlyLaunchesThatWaitAreInOrder();
  void whatIsReadTooSoonIsNotThereYet();
  void whatIsWrittenTooSoonShowsBefore();
  void aLaunchThatNeverWaitsIsAnError();
  void oneThreadThatWaitsIsEnough();
  void faultsAreThoseOfTheirTurn();
  void earlyLaunchesOfAGraph();
  void olderCardsBeginInOrder();
  void capturesRefuse_data();
  void capturesRefuse();
  void capturesTakeCopiesOfPinnedMemory();
  void sharedMemoryIsTheCards();
};

// Seven in a row, over two arrays by turns: what the next but one writes, the last has read.
void StreamsTest::earlyLaunchesThatWaitAreInOrder() {
  forEachOrder([] {
    Arrays arrays(2);
    for (std::size_t i = 0; i < 7; ++i) arrays.addOne(i % 2, 1 - i % 2);
    arrays.stream.wait();
    QCOMPARE(arrays.valuesOf(1), std::vector{7.0F});
  });
}

void StreamsTest::whatIsReadTooSoonIsNotThereYet() {
  for (const bool firstIsEarly : {false, true}) {
    forEachOrder([&] {
      Arrays arrays(4);
      arrays.addOne(0, 1, firstIsEarly);
      arrays.addOne<TooSoon::reads>(1, 2);
      arrays.addOne(2, 3);
      arrays.stream.wait();
      QCOMPARE(arrays.valuesOf(1), std::vector{1.0F});
      QVERIFY(arrays.hasNan(2) && arrays.hasNan(3));
    });
  }
}

// Of the launch before, and of the one before that.
void StreamsTest::whatIsWrittenTooSoonShowsBefore() {
  for (const std::size_t between : {0U, 1U}) {
    forEachOrder([&] {
      Arrays arrays(4);
      arrays.addOne(0, 1, false);
      for (std::size_t i = 0; i < between; ++i) arrays.addOne(1, 2);
      arrays.addOne<TooSoon::writes>(1, 0);
      arrays.stream.wait();
      const std::vector<float> seen = arrays.valuesOf(1);
      QVERIFY(std::find(seen.begin(), seen.end(), 0.0F) != seen.end());
    });
  }
}

void StreamsTest::aLaunchThatNeverWaitsIsAnError() {
  forEachOrder([] {
    Arrays arrays(2);
    arrays.addOne(0, 1);
    launch(neverWaits_kernel, shapeOf(true), arrays.stream, arrays.at[0].data());
    const std::string problem = problemOf<emulator::KernelError>([&] { arrays.stream.wait(); });
    QVERIFY2(says(problem, "neverWaits_kernel: launched early, but no thread"), problem.c_str());
    launch(neverWaits_kernel, shapeOf(false), arrays.stream, arrays.at[0].data());
    arrays.stream.wait();
  });
  std::vector<float> out(kCount);
  QVERIFY(!problemOf<emulator::KernelError>([&] {
             launch(neverWaits_kernel, shapeOf(true), nullptr, out.data());
           }).empty());
}

void StreamsTest::oneThreadThatWaitsIsEnough() {
  forEachOrder([] {
    Arrays arrays(3);
    arrays.addOne(0, 1);
    launch(oneWaits_kernel, shapeOf(true), arrays.stream, arrays.at[1].data(), arrays.at[2].data());
    arrays.stream.wait();
    QCOMPARE(arrays.at[2][0], 1.0F);
  });
}

void StreamsTest::faultsAreThoseOfTheirTurn() {
  Arrays arrays(3);
  Event first;
  arrays.addOne(0, 1);
  first.record(arrays.stream);
  launch(failsEarly_kernel, shapeOf(true), arrays.stream);
  arrays.addOne(1, 2);
  first.wait();
  QCOMPARE(arrays.valuesOf(1), std::vector{1.0F});
  const std::string problem = problemOf<emulator::KernelError>([&] { arrays.stream.wait(); });
  QVERIFY2(says(problem, "failsEarly_kernel: block (0, 0, 0), thread (0, 0, 0)"), problem.c_str());
  arrays.stream.wait();
  QCOMPARE(arrays.valuesOf(2), std::vector{2.0F});
}

void StreamsTest::earlyLaunchesOfAGraph() {
  forEachOrder([] {
    Arrays arrays(3);
    const Graph right(arrays.stream, [&] {
      arrays.addOne(0, 1);
      arrays.addOne(1, 0);
    });
    for (int i = 0; i < 3; ++i) right.launch(arrays.stream);
    arrays.stream.wait();
    QCOMPARE(arrays.valuesOf(0), std::vector{6.0F});
    const Graph wrong(arrays.stream, [&] {
      arrays.addOne(0, 1);
      arrays.addOne<TooSoon::reads>(1, 2);
    });
    arrays.at[1].assign(kCount, std::numeric_limits<float>::quiet_NaN());
    wrong.launch(arrays.stream);
    arrays.stream.wait();
    QVERIFY(arrays.hasNan(2));
  });
}

void StreamsTest::olderCardsBeginInOrder() {
  emulator::useCapability(89);
  Arrays arrays(3);
  arrays.addOne(0, 1);
  arrays.addOne<TooSoon::reads>(1, 2);
  launch(neverWaits_kernel, shapeOf(true), arrays.stream, arrays.at[0].data());
  arrays.stream.wait();
  QCOMPARE(arrays.valuesOf(2), std::vector{2.0F});
}

void StreamsTest::capturesRefuse_data() {
  QTest::addColumn<Call>("call");
  const auto row = [](const char* name, const Call& call) { QTest::newRow(name) << call; };
  static Event event;
  static std::vector<float> pageable(4);
  row("waiting for a stream", [](const OwnedStream& stream) { stream.wait(); });
  row("waiting for an event", [](const OwnedStream&) { event.wait(); });
  row("recording an event", [](const OwnedStream& stream) { event.record(stream); });
  row("allocating device memory", [](const OwnedStream&) { DeviceMemory(4); });
  row("allocating pinned memory", [](const OwnedStream&) { PinnedMemory(4); });
  row("freeing device memory", freeingOne<DeviceMemory>());
  row("freeing pinned memory", freeingOne<PinnedMemory>());
  row("memory that is not pinned",
      [](const OwnedStream& stream) { copyToDevice(pageable.data(), pageable.data(), 16, stream); });
  row("to memory that is not pinned",
      [](const OwnedStream& stream) { copyToHost(pageable.data(), pageable.data(), 16, stream); });
  row("capturing another graph", [](const OwnedStream& stream) { Graph(stream, [] {}); });
}

void StreamsTest::capturesRefuse() {
  QFETCH(Call, call);
  const char* const name = QTest::currentDataTag();
  Arrays arrays(2);
  const std::string problem =
      problemOf<CudaError>([&] { Graph(arrays.stream, [&] { call(arrays.stream); }); });
  QVERIFY2(says(problem, name), problem.c_str());
  const std::string swallowed = problemOf<CudaError>(
      [&] { Graph(arrays.stream, [&] { problemOf<CudaError>([&] { call(arrays.stream); }); }); });
  QVERIFY2(says(swallowed, name), "the graph is none any more");
  arrays.addOne(0, 1);
  arrays.stream.wait();
  QCOMPARE(arrays.valuesOf(1), std::vector{1.0F});  // and nothing is left of it
}

void StreamsTest::capturesTakeCopiesOfPinnedMemory() {
  const PinnedMemory pinned(4 * sizeof(float));
  auto* const values = reinterpret_cast<float*>(pinned.data());
  std::vector<float> onCard(4);
  const OwnedStream stream;
  const Graph graph(stream, [&] {
    copyToDevice(onCard.data(), values + 1, sizeof(float), stream);
    copyToHost(values + 3, onCard.data(), sizeof(float), stream);
  });
  values[1] = 5;
  graph.launch(stream);
  stream.wait();
  QCOMPARE(values[3], 5.0F);
  const auto beyond = problemOf<CudaError>(
      [&] { Graph(stream, [&] { copyToDevice(onCard.data(), values + 3, 2 * sizeof(float), stream); }); });
  QVERIFY(says(beyond, "not pinned"));
}

void StreamsTest::sharedMemoryIsTheCards() {
  const std::size_t held = 1024 * sizeof(float);
  for (const auto& [capability, most] :
       {std::pair{75, 64}, {80, 163}, {86, 99}, {89, 99}, {90, 227}, {120, 99}}) {
    emulator::useCapability(capability);
    const std::size_t left = std::size_t(most) * 1024 - held;
    launch(sharing_kernel, {{1}, {32}, left}, nullptr);
    const std::string problem = problemOf<emulator::KernelError>([&] {
      launch(sharing_kernel, {{1}, {32}, left + 1}, nullptr);
    });
    QVERIFY2(says(problem, "sharing_kernel: ") && says(problem, "bytes of shared memory, of which a card of"),
             problem.c_str());
  }
}

QTEST_APPLESS_MAIN(StreamsTest)
#include "streams_test.moc"
