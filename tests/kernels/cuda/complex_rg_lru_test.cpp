#include "tests/kernels/cuda/cuda_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

struct Data {
  std::int64_t T, C;
  std::vector<float> x, recurrencePre, inputPre, rate, angle, state;

  Data(std::int64_t tokens, std::int64_t channels)
      : T(tokens),
        C(channels),
        x(randomVector(2 * T * C, 71)),
        recurrencePre(randomVector(T * C, 72, 2.0F)),
        inputPre(randomVector(T * C, 73, 2.0F)),
        angle(randomVector(C, 74, 1.5F)),
        state(randomVector(2 * C, 75)) {
    for (std::int64_t c = 0; c < C; ++c)
      rate.push_back(decayRateOf(-5.0F + 0.37F * static_cast<float>(c % 15)));
  }
};

struct Result {
  std::vector<float> out, state;
  std::vector<std::vector<float>> taps;
};

constexpr std::size_t kTaps = 7;

template <class Run>
Result scanned(const Data& data, bool starts, Run run, bool tapped = false) {
  Result result{std::vector<float>(data.x.size(), NAN), data.state, {}};
  ComplexRgLruArgs args;
  args.x = data.x.data();
  args.recurrencePre = data.recurrencePre.data();
  args.inputPre = data.inputPre.data();
  args.decayRate = data.rate.data();
  args.angleRate = data.angle.data();
  args.state = result.state.data();
  args.startsSequence = starts;
  args.T = data.T;
  args.C = data.C;
  args.out = result.out.data();
  if (tapped) {
    for (std::size_t i = 0; i < kTaps; ++i)
      result.taps.emplace_back(asSize((i < 5 ? 1 : 2) * data.T * data.C), NAN);
    auto& taps = result.taps;
    args.taps = {taps[0].data(), taps[1].data(), taps[2].data(), taps[3].data(),
                 taps[4].data(), taps[5].data(), taps[6].data()};
  }
  run(args);
  return result;
}

void plainly(const ComplexRgLruArgs& args) {
  reference::complexRgLru(args);
}

void inOrder(const ComplexRgLruArgs& args) {
  cuda::complexRgLru(args, nullptr, nullptr);
}

void inTimeChunks(const ComplexRgLruArgs& args) {
  std::vector<float> workspace(asSize(cuda::complexRgLruWorkspace(args.T, args.C)), NAN);
  cuda::complexRgLru(args, workspace.data(), nullptr);
}

double bound() {
  return toleranceFor("complexRgLru", 256);
}

void verifySame(const Result& actual, const Result& expected, double within, const std::string& setup) {
  EYRIE_VERIFY_CLOSE(actual.out, expected.out, within, setup);
  EYRIE_VERIFY_CLOSE(actual.state, expected.state, within, setup + " state");
  for (std::size_t i = 0; i < expected.taps.size(); ++i)
    EYRIE_VERIFY_CLOSE(actual.taps[i], expected.taps[i], within, setup + " tap " + std::to_string(i));
}

}  // namespace

class CudaComplexRgLruTest : public QObject {
  Q_OBJECT

 private slots:
  void bothFormsMatchReference();
  void tapsMatchReferenceAndChangeNothing();
  void trap5StateBeforePositionZeroIsIgnored();
  void trap39DecaysNearZeroAndNearOneTogether();
  void outMayBeTheInput();
  void toleranceRejectsBrokenVariants();
};

void CudaComplexRgLruTest::bothFormsMatchReference() {
  forEachOrder([](const std::string& order) {
    for (const std::int64_t T : {0, 1, 3, 4, 5, 127, 128, 129, 257, 300}) {
      const Data data(T, T > 100 ? 5 : 131);
      for (const bool starts : {false, true}) {
        const Result expected = scanned(data, starts, plainly);
        const std::string name = order + ", T " + std::to_string(T) + ", starts " + std::to_string(starts);
        verifySame(scanned(data, starts, inOrder), expected, bound(), name);
        verifySame(scanned(data, starts, inTimeChunks), expected, bound(), name + " chunked");
      }
    }
  });
}

void CudaComplexRgLruTest::tapsMatchReferenceAndChangeNothing() {
  const Data data(270, 21);
  for (const bool starts : {false, true}) {
    const Result expected = scanned(data, starts, plainly, true);
    verifySame(scanned(data, starts, inOrder, true), expected, bound(), "in order");
    verifySame(scanned(data, starts, inTimeChunks, true), expected, bound(), "chunked");
    QVERIFY(scanned(data, starts, inTimeChunks, true).out == scanned(data, starts, inTimeChunks).out);
  }
}

void CudaComplexRgLruTest::trap5StateBeforePositionZeroIsIgnored() {
  Data data(130, 9);
  const Result expected = scanned(data, true, plainly);
  std::fill(data.state.begin(), data.state.end(), NAN);
  verifySame(scanned(data, true, inOrder), expected, bound(), "in order");
  verifySame(scanned(data, true, inTimeChunks), expected, bound(), "chunked");
}

void CudaComplexRgLruTest::trap39DecaysNearZeroAndNearOneTogether() {
  Data data(600, 33);
  for (std::int64_t at = 0; at < data.T * data.C; ++at)
    data.recurrencePre[asSize(at)] = (at / data.C / 150) % 2 == 0 ? 30.0F : -12.0F;
  for (std::size_t c = 0; c < data.rate.size(); ++c) data.rate[c] = c % 3 == 0 ? 400.0F : 1e-3F;
  const Result expected = scanned(data, false, plainly);
  verifySame(scanned(data, false, inTimeChunks), expected, toleranceFor("complexRgLru", 16384), "chunked");
}

void CudaComplexRgLruTest::outMayBeTheInput() {
  const Data data(200, 10);
  const Result expected = scanned(data, true, plainly);
  forEachOrder([&](const std::string& order) {
    Data copy = data;
    scanned(copy, true, [&](ComplexRgLruArgs args) {
      args.out = copy.x.data();
      inTimeChunks(args);
    });
    EYRIE_VERIFY_CLOSE(copy.x, expected.out, bound(), order);
  });
}

void CudaComplexRgLruTest::toleranceRejectsBrokenVariants() {
  const Data data(200, 30);
  const std::vector<float> expected = scanned(data, false, plainly).out;
  EYRIE_VERIFY_REJECTS(scanned(data, true, inTimeChunks).out, expected, bound(),
                       "reset at a call's first token");
  Data broken = data;
  for (float& angle : broken.angle) angle = -angle;
  EYRIE_VERIFY_REJECTS(scanned(broken, false, inTimeChunks).out, expected, bound(), "conjugate");
  broken = data;
  std::swap(broken.inputPre, broken.recurrencePre);
  EYRIE_VERIFY_REJECTS(scanned(broken, false, inTimeChunks).out, expected, bound(), "gates swapped");
  broken = data;
  std::rotate(broken.state.begin(), broken.state.begin() + data.C, broken.state.end());
  EYRIE_VERIFY_REJECTS(scanned(broken, false, inTimeChunks).out, expected, bound(), "parts swapped");
}

QTEST_APPLESS_MAIN(CudaComplexRgLruTest)
#include "complex_rg_lru_test.moc"
