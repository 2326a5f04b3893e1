#include "tests/kernels/cuda/cuda_test.h"
#include "tests/kernels/rg_lru_data.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

struct Result {
  std::vector<float> out, state;
  std::vector<std::vector<float>> taps;
};

// Which way the scan goes: `run` is reference::rgLru or cuda::rgLru.
template <class Run>
Result scanned(const RgLruData& data, bool starts, Run run, bool tapped = false,
               const RgLruOverrides* overrides = nullptr) {
  Result result{std::vector<float>(data.x.size(), NAN), data.state,
                std::vector<std::vector<float>>(6, std::vector<float>(tapped ? data.x.size() : 0, NAN))};
  RgLruArgs args = argsOf(data, result.state, result.out, starts);
  args.overrides = overrides;
  auto& taps = result.taps;
  if (tapped)
    args.taps = {taps[0].data(), taps[1].data(), taps[2].data(),
                 taps[3].data(), taps[4].data(), taps[5].data()};
  run(args);
  return result;
}

void plainly(const RgLruArgs& args) {
  reference::rgLru(args);
}

void onTheCard(const RgLruArgs& args) {
  cuda::rgLru(args, nullptr);
}

// What each array must agree to within.
void verifySame(const Result& actual, const Result& expected, double bound, const std::string& setup) {
  EYRIE_VERIFY_CLOSE(actual.out, expected.out, bound, setup);
  EYRIE_VERIFY_CLOSE(actual.state, expected.state, bound, setup + " state");
  for (std::size_t i = 0; i < expected.taps.size(); ++i)
    EYRIE_VERIFY_CLOSE(actual.taps[i], expected.taps[i], bound, setup + " tap " + std::to_string(i));
}

}  // namespace

class CudaRgLruTest : public QObject {
  Q_OBJECT

 private slots:
  void anyLengthMatchesReference();
  void tapsMatchReference();
  void overridesMatchReference();
  void overridesOfEveryKindMatchReferenceWithTaps();
  void trap5StateBeforePositionZeroIsIgnored();
  void trap39DecaysNearZeroAndNearOneTogether();
  void trap40LastStateOfAnyLength();
  void trap7And8ImpulseOverEightThousandSteps();
  void sequencesOfAnyLengthShareALaunch();
  void outputGateInTheSamePass();
  void outMayBeAnInput();
  void toleranceRejectsBrokenVariants();
};

void CudaRgLruTest::anyLengthMatchesReference() {
  forEachOrder([](const std::string& order) {
    for (const std::int64_t T : {0, 1, 7, 8, 9, 511, 512, 513, 1100}) {
      const RgLruData data(T, T > 100 ? 5 : 131);
      for (const bool starts : {false, true}) {
        const Result expected = scanned(data, starts, plainly);
        const std::string name = order + ", T " + std::to_string(T) + ", starts " + std::to_string(starts);
        verifySame(scanned(data, starts, onTheCard), expected, toleranceFor("rgLru", 256), name);
      }
    }
  });
}

void CudaRgLruTest::tapsMatchReference() {
  const RgLruData data(140, 20);
  const Result expected = scanned(data, true, plainly, true);
  verifySame(scanned(data, true, onTheCard, true), expected, toleranceFor("rgLru", 256), "tapped");
  QVERIFY(scanned(data, true, onTheCard, true).out == scanned(data, true, onTheCard).out);
}

void CudaRgLruTest::overridesMatchReference() {
  const RgLruData data(150, 12);
  std::vector<float> scale(12, 1.0F), offset(12, 0.0F), one(12, 1.0F), zero(12, 0.0F), noDecay(12, 0.0F);
  scale[3] = 0.5F;
  offset[4] = 0.1F;
  scale[5] = 0.0F;
  noDecay[6] = -INFINITY;
  const RgLruOverrides overrides{{scale.data(), offset.data()},
                                 {one.data(), zero.data()},
                                 {one.data(), noDecay.data()},
                                 {scale.data(), zero.data()},
                                 {scale.data(), offset.data()}};
  forEachOrder([&](const std::string& order) {
    const Result expected = scanned(data, true, plainly, false, &overrides);
    verifySame(scanned(data, true, onTheCard, false, &overrides), expected, toleranceFor("rgLru", 256),
               order);
  });
}

