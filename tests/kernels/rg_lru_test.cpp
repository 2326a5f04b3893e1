#include "kernels/rg_lru.h"

#include "tests/kernels/rg_lru_data.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

enum class Defect {
  none,
  gatesSwapped,
  noReset,
  resetEveryCall,
  subtractedMultiplier,
  halfPrecisionDecay,
  halfPrecisionState,
  noMultiplier
};

float roundToBf16(double value) {
  return bf16ToFloat(floatToBf16(static_cast<float>(value)));
}

ExactRgLru exact(const RgLruData& data, bool startsSequence, Defect defect = Defect::none) {
  ExactRgLru e;
  e.state.assign(data.state.begin(), data.state.end());
  for (std::int64_t at = 0; at < data.T * data.R; ++at) {
    const std::size_t r = asSize(at % data.R);
    double rGate = sigmoid(data.recurrencePre[asSize(at)]);
    double iGate = sigmoid(data.inputPre[asSize(at)]);
    if (defect == Defect::gatesSwapped) std::swap(rGate, iGate);
    const double logDecay = -rGate * data.rate[r];
    double decay = std::exp(logDecay);
    if (defect == Defect::halfPrecisionDecay) decay = roundToBf16(decay);
    double multiplier = std::sqrt(-std::expm1(2 * logDecay));
    if (defect == Defect::subtractedMultiplier) {
      const auto a = static_cast<float>(decay);
      multiplier = std::sqrt(1.0F - a * a);
    }
    bool reset = startsSequence && at < data.R;
    if (defect == Defect::noReset) reset = false;
    if (defect == Defect::resetEveryCall) reset = at < data.R;
    if (reset || defect == Defect::noMultiplier) multiplier = 1;
    const double write = multiplier * iGate * data.x[asSize(at)];
    const double keep = reset ? 0.0 : decay * e.state[r];
    e.state[r] = defect == Defect::halfPrecisionState ? roundToBf16(keep + write) : keep + write;
    e.out.push_back(e.state[r]);
    e.recurrenceGate.push_back(rGate);
    e.inputGate.push_back(iGate);
    e.logDecay.push_back(logDecay);
    e.decay.push_back(decay);
    e.write.push_back(write);
    e.keep.push_back(keep);
  }
  return e;
}

// One channel with r = 1 throughout and decay rate `rate`: an impulse of 1 at t = 0 (m = 1), then silence.
RgLruData impulse(std::int64_t T, float rate) {
  RgLruData data(T, 1);
  std::fill(data.x.begin(), data.x.end(), 0.0F);
  std::fill(data.recurrencePre.begin(), data.recurrencePre.end(), 100.0F);
  std::fill(data.inputPre.begin(), data.inputPre.end(), 100.0F);
  data.x[0] = 1.0F;
  data.rate = {rate};
  return data;
}

}  // namespace

class RgLruTest : public QObject {
  Q_OBJECT

 private slots:
  void cpuAndReferenceMatchDoubleAtEveryTail();
  void tapsShowWhatWasComputed();
  void toleranceRejectsBrokenVariants();
  void trap1And4DecayOfKnownParameter();
  void trap3GatesAreNotSwapped();
  void trap5FirstTokenIsTheGatedInputExactly();
  void trap6And40AnyChunkingGivesTheSameBits();
  void trap7DecayIsAccurateNearOne();
  void trap7And8ImpulseOverEightThousandSteps();
  void impulseOverAHundredThousandSteps_data();
  void impulseOverAHundredThousandSteps();
  void trap9And47DecayRateIsFiniteAndFoldedInF32();
  void trap39DecaysNearZeroAndNearOneTogether();
  void outMayBeAnInput();
};

