// The emulator tested by kernels that do each thing right, and each thing wrong.
#include <sys/wait.h>
#include <unistd.h>

#include <QTest>
#include <algorithm>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "kernels/cuda/launch.h"
#include "tests/sanitized.h"

using namespace eyrie::kernels::cuda;
namespace emulator = eyrie::emulator;

namespace {

void forEachOrder(const std::function<void()>& body) {
  emulator::useOrder(emulator::Order::forward);
  body();
  emulator::useOrder(emulator::Order::backward);
  body();
  for (const std::uint32_t seed : {1U, 2U, 3U}) {
    emulator::useOrder(emulator::Order::shuffled, seed);
    body();
  }
  emulator::useOrder(emulator::Order::forward);
}

// The message of the error a launch ends in; empty: none.
std::string errorOf(const std::function<void()>& launching) {
  try {
    launching();
  } catch (const emulator::KernelError& error) {
    return error.what();
  }
  return {};
}

__global__ void whoAmI_kernel(int* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] += int(100 * block + thread);
}

template <bool kBarrier>
__global__ void reverse_kernel(int* values) {
  EYRIE_SHARED(int, held, [96]);
  held[threadIdx.x] = values[threadIdx.x];
  if constexpr (kBarrier) __syncthreads();
  values[threadIdx.x] = held[95 - threadIdx.x];
}

__global__ void unwritten_kernel(float* out) {
  EYRIE_SHARED(float, held, [4]);
  EYRIE_DYNAMIC_SHARED(int, more);
  if (threadIdx.x == 0) held[1] = 7.0F;
  __syncthreads();
  out[threadIdx.x] = held[threadIdx.x];
  if (threadIdx.x == 3) out[3] = float(more[0]);
}

__global__ void overrun_kernel(int at) {
  EYRIE_SHARED(int, held, [10]);
  EYRIE_DYNAMIC_SHARED(int, more);
  int* const element = at < 10 ? more + at : held + at;
  *element = 1;
}

__global__ void missingBarrier_kernel() {
  if (threadIdx.x != 5) __syncthreads();
}

__global__ void twoBarriers_kernel() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void shuffles_kernel(unsigned* out) {
  const unsigned lane = threadIdx.x % 32;
  unsigned* mine = out + 8 * threadIdx.x;
  mine[0] = __shfl_sync(kAllLanes, lane, 3);
  mine[1] = __shfl_xor_sync(kAllLanes, lane, 5);
  mine[2] = __shfl_down_sync(kAllLanes, lane, 30);
  mine[3] = __shfl_up_sync(kAllLanes, lane, 30);
  mine[4] = __shfl_xor_sync(kAllLanes, lane, 4, 8);
  mine[5] = __shfl_sync(kAllLanes, lane, 1, 8);
  mine[6] = __ballot_sync(kAllLanes, lane % 3 == 0);
  mine[7] = lane < 16 ? __ballot_sync(0x0000ffffU, 1) : __ballot_sync(0xffff0000U, lane == 20);
}

__global__ void divergentShuffle_kernel(int* out) {
  if (threadIdx.x % 2 == 0) {
    *out += __shfl_sync(kAllLanes, 1, 0);
  } else {
    *out += __shfl_sync(kAllLanes, 2, 0);
  }
}

__global__ void absentLane_kernel() {
  if (threadIdx.x == 7) return;
  __syncwarp();
}

__global__ void outsideMask_kernel() {
  __syncwarp(0x1U);
}

__global__ void silentSource_kernel(int* out) {
  if (threadIdx.x < 16) *out = __shfl_sync(0xffffU, 1, 20);
}

__global__ void count_kernel(int* counter, float* sum, int* last) {
  if (atomicAdd(counter, 1) == int(gridDim.x * blockDim.x) - 1) *last = 1;
  atomicAdd(sum, 0.5F);
  atomicMax(counter + 1, int(blockIdx.x * blockDim.x + threadIdx.x));
}