// Each channel has its own mixture of set, scale and leave alone for gates, decay, multiplier and state;
// larger than 1 where limits cut. Nothing of it fits another channel.
void CudaRgLruTest::overridesOfEveryKindMatchReferenceWithTaps() {
  constexpr std::int64_t kR = 45;
  RgLruData data(270, kR);
  std::vector<std::vector<float>> scale(5, std::vector<float>(kR, 1.0F));
  std::vector<std::vector<float>> offset(5, std::vector<float>(kR, 0.0F));
  constexpr float kScales[] = {1.0F, 0.0F, 0.5F, 1.0F, 3.0F};
  constexpr float kOffsets[5][5] = {{0, 0.3F, 0, 0.2F, 0},
                                    {0, 1.0F, 0, 0.4F, 0},
                                    {0, 0.0F, -0.1F, -INFINITY, 0},
                                    {0, 0.7F, 0, 0.1F, 0},
                                    {0, -0.5F, 0, 0.05F, 0}};
  for (std::size_t r = 0; r < kR; ++r) {
    for (std::size_t kind = 0; kind < 5; ++kind) {
      const std::size_t action = (r / (kind + 1) + kind) % 5;
      scale[kind][r] = kind == 4 && action == 4 ? 0.9F : kScales[action];
      offset[kind][r] = kOffsets[kind][action];
    }
  }
  const auto channels = [&](std::size_t kind) {
    return RgLruOverrides::Channels{scale[kind].data(), offset[kind].data()};
  };
  const RgLruOverrides overrides{channels(0), channels(1), channels(2), channels(3), channels(4)};
  const RgLruOverrides swapped{channels(0), channels(1), channels(2), channels(4), channels(3)};
  for (const bool starts : {false, true}) {
    if (starts) std::fill(data.state.begin(), data.state.end(), NAN);
    Result expected = scanned(data, starts, plainly, true, &overrides);
    Result found = scanned(data, starts, onTheCard, true, &overrides);
    for (Result* result : {&expected, &found}) {
      for (float& log : result->taps[2]) log = std::max(log, -100.0F);  // -infinity where decay is set to 0
    }
    verifySame(found, expected, toleranceFor("rgLru", 16384), "starts " + std::to_string(starts));
    EYRIE_VERIFY_REJECTS(scanned(data, starts, onTheCard, false, &swapped).out, expected.out,
                         toleranceFor("rgLru", 16384), "multiplier's map taken for the state's");
  }
}

void CudaRgLruTest::trap5StateBeforePositionZeroIsIgnored() {
  RgLruData data(130, 9);
  const Result expected = scanned(data, true, plainly);
  std::fill(data.state.begin(), data.state.end(), NAN);
  verifySame(scanned(data, true, onTheCard), expected, toleranceFor("rgLru", 256), "chunk");
}

void CudaRgLruTest::trap39DecaysNearZeroAndNearOneTogether() {
  RgLruData data(600, 33);
  for (std::int64_t at = 0; at < data.T * data.R; ++at)
    data.recurrencePre[asSize(at)] = (at / data.R / 150) % 2 == 0 ? 30.0F : -12.0F;
  for (std::size_t r = 0; r < data.rate.size(); ++r) data.rate[r] = r % 3 == 0 ? 400.0F : 1e-3F;
  const Result expected = scanned(data, false, plainly);
  verifySame(scanned(data, false, onTheCard), expected, 10 * toleranceFor("rgLru", 256), "chunk");
}

void CudaRgLruTest::trap40LastStateOfAnyLength() {
  for (const std::int64_t T : {511, 512, 1023, 1024, 1025, 1027}) {
    const RgLruData data(T, 3);
    const Result expected = scanned(data, false, plainly);
    verifySame(scanned(data, false, onTheCard), expected, toleranceFor("rgLru", 256), std::to_string(T));
  }
}

void CudaRgLruTest::trap7And8ImpulseOverEightThousandSteps() {
  RgLruData data(8192, 3);
  std::fill(data.x.begin() + 3, data.x.end(), 0.0F);
  std::fill(data.recurrencePre.begin(), data.recurrencePre.end(), 30.0F);  // r = 1
  std::fill(data.rate.begin(), data.rate.end(), 1e-4F);                    // a = 0.9999
  const Result expected = scanned(data, true, plainly);
  verifySame(scanned(data, true, onTheCard), expected, toleranceFor("rgLru", 16384), "impulse");
}