void RgLruTest::cpuAndReferenceMatchDoubleAtEveryTail() {
  forEachSetup([](ThreadPool& pool, const std::string& setup) {
    for (const std::int64_t R : tailLengths()) {
      for (const bool starts : {false, true}) {
        const RgLruData data(R % 6, R);
        OffsetArray x(data.x, 1), recurrence(data.recurrencePre, 2), input(data.inputPre, 3);
        OffsetArray rate(data.rate, R % 4), out(std::vector<float>(data.x.size()), 1);
        const ExactRgLru expected = exact(data, starts);
        const auto check = [&](auto run, const std::string& label) {
          OffsetArray state(data.state, 1);
          run(RgLruArgs{x.data(),
                        recurrence.data(),
                        input.data(),
                        rate.data(),
                        state.data(),
                        starts,
                        data.T,
                        R,
                        out.data(),
                        {}});
          EYRIE_VERIFY_CLOSE(out.values(), expected.out, toleranceFor("rgLru", data.T), label);
          EYRIE_VERIFY_CLOSE(state.values(), expected.state, toleranceFor("rgLru", data.T), label + " state");
        };
        const std::string name = setup + ", R " + std::to_string(R) + ", starts " + std::to_string(starts);
        check([&](const RgLruArgs& args) { cpu::rgLru(args, pool); }, name);
        check([](const RgLruArgs& args) { reference::rgLru(args); }, "reference " + name);
      }
    }
  });
}

void RgLruTest::tapsShowWhatWasComputed() {
  forEachSetup([](ThreadPool& pool, const std::string& setup) {
    const RgLruData data(37, 70);
    const ExactRgLru expected = exact(data, true);
    const auto check = [&](auto run, const std::string& label) {
      std::vector<float> state = data.state;
      std::vector<std::vector<float>> arrays(7, std::vector<float>(data.x.size(), NAN));
      RgLruArgs args = argsOf(data, state, arrays[6], true);
      args.taps = {arrays[0].data(), arrays[1].data(), arrays[2].data(),
                   arrays[3].data(), arrays[4].data(), arrays[5].data()};
      run(args);
      const double gate = toleranceFor("rgLruGate", 1);
      EYRIE_VERIFY_CLOSE(arrays[0], expected.recurrenceGate, gate, label + " recurrence gate");
      EYRIE_VERIFY_CLOSE(arrays[1], expected.inputGate, gate, label + " input gate");
      EYRIE_VERIFY_CLOSE(arrays[2], expected.logDecay, gate, label + " log decay");
      EYRIE_VERIFY_CLOSE(arrays[3], expected.decay, gate, label + " decay");
      EYRIE_VERIFY_CLOSE(arrays[4], expected.write, toleranceFor("rgLru", 37), label + " write");
      EYRIE_VERIFY_CLOSE(arrays[5], expected.keep, toleranceFor("rgLru", 37), label + " keep");
      EYRIE_VERIFY_CLOSE(arrays[6], expected.out, toleranceFor("rgLru", 37), label + " state");
      std::vector<float> without(data.x.size());
      std::vector<float> otherState = data.state;
      RgLruArgs untapped = argsOf(data, otherState, without, true);
      run(untapped);
      QCOMPARE(without, arrays[6]);
    };
    check([&](const RgLruArgs& args) { cpu::rgLru(args, pool); }, setup);
    check([](const RgLruArgs& args) { reference::rgLru(args); }, "reference " + setup);
  });
}

void RgLruTest::toleranceRejectsBrokenVariants() {
  const RgLruData data(40, 30);
  const std::vector<double> starting = exact(data, true).out;
  const std::vector<double> running = exact(data, false).out;
  const double bound = toleranceFor("rgLru", 40);
  EYRIE_VERIFY_REJECTS(exact(data, false, Defect::gatesSwapped).out, running, bound, "gates swapped");
  EYRIE_VERIFY_REJECTS(exact(data, true, Defect::noReset).out, starting, bound, "no reset at position 0");
  EYRIE_VERIFY_REJECTS(exact(data, false, Defect::resetEveryCall).out, running, bound, "reset at each call");
  EYRIE_VERIFY_REJECTS(exact(data, false, Defect::halfPrecisionDecay).out, running, bound, "decay in bf16");
  EYRIE_VERIFY_REJECTS(exact(data, false, Defect::halfPrecisionState).out, running, bound, "state in bf16");
  EYRIE_VERIFY_REJECTS(exact(data, false, Defect::noMultiplier).out, running, bound, "trap 48: m = 1");
}