template <int kGroupsLeft, bool kCommit = true>
__global__ void copied_kernel(const float* in, float* out) {
  EYRIE_SHARED(float, held, [2][4]);
  copyAsync16(held[0], in);
  if constexpr (kCommit) commitCopies();
  copyAsync16(held[1], in + 4);
  if constexpr (kCommit) commitCopies();
  waitForCopies<kGroupsLeft>();
  for (int i = 0; i < 4; ++i) {
    out[i] = held[0][i];
    out[4 + i] = held[1][i];
  }
  waitForCopies<0>();
}

template <bool kSync>
__global__ void rotateBlocks_kernel(int* values) {
  values[blockIdx.x] = int(blockIdx.x);
  if constexpr (kSync) syncGrid();
  const int next = values[(blockIdx.x + 1) % gridDim.x];
  if constexpr (kSync) syncGrid();
  values[blockIdx.x] = next;
}

// Rows of `a` and `b`, 8x8 matrix after matrix, into registers; their product added to `c`, as it lies in
// them.
template <class T>
__global__ void product_kernel(const T* a, const T* b, float* c, unsigned* registers) {
  EYRIE_SHARED(T, held, [2][16 * 16]);
  for (unsigned i = threadIdx.x; i < 256; i += 32) {
    held[0][i] = a[i];
    held[1][i] = b[i];
  }
  __syncwarp();
  const unsigned lane = threadIdx.x;
  unsigned left[4], right[4];
  loadMatrices<false>(left, held[0] + lane % 16 * 16 + lane / 16 * 8);
  loadMatrices<true>(right, held[1] + lane % 16 * 16 + lane / 16 * 8);
  for (unsigned i = 0; i < 4; ++i) {
    registers[8 * lane + i] = left[i];
    registers[8 * lane + 4 + i] = right[i];
  }
  multiplyMatrices<T>(c + 4 * lane, left, right[2], right[3]);
}

__global__ void crookedMatrix_kernel() {
  EYRIE_SHARED(unsigned, held, [256]);
  unsigned to[4];
  loadMatrices<false>(to, held + 1);
}

}  // namespace

class EmulatorTest : public QObject {
  Q_OBJECT

 private slots:
  void everyThreadRunsOnceWithItsIndices();
  void barriersOrderSharedMemory();
  void missingBarrierShowsInSomeOrder();
  void sharedMemoryIsPoisonedForEachBlock();
  void overrunsOfSharedMemoryAreSeen();
  void barrierThatAThreadMissesIsAnError();
  void barriersAtTwoPlacesAreAnError();
  void shufflesAndVotes();
  void divergentCollectivesAreErrors();
  void atomicsCountEveryThread();
  void copiesArriveWhenWaitedForAndNotBefore();
  void copiesNobodyWaitsForAreAnError();
  void gridBarrierJoinsBlocks();
  void matricesLieInLanesAsPtxSays();
  void impossibleLaunchesAreErrors();
};

void EmulatorTest::everyThreadRunsOnceWithItsIndices() {
  forEachOrder([] {
    std::vector<int> out(24 * 30);
    launch(whoAmI_kernel, {{2, 3, 4}, {5, 3, 2}}, nullptr, out.data());
    for (std::size_t i = 0; i < out.size(); ++i) QCOMPARE(out[i], int(100 * (i / 30) + i % 30));
  });
}

void EmulatorTest::barriersOrderSharedMemory() {
  forEachOrder([] {
    std::vector<int> values(96);
    std::iota(values.begin(), values.end(), 0);
    launch(reverse_kernel<true>, {{1}, {96}}, nullptr, values.data());
    for (int i = 0; i < 96; ++i) QCOMPARE(values[std::size_t(i)], 95 - i);
  });
}

void EmulatorTest::missingBarrierShowsInSomeOrder() {
  std::set<std::vector<int>> results;
  forEachOrder([&] {
    std::vector<int> values(96);
    std::iota(values.begin(), values.end(), 0);
    launch(reverse_kernel<false>, {{1}, {96}}, nullptr, values.data());
    results.insert(values);
    QVERIFY2(std::find(values.begin(), values.end(), -1) != values.end(), "the race read no poison");
  });
  QVERIFY2(results.size() > 2, "the order of the lanes changed nothing");
}

