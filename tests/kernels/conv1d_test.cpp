#include "kernels/conv1d.h"

#include "tests/kernels/kernel_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

struct Data {
  std::int64_t T, R, K;
  std::vector<float> x, tail, weight, bias;

  Data(std::int64_t tokens, std::int64_t width, std::int64_t taps)
      : T(tokens),
        R(width),
        K(taps),
        x(randomVector(T * R, 41)),
        tail(randomVector((K - 1) * R, 42)),
        weight(randomVector(K * R, 43)),
        bias(randomVector(R, 44)) {}
};

std::vector<double> exact(const Data& data, bool reversedTaps = false) {
  std::vector<float> all = data.tail;
  all.insert(all.end(), data.x.begin(), data.x.end());
  std::vector<double> out(data.x.size());
  for (std::int64_t t = 0; t < data.T; ++t) {
    for (std::int64_t r = 0; r < data.R; ++r) {
      double sum = data.bias[asSize(r)];
      for (std::int64_t k = 0; k < data.K; ++k) {
        const std::int64_t row = reversedTaps ? data.K - 1 - k : k;
        sum += double{data.weight[asSize(row * data.R + r)]} * all[asSize((t + k) * data.R + r)];
      }
      out[asSize(t * data.R + r)] = sum;
    }
  }
  return out;
}

std::vector<float> expectedTail(const Data& data) {
  std::vector<float> all = data.tail;
  all.insert(all.end(), data.x.begin(), data.x.end());
  return {all.end() - (data.K - 1) * data.R, all.end()};
}

}  // namespace

class Conv1dTest : public QObject {
  Q_OBJECT

 private slots:
  void cpuAndReferenceMatchDoubleAtEveryTail();
  void trap10ImpulseShowsTheTapsInOrder();
  void trap11AnyChunkingGivesTheSameBits();
  void trap12ShorterThanTheKernel();
};

void Conv1dTest::cpuAndReferenceMatchDoubleAtEveryTail() {
  forEachSetup([](ThreadPool& pool, const std::string& setup) {
    for (const std::int64_t R : tailLengths()) {
      for (const std::int64_t K : {1, 2, 4}) {
        const Data data(1 + R % 7, R, K);
        OffsetArray x(data.x, R % 3);
        OffsetArray weight(data.weight, 1);
        OffsetArray bias(data.bias, 3);
        OffsetArray out(std::vector<float>(data.x.size()), 1);
        const std::string name = setup + ", R " + std::to_string(R) + ", K " + std::to_string(K);
        const auto check = [&](auto run, const std::string& label) {
          OffsetArray tail(data.tail, 1);
          run(Conv1dArgs{x.data(), tail.data(), weight.data(), bias.data(), data.T, R, K, out.data()});
          EYRIE_VERIFY_CLOSE(out.values(), exact(data), toleranceFor("conv1d", K), label);
          QCOMPARE(tail.values(), expectedTail(data));
        };
        check([&](const Conv1dArgs& args) { cpu::conv1d(args, pool); }, name);
        check([&](const Conv1dArgs& args) { reference::conv1d(args); }, "reference " + name);
      }
    }
  });
  const Data data(5, 8, 4);
  EYRIE_VERIFY_REJECTS(exact(data, true), exact(data), toleranceFor("conv1d", 4), "taps reversed");
}

void Conv1dTest::trap10ImpulseShowsTheTapsInOrder() {
  const std::vector<float> weight{1, 2, 3, 4};
  const std::vector<float> bias{0};
  const std::vector<float> x{0, 1, 0, 0, 0, 0};
  std::vector<float> tail(3, 0.0F);
  std::vector<float> out(6);
  ThreadPool pool(1);
  cpu::conv1d({x.data(), tail.data(), weight.data(), bias.data(), 6, 1, 4, out.data()}, pool);
  QCOMPARE(out, (std::vector<float>{0, 4, 3, 2, 1, 0}));
}

void Conv1dTest::trap11AnyChunkingGivesTheSameBits() {
  const Data data(13, 70, 4);
  ThreadPool pool(2);
  std::vector<float> whole(data.x.size());
  std::vector<float> wholeTail = data.tail;
  const auto run = [&](std::vector<float>& tail, float* out, std::int64_t from, std::int64_t count) {
    cpu::conv1d({data.x.data() + from * data.R, tail.data(), data.weight.data(), data.bias.data(), count,
                 data.R, data.K, out + from * data.R},
                pool);
  };
  run(wholeTail, whole.data(), 0, data.T);
  for (const std::int64_t chunk : {1, 2, 3, 5}) {
    std::vector<float> out(data.x.size());
    std::vector<float> tail = data.tail;
    for (std::int64_t from = 0; from < data.T; from += chunk) {
      run(tail, out.data(), from, std::min(chunk, data.T - from));
    }
    QCOMPARE(out, whole);
    QCOMPARE(tail, wholeTail);
  }
}

// One and two tokens after a fresh start, then more: the zeros of the left edge stay where they are.
void Conv1dTest::trap12ShorterThanTheKernel() {
  ThreadPool pool(1);
  for (const std::int64_t first : {1, 2, 3}) {
    Data data(6, 9, 4);
    std::fill(data.tail.begin(), data.tail.end(), 0.0F);
    std::vector<float> out(data.x.size());
    std::vector<float> tail = data.tail;
    cpu::conv1d({data.x.data(), tail.data(), data.weight.data(), data.bias.data(), first, 9, 4, out.data()},
                pool);
    cpu::conv1d({data.x.data() + first * 9, tail.data(), data.weight.data(), data.bias.data(), 6 - first, 9,
                 4, out.data() + first * 9},
                pool);
    EYRIE_VERIFY_CLOSE(out, exact(data), toleranceFor("conv1d", 4), "first " + std::to_string(first));
    QCOMPARE(tail, expectedTail(data));
  }
}

QTEST_APPLESS_MAIN(Conv1dTest)
#include "conv1d_test.moc"