void RgLruTest::trap1And4DecayOfKnownParameter() {
  const double p = -4.323;
  const double expected = std::exp(-8.0 * std::log1p(std::exp(p)));
  const double actual = std::exp(-static_cast<double>(decayRateOf(static_cast<float>(p))));
  QVERIFY2(std::abs(actual - expected) < 1e-6, qPrintable(QString::number(actual, 'g', 9)));
  QVERIFY(actual > std::pow(0.9, 8) && actual < 1.0);
  const double flipped = std::exp(-static_cast<double>(decayRateOf(static_cast<float>(-p))));
  QVERIFY2(flipped < 1e-10, "a flipped sign of p must leave the range of the initialisation");
  const double withoutEight = std::exp(-std::log1p(std::exp(p)));
  QVERIFY(std::abs(actual - withoutEight) > 1e-2);
}

void RgLruTest::trap3GatesAreNotSwapped() {
  RgLruData data(1, 9);
  ThreadPool pool(1);
  std::vector<float> out(9);
  std::fill(data.inputPre.begin(), data.inputPre.end(), -200.0F);  // input gate shut: only decay is left
  std::fill(data.recurrencePre.begin(), data.recurrencePre.end(), 0.0F);
  std::vector<float> state = data.state;
  cpu::rgLru(argsOf(data, state, out, false), pool);
  for (std::size_t r = 0; r < 9; ++r) {
    const double expected = std::exp(-0.5 * double{data.rate[r]}) * data.state[r];
    QVERIFY(std::abs(out[r] - expected) < 1e-6);
  }
  std::fill(data.inputPre.begin(), data.inputPre.end(), 20.0F);  // recurrence gate shut: the state is frozen
  std::fill(data.recurrencePre.begin(), data.recurrencePre.end(), -200.0F);
  state = data.state;
  cpu::rgLru(argsOf(data, state, out, false), pool);
  QCOMPARE(out, data.state);
  QCOMPARE(state, data.state);
}

void RgLruTest::trap5FirstTokenIsTheGatedInputExactly() {
  RgLruData data(1, 21);
  std::fill(data.inputPre.begin(), data.inputPre.end(), 100.0F);  // i = 1 exactly
  std::fill(data.state.begin(), data.state.end(), NAN);           // what was there must not matter
  ThreadPool pool(2);
  std::vector<float> out(21);
  std::vector<float> state = data.state;
  cpu::rgLru(argsOf(data, state, out, true), pool);
  QCOMPARE(out, data.x);
  state = data.state;
  reference::rgLru(argsOf(data, state, out, true));
  QCOMPARE(out, data.x);
}

void RgLruTest::trap6And40AnyChunkingGivesTheSameBits() {
  const RgLruData data(64, 45);
  forEachSetup([&](ThreadPool& pool, const std::string& setup) {
    std::vector<float> whole(data.x.size());
    std::vector<float> wholeState = data.state;
    cpu::rgLru(argsOf(data, wholeState, whole, true), pool);
    for (const std::int64_t chunk : {1, 3, 16, 63}) {
      std::vector<float> out(data.x.size());
      std::vector<float> state = data.state;
      for (std::int64_t from = 0; from < data.T; from += chunk) {
        const std::int64_t at = from * data.R;
        cpu::rgLru({data.x.data() + at,
                    data.recurrencePre.data() + at,
                    data.inputPre.data() + at,
                    data.rate.data(),
                    state.data(),
                    from == 0,
                    std::min(chunk, data.T - from),
                    data.R,
                    out.data() + at,
                    {}},
                   pool);
      }
      QVERIFY2(out == whole && state == wholeState, qPrintable(QString::fromStdString(setup)));
    }
  });
}