void EmulatorTest::sharedMemoryIsPoisonedForEachBlock() {
  for (int repeat = 0; repeat < 2; ++repeat) {
    std::vector<float> out(4);
    launch(unwritten_kernel, {{3}, {4}, sizeof(int)}, nullptr, out.data());
    QVERIFY(std::isnan(out[0]));
    QCOMPARE(out[1], 7.0F);
    QCOMPARE(out[3], -1.0F);
  }
}

void EmulatorTest::overrunsOfSharedMemoryAreSeen() {
#if defined(__SANITIZE_ADDRESS__)
  // The sanitizer ends the process, so a child has to die.
  for (const int at : {10, 4}) {
    const pid_t child = fork();
    QVERIFY(child >= 0);
    if (child == 0) {
      close(2);
      launch(overrun_kernel, {{1}, {1}, 4 * sizeof(int)}, nullptr, at);
      _exit(0);
    }
    int status = 0;
    QCOMPARE(waitpid(child, &status, 0), child);
    QVERIFY2(!WIFEXITED(status) || WEXITSTATUS(status) != 0, "an overrun went unseen");
  }
#else
  launch(overrun_kernel, {{1}, {1}, 4 * sizeof(int)}, nullptr, 3);  // within
  QSKIP("needs the address sanitizer");
#endif
}

void EmulatorTest::barrierThatAThreadMissesIsAnError() {
  forEachOrder([] {
    const std::string error = errorOf([] { launch(missingBarrier_kernel, {{2}, {40}}, nullptr); });
    QVERIFY2(error.find("block (") != std::string::npos &&
                 error.find("waits at __syncthreads") != std::string::npos &&
                 error.find("thread (5, 0, 0) has ended") != std::string::npos,
             error.c_str());
  });
  barriersOrderSharedMemory();  // and nothing is left of it
}

void EmulatorTest::barriersAtTwoPlacesAreAnError() {
  const std::string error = errorOf([] { launch(twoBarriers_kernel, {{1}, {64}}, nullptr); });
  QVERIFY2(error.find("thread (32, 0, 0): waits at the barrier") != std::string::npos, error.c_str());
}

void EmulatorTest::shufflesAndVotes() {
  forEachOrder([] {
    std::vector<unsigned> out(64 * 8);
    launch(shuffles_kernel, {{1}, {64}}, nullptr, out.data());
    for (unsigned thread = 0; thread < 64; ++thread) {
      const unsigned lane = thread % 32;
      const std::vector<unsigned> expected{3,
                                           lane ^ 5U,
                                           lane + 30 < 32 ? lane + 30 : lane,
                                           lane >= 30 ? lane - 30 : lane,
                                           lane ^ 4U,
                                           lane / 8 * 8 + 1,
                                           0x49249249U,
                                           lane < 16 ? 0x0000ffffU : 0x00100000U};
      QVERIFY(std::equal(expected.begin(), expected.end(), out.begin() + 8 * thread));
    }
  });
}

void EmulatorTest::divergentCollectivesAreErrors() {
  forEachOrder([] {
    int out = 0;
    const auto says = [](const std::string& error, const char* what) {
      QVERIFY2(error.find(what) != std::string::npos, error.c_str());
    };
    says(errorOf([&] { launch(divergentShuffle_kernel, {{1}, {32}}, nullptr, &out); }), "while other lanes");
    says(errorOf([] { launch(absentLane_kernel, {{1}, {32}}, nullptr); }), "(7, 0, 0) has ended");
    says(errorOf([] { launch(outsideMask_kernel, {{1}, {32}}, nullptr); }), "mask leaves it out");
    says(errorOf([&] {
           launch(silentSource_kernel, {{1}, {32}}, nullptr, &out);
         }),
         "lane 20, which takes no part");
  });
}

void EmulatorTest::atomicsCountEveryThread() {
  forEachOrder([] {
    std::vector<int> counter(2);
    float sum = 0;
    int last = 0;
    launch(count_kernel, {{7}, {33}}, nullptr, counter.data(), &sum, &last);
    QCOMPARE(counter[0], 7 * 33);
    QCOMPARE(counter[1], 7 * 33 - 1);
    QCOMPARE(sum, 0.5F * 7 * 33);
    QCOMPARE(last, 1);
  });
}