void CudaRgLruTest::sequencesOfAnyLengthShareALaunch() {
  // Few sequences and many: blocks of few channels and of many.
  for (const std::size_t N : {3, 128}) {
    const std::int64_t R = 33;
    std::vector<std::int64_t> lengths, before;
    for (std::size_t n = 0; n < N; ++n) {
      lengths.push_back(N == 3 ? 300 * static_cast<std::int64_t>(n) : n % 5 == 4 ? 130 : 1);
      before.push_back(n % 3 == 0 ? 0 : 17);
    }
    const TestSequences sequences(lengths, before);
    const RgLruData data(sequences.T(), R);
    std::vector<std::vector<float>> states;
    std::vector<float*> pointers;
    for (std::size_t n = 0; n < N; ++n) states.push_back(randomVector(R, 90 + static_cast<unsigned>(n)));
    std::vector<std::vector<float>> expectedStates = states;
    for (std::vector<float>& state : states) pointers.push_back(state.data());
    std::vector<float> expected(data.x.size()), out(data.x.size(), NAN), unused;
    for (std::size_t n = 0; n < N; ++n) {
      RgLruArgs args = argsOf(data, expectedStates[n], expected, before[n] == 0);
      args.x += sequences.begin(n) * R;
      args.recurrencePre += sequences.begin(n) * R;
      args.inputPre += sequences.begin(n) * R;
      args.out += sequences.begin(n) * R;
      args.T = lengths[n];
      reference::rgLru(args);
    }
    cuda::RgLruBatchArgs batch;
    batch.rows = argsOf(data, unused, out, false);
    batch.states = pointers.data();
    batch.sequences = sequences.rows();
    batch.sequences.owners = nullptr;
    cuda::rgLru(batch, nullptr);
    EYRIE_VERIFY_CLOSE(out, expected, toleranceFor("rgLru", 256), std::to_string(N));
    for (std::size_t n = 0; n < N; ++n)
      EYRIE_VERIFY_CLOSE(states[n], expectedStates[n], toleranceFor("rgLru", 256), "state");
  }
}

void CudaRgLruTest::outputGateInTheSamePass() {
  const std::int64_t T = 20, R = 11;
  const RgLruData data(T, R);
  const std::vector<float> y = randomVector(T * R, 97);
  const Result expected = scanned(data, true, plainly);
  std::vector<float> gated(y.size()), operand(y.size(), NAN), state = data.state;
  reference::gatedActivation({y.data(), expected.out.data(), T * R, Activation::geluTanh, gated.data()});
  for (const bool alone : {true, false}) {
    std::vector<float> out(y.size(), NAN);
    cuda::RgLruBatchArgs args;
    args.rows = argsOf(data, state, out, true);
    if (alone) args.rows.out = nullptr;
    args.y = y.data();
    args.operand = operand.data();
    cuda::rgLru(args, nullptr);
    EYRIE_VERIFY_CLOSE(operand, gated, toleranceFor("rgLru", 256), "operand");
    if (!alone) EYRIE_VERIFY_CLOSE(out, expected.out, toleranceFor("rgLru", 256), "out");
    for (const DType dtype : {DType::f16, DType::bf16}) {
      std::vector<std::uint16_t> halves(y.size());
      args.operandType = dtype;
      args.operand = halves.data();
      cuda::rgLru(args, nullptr);
      const StoredMatrix rounded = storeMatrix(operand, T, R, dtype);
      for (std::size_t i = 0; i < halves.size(); ++i)
        QCOMPARE(loadAsFloat(halves.data(), dtype, i), rounded.values[i]);
    }
  }
}

void CudaRgLruTest::outMayBeAnInput() {
  const RgLruData data(200, 10);
  const Result expected = scanned(data, true, plainly);
  forEachOrder([&](const std::string& order) {
    for (const int which : {0, 1, 2}) {
      RgLruData copy = data;
      std::vector<float>& target = which == 0 ? copy.x : which == 1 ? copy.recurrencePre : copy.inputPre;
      scanned(copy, true, [&](RgLruArgs args) {
        args.out = target.data();
        onTheCard(args);
      });
      EYRIE_VERIFY_CLOSE(target, expected.out, toleranceFor("rgLru", 256),
                         order + " " + std::to_string(which));
    }
  });
}

void CudaRgLruTest::toleranceRejectsBrokenVariants() {
  const RgLruData data(200, 30);
  const Result expected = scanned(data, false, plainly);
  const double bound = toleranceFor("rgLru", 256);
  EYRIE_VERIFY_REJECTS(scanned(data, true, onTheCard).out, expected.out, bound,
                       "reset at a call's first token");
  RgLruData swapped = data;
  std::swap(swapped.inputPre, swapped.recurrencePre);
  EYRIE_VERIFY_REJECTS(scanned(swapped, false, onTheCard).out, expected.out, bound, "gates swapped");
  const auto forgetsBetweenChunks = [](const RgLruArgs& args) {
    RgLruArgs first = args;
    first.T = 128;
    cuda::rgLru(first, nullptr);
    std::fill_n(args.state, args.R, 0.0F);
    RgLruArgs second = args;
    second.x += 128 * args.R;
    second.recurrencePre += 128 * args.R;
    second.inputPre += 128 * args.R;
    second.out += 128 * args.R;
    second.T -= 128;
    cuda::rgLru(second, nullptr);
  };
  EYRIE_VERIFY_REJECTS(scanned(data, false, forgetsBetweenChunks).out, expected.out, bound, "no carry");
}

QTEST_APPLESS_MAIN(CudaRgLruTest)
#include "rg_lru_test.moc"