void RgLruTest::trap7DecayIsAccurateNearOne() {
  forEachSetup([](ThreadPool& pool, const std::string& setup) {
    const std::vector<double> decays{0.9999, 0.99999, 0.999999, 0.9, 0.5, 0.99};
    RgLruData data(1, static_cast<std::int64_t>(decays.size()));
    data.rate.clear();
    for (const double a : decays) data.rate.push_back(static_cast<float>(-std::log(a)));
    std::fill(data.recurrencePre.begin(), data.recurrencePre.end(), 100.0F);
    std::fill(data.inputPre.begin(), data.inputPre.end(), 100.0F);
    std::fill(data.x.begin(), data.x.end(), 1.0F);
    const auto check = [&](auto run, const std::string& label) {
      std::vector<float> state(decays.size(), 0.0F);
      std::vector<float> out(decays.size()), decay(decays.size());
      RgLruArgs args = argsOf(data, state, out, false);
      args.taps.decay = decay.data();
      run(args);
      for (std::size_t r = 0; r < decays.size(); ++r) {
        const double m = std::sqrt(-std::expm1(-2.0 * double{data.rate[r]}));
        const QByteArray where = QByteArray::fromStdString(label + " a " + std::to_string(decays[r]));
        QVERIFY2(std::abs(out[r] - m) < 1e-6 * m, where.constData());
        QVERIFY2(std::abs(decay[r] - std::exp(-double{data.rate[r]})) <= 6.1e-8, where.constData());
        const auto a = static_cast<float>(decays[r]);
        const double subtracted = std::sqrt(1.0F - a * a);
        if (r < 3) QVERIFY2(std::abs(subtracted - m) > 1e-5 * m, "1 - a*a must fail here");
      }
    };
    check([&](const RgLruArgs& args) { cpu::rgLru(args, pool); }, setup);
    check([](const RgLruArgs& args) { reference::rgLru(args); }, "reference " + setup);
  });
}

void RgLruTest::trap7And8ImpulseOverEightThousandSteps() {
  const RgLruData data = impulse(8192, static_cast<float>(-std::log(0.9999)));
  const std::vector<double> expected = exact(data, true).out;
  const double bound = toleranceFor("rgLru", data.T);
  std::vector<double> tail(expected.end() - 100, expected.end());
  const auto lastOf = [](const auto& all) { return std::vector<double>(all.end() - 100, all.end()); };
  forEachSetup([&](ThreadPool& pool, const std::string& setup) {
    std::vector<float> out(data.x.size());
    std::vector<float> state{0.0F};
    cpu::rgLru(argsOf(data, state, out, true), pool);
    EYRIE_VERIFY_CLOSE(lastOf(out), tail, bound, setup);
  });
  std::vector<float> out(data.x.size());
  std::vector<float> state{0.0F};
  reference::rgLru(argsOf(data, state, out, true));
  EYRIE_VERIFY_CLOSE(lastOf(out), tail, bound, "reference");
  EYRIE_VERIFY_REJECTS(lastOf(exact(data, true, Defect::halfPrecisionDecay).out), tail, bound, "a in bf16");
  EYRIE_VERIFY_REJECTS(lastOf(exact(data, true, Defect::halfPrecisionState).out), tail, bound, "h in bf16");
}

void RgLruTest::impulseOverAHundredThousandSteps_data() {
  QTest::addColumn<double>("decay");
  QTest::newRow("a = 0.9999: 5 in 100,000 are left") << 0.9999;
  QTest::newRow("a = 0.99999: a third is left") << 0.99999;
  QTest::newRow("a = 0.999999: nine tenths are left") << 0.999999;
}

