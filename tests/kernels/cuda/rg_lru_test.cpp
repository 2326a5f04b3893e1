#include "tests/kernels/cuda/cuda_test.h"
#include "tests/kernels/rg_lru_data.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

struct Result {
  std::vector<float> out, state;
  std::vector<std::vector<float>> taps;
};

// Which way the scan goes: `run` is reference::rgLru or cuda::rgLru with or without a workspace.
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

void inOrder(const RgLruArgs& args) {
  cuda::rgLru(args, nullptr, nullptr);
}

void inTimeChunks(const RgLruArgs& args) {
  std::vector<float> workspace(asSize(cuda::rgLruWorkspace(args.T, args.R)), NAN);
  cuda::rgLru(args, workspace.data(), nullptr);
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
  void bothFormsMatchReference();
  void tapsMatchReference();
  void overridesMatchReference();
  void overridesOfEveryKindMatchReferenceWithTaps();
  void trap5StateBeforePositionZeroIsIgnored();
  void trap39DecaysNearZeroAndNearOneTogether();
  void trap40LastStateOfAnyLength();
  void outMayBeAnInput();
  void toleranceRejectsBrokenVariants();
};

void CudaRgLruTest::bothFormsMatchReference() {
  forEachOrder([](const std::string& order) {
    for (const std::int64_t T : {0, 1, 7, 8, 9, 128, 129, 300}) {
      const RgLruData data(T, T > 100 ? 5 : 131);
      for (const bool starts : {false, true}) {
        const Result expected = scanned(data, starts, plainly);
        const std::string name = order + ", T " + std::to_string(T) + ", starts " + std::to_string(starts);
        verifySame(scanned(data, starts, inOrder), expected, toleranceFor("rgLru", 256), name);
        verifySame(scanned(data, starts, inTimeChunks), expected, toleranceFor("rgLru", 256),
                   name + " chunked");
      }
    }
  });
}

void CudaRgLruTest::tapsMatchReference() {
  const RgLruData data(140, 20);
  const Result expected = scanned(data, true, plainly, true);
  verifySame(scanned(data, true, inOrder, true), expected, toleranceFor("rgLru", 256), "in order");
  verifySame(scanned(data, true, inTimeChunks, true), expected, toleranceFor("rgLru", 256), "chunked");
  QVERIFY(scanned(data, true, inTimeChunks, true).out == scanned(data, true, inTimeChunks).out);
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
    verifySame(scanned(data, true, inOrder, false, &overrides), expected, toleranceFor("rgLru", 256), order);
    verifySame(scanned(data, true, inTimeChunks, false, &overrides), expected, toleranceFor("rgLru", 256),
               order + " chunked");
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
    Result inTime = scanned(data, starts, inOrder, true, &overrides);
    Result chunked = scanned(data, starts, inTimeChunks, true, &overrides);
    for (Result* result : {&expected, &inTime, &chunked}) {
      for (float& log : result->taps[2]) log = std::max(log, -100.0F);  // -infinity where decay is set to 0
    }
    verifySame(inTime, expected, toleranceFor("rgLru", 16384), "in order, starts " + std::to_string(starts));
    verifySame(chunked, expected, toleranceFor("rgLru", 16384), "chunked, starts " + std::to_string(starts));
    EYRIE_VERIFY_REJECTS(scanned(data, starts, inTimeChunks, false, &swapped).out, expected.out,
                         toleranceFor("rgLru", 16384), "multiplier's map taken for the state's");
  }
}

void CudaRgLruTest::trap5StateBeforePositionZeroIsIgnored() {
  RgLruData data(130, 9);
  const Result expected = scanned(data, true, plainly);
  std::fill(data.state.begin(), data.state.end(), NAN);
  verifySame(scanned(data, true, inOrder), expected, toleranceFor("rgLru", 256), "in order");
  verifySame(scanned(data, true, inTimeChunks), expected, toleranceFor("rgLru", 256), "chunked");
}

void CudaRgLruTest::trap39DecaysNearZeroAndNearOneTogether() {
  RgLruData data(600, 33);
  for (std::int64_t at = 0; at < data.T * data.R; ++at)
    data.recurrencePre[asSize(at)] = (at / data.R / 150) % 2 == 0 ? 30.0F : -12.0F;
  for (std::size_t r = 0; r < data.rate.size(); ++r) data.rate[r] = r % 3 == 0 ? 400.0F : 1e-3F;
  const Result expected = scanned(data, false, plainly);
  verifySame(scanned(data, false, inTimeChunks), expected, 10 * toleranceFor("rgLru", 256), "chunked");
}

void CudaRgLruTest::trap40LastStateOfAnyLength() {
  for (const std::int64_t T : {127, 128, 255, 256, 257, 259}) {
    const RgLruData data(T, 3);
    const Result expected = scanned(data, false, plainly);
    verifySame(scanned(data, false, inTimeChunks), expected, toleranceFor("rgLru", 256), std::to_string(T));
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
        inTimeChunks(args);
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
  EYRIE_VERIFY_REJECTS(scanned(data, true, inTimeChunks).out, expected.out, bound,
                       "reset at a call's first token");
  RgLruData swapped = data;
  std::swap(swapped.inputPre, swapped.recurrencePre);
  EYRIE_VERIFY_REJECTS(scanned(swapped, false, inTimeChunks).out, expected.out, bound, "gates swapped");
  const auto forgetsBetweenChunks = [](const RgLruArgs& args) {
    std::vector<float> workspace(asSize(cuda::rgLruWorkspace(args.T, args.R)));
    RgLruArgs first = args;
    first.T = 128;
    cuda::rgLru(first, workspace.data(), nullptr);
    std::fill_n(args.state, args.R, 0.0F);
    RgLruArgs second = args;
    second.x += 128 * args.R;
    second.recurrencePre += 128 * args.R;
    second.inputPre += 128 * args.R;
    second.out += 128 * args.R;
    second.T -= 128;
    cuda::rgLru(second, workspace.data(), nullptr);
  };
  EYRIE_VERIFY_REJECTS(scanned(data, false, forgetsBetweenChunks).out, expected.out, bound, "no carry");
}

QTEST_APPLESS_MAIN(CudaRgLruTest)
#include "rg_lru_test.moc"