void EmulatorTest::copiesArriveWhenWaitedForAndNotBefore() {
  alignas(16) float in[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<float> out(8);
  launch(copied_kernel<0>, {{1}, {1}}, nullptr, in, out.data());
  for (std::size_t i = 0; i < 8; ++i) QCOMPARE(out[i], in[i]);
  launch(copied_kernel<1>, {{1}, {1}}, nullptr, in, out.data());
  QCOMPARE(out[3], 4.0F);
  QVERIFY2(std::isnan(out[4]), "a copy arrived before it was waited for");
}

void EmulatorTest::copiesNobodyWaitsForAreAnError() {
  alignas(16) float in[8] = {};
  std::vector<float> out(8);
  const auto uncommitted = copied_kernel<0, false>;
  const std::string error = errorOf([&] { launch(uncommitted, {{1}, {1}}, nullptr, in, out.data()); });
  QVERIFY2(error.find("never waited for") != std::string::npos, error.c_str());
  const std::string crooked = errorOf([&] {
    launch(copied_kernel<0>, {{1}, {1}}, nullptr, in + 1, out.data());
  });
  QVERIFY2(crooked.find("not aligned") != std::string::npos, crooked.c_str());
}

void EmulatorTest::gridBarrierJoinsBlocks() {
  forEachOrder([] {
    std::vector<int> values(5);
    launch(rotateBlocks_kernel<true>, {{5}, {1}, 0, true}, nullptr, values.data());
    QCOMPARE(values, (std::vector<int>{1, 2, 3, 4, 0}));
  });
  std::vector<int> values(5);
  const std::string error = errorOf([&] {
    launch(rotateBlocks_kernel<true>, {{5}, {1}}, nullptr, values.data());
  });
  QVERIFY2(error.find("not cooperative") != std::string::npos, error.c_str());
}

// What PTX says of ldmatrix and mma.m16n8k16, lane by lane, told apart by elements that all differ.
void EmulatorTest::matricesLieInLanesAsPtxSays() {
  forEachOrder([] {
    std::vector<__half> a(256), b(256);
    for (std::size_t i = 0; i < 256; ++i) {
      a[i] = __float2half(float(i));
      b[i] = __float2half(float(i % 16) - float(i / 16) / 4.0F);
    }
    std::vector<float> c(128, 1.0F);
    std::vector<unsigned> registers(256);
    launch(product_kernel<__half>, {{1}, {32}}, nullptr, a.data(), b.data(), c.data(), registers.data());
    for (std::size_t lane = 0; lane < 32; ++lane) {
      const std::size_t group = lane / 4, pair = 2 * (lane % 4);
      for (std::size_t high = 0; high < 2; ++high) {
        const auto held = [&](std::size_t i) { return std::uint16_t(registers[8 * lane + i] >> 16 * high); };
        for (std::size_t i = 0; i < 4; ++i) {
          QCOMPARE(held(i), a[(group + i % 2 * 8) * 16 + i / 2 * 8 + pair + high].bits);
          QCOMPARE(held(4 + i), b[(i % 2 * 8 + pair + high) * 16 + i / 2 * 8 + group].bits);
        }
      }
      for (std::size_t i = 0; i < 4; ++i) {
        const std::size_t row = group + i / 2 * 8, col = 8 + pair + i % 2;
        float expected = 1.0F;
        for (std::size_t k = 0; k < 16; ++k)
          expected += __half2float(a[row * 16 + k]) * __half2float(b[k * 16 + col]);
        QCOMPARE(c[4 * lane + i], expected);
      }
    }
  });
  const std::string error = errorOf([] { launch(crookedMatrix_kernel, {{1}, {32}}, nullptr); });
  QVERIFY2(error.find("not 16-byte aligned") != std::string::npos, error.c_str());
}

void EmulatorTest::impossibleLaunchesAreErrors() {
  QVERIFY(!errorOf([] { launch(missingBarrier_kernel, {{1}, {1025}}, nullptr); }).empty());
  QVERIFY(!errorOf([] { launch(missingBarrier_kernel, {{0}, {32}}, nullptr); }).empty());
  QVERIFY(!errorOf([] { launch(missingBarrier_kernel, {{1}, {32}, 300 * 1024}, nullptr); }).empty());
}

QTEST_APPLESS_MAIN(EmulatorTest)
#include "emulator_test.moc"