// Against double at every thousandth step, relative to what is left there. Two roundings act: that of a, the
// same at every step, and that of the state, which must not add up to more than a tenth of what the first
// may.
void RgLruTest::impulseOverAHundredThousandSteps() {
  QFETCH(double, decay);
  constexpr std::int64_t kSteps = 100'000;
  constexpr std::size_t kStride = 1000;
  const RgLruData data = impulse(kSteps, static_cast<float>(-std::log(decay)));
  const std::vector<double> expected = exact(data, true).out;
  const double bound = toleranceFor("rgLru", kSteps);
  const auto worstOf = [&](const auto& out, const std::vector<double>& wanted) {
    double worst = 0;
    for (std::size_t t = kStride - 1; t < wanted.size(); t += kStride)
      worst = std::max(worst, std::abs(static_cast<double>(out[t]) / wanted[t] - 1));
    return worst;
  };
  // What double makes of the very a that f32 has.
  const auto withDecayOf = [&](const std::vector<float>& decays) {
    std::vector<double> out{1.0};
    for (std::size_t t = 1; t < decays.size(); ++t)
      out.push_back(out.back() * static_cast<double>(decays[t]));
    return out;
  };
  const auto check = [&](auto run, const std::string& label) {
    std::vector<float> out(data.x.size()), decays(data.x.size());
    std::vector<float> state{0.0F};
    RgLruArgs args = argsOf(data, state, out, true);
    run(args);
    QVERIFY2(
        worstOf(out, expected) <= bound,
        qPrintable(QString("%1: %2, at most %3").arg(label.c_str()).arg(worstOf(out, expected)).arg(bound)));
    args.taps.decay = decays.data();
    run(args);
    const double ofState = worstOf(out, withDecayOf(decays));
    QVERIFY2(ofState <= bound / 10,
             qPrintable(QString("%1: the state's own rounding: %2").arg(label.c_str()).arg(ofState)));
  };
  forEachSetup([&](ThreadPool& pool, const std::string& setup) {
    check([&](const RgLruArgs& args) { cpu::rgLru(args, pool); }, setup);
  });
  check([](const RgLruArgs& args) { reference::rgLru(args); }, "reference");
  QVERIFY2(worstOf(exact(data, true, Defect::halfPrecisionDecay).out, expected) > bound,
           "a in bf16 must fail");
  QVERIFY2(worstOf(exact(data, true, Defect::halfPrecisionState).out, expected) > bound,
           "h in bf16 must fail");
}

void RgLruTest::trap9And47DecayRateIsFiniteAndFoldedInF32() {
  for (const float p : {-100.0F, -50.0F, -20.0F, -5.0F, -0.1F, 0.0F, 3.0F, 20.0F, 50.0F, 100.0F, 3e38F / 8}) {
    const double expected = 8.0 * (std::max(double{p}, 0.0) + std::log1p(std::exp(-std::abs(double{p}))));
    const double actual = decayRateOf(p);
    QVERIFY2(std::isfinite(actual) && std::abs(actual - expected) <= 4e-7 * expected + 1e-38,
             qPrintable(QString::number(p)));
  }
  const double exactRate = 8.0 * std::log1p(std::exp(-4.3));
  const double foldedInBf16 = roundToBf16(exactRate);
  QVERIFY(std::abs(foldedInBf16 - exactRate) > 4e-7 * exactRate);
}

void RgLruTest::trap39DecaysNearZeroAndNearOneTogether() {
  RgLruData data(600, 33);
  for (std::int64_t at = 0; at < data.T * data.R; ++at) {
    // Runs of nearly closed and fully open gates: products of a underflow, then the state must recover.
    data.recurrencePre[asSize(at)] = (at / data.R / 150) % 2 == 0 ? 30.0F : -12.0F;
  }
  for (std::size_t r = 0; r < data.rate.size(); ++r) data.rate[r] = r % 3 == 0 ? 400.0F : 1e-3F;
  const ExactRgLru expected = exact(data, false);
  forEachSetup([&](ThreadPool& pool, const std::string& setup) {
    std::vector<float> out(data.x.size());
    std::vector<float> state = data.state;
    cpu::rgLru(argsOf(data, state, out, false), pool);
    EYRIE_VERIFY_CLOSE(out, expected.out, 10 * toleranceFor("rgLru", 256), setup);
  });
}

void RgLruTest::outMayBeAnInput() {
  const RgLruData data(9, 19);
  const std::vector<double> expected = exact(data, true).out;
  ThreadPool pool(2);
  for (const int which : {0, 1, 2}) {
    RgLruData copy = data;
    std::vector<float>& target = which == 0 ? copy.x : which == 1 ? copy.recurrencePre : copy.inputPre;
    std::vector<float> state = data.state;
    cpu::rgLru(argsOf(copy, state, target, true), pool);
    EYRIE_VERIFY_CLOSE(target, expected, toleranceFor("rgLru", 9),
                       "in place of input " + std::to_string(which));
  }
}

QTEST_APPLESS_MAIN(RgLruTest)
#include "rg_lru_test.moc"
