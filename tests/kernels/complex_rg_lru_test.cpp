#include "kernels/complex_rg_lru.h"

#include <complex>
#include <numbers>

#include "kernels/rg_lru.h"
#include "tests/kernels/kernel_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

enum class Defect {
  none,
  noAngle,
  conjugate,
  ungatedAngle,
  interleavedParts,
  gatesSwapped,
  noReset,
  resetEveryCall,
  multiplierOfComplexA,
  noMultiplier,
  halfPrecisionState
};

struct Data {
  std::int64_t T, C;
  std::vector<float> x, recurrencePre, inputPre, rate, angle, state;

  Data(std::int64_t tokens, std::int64_t channels)
      : T(tokens),
        C(channels),
        x(randomVector(2 * T * C, 61)),
        recurrencePre(randomVector(T * C, 62, 2.0F)),
        inputPre(randomVector(T * C, 63, 2.0F)),
        angle(randomVector(C, 64, 1.5F)),
        state(randomVector(2 * C, 65)) {
    for (std::int64_t c = 0; c < C; ++c)
      rate.push_back(decayRateOf(-5.0F + 0.37F * static_cast<float>(c % 15)));
  }
};

struct Exact {
  std::vector<double> out, state, recurrenceGate, inputGate, logDecay, decay, angle, write, keep;
};

double sigmoid(double v) {
  return 1.0 / (1.0 + std::exp(-v));
}

float roundToBf16(double value) {
  return bf16ToFloat(floatToBf16(static_cast<float>(value)));
}

// In std::complex, independent of the kernels' layout but for reading and writing the merged rows.
Exact exact(const Data& data, bool startsSequence, Defect defect = Defect::none) {
  using Complex = std::complex<double>;
  const std::int64_t C = data.C;
  Exact e;
  for (auto* rows : {&e.out, &e.write, &e.keep}) rows->resize(asSize(2 * data.T * C));
  std::vector<Complex> h;
  for (std::int64_t c = 0; c < C; ++c) h.emplace_back(data.state[asSize(c)], data.state[asSize(C + c)]);
  for (std::int64_t at = 0; at < data.T * C; ++at) {
    const std::int64_t c = at % C;
    const bool interleaved = defect == Defect::interleavedParts;
    const std::size_t row = asSize(at / C * 2 * C);
    const std::size_t real = row + asSize(interleaved ? 2 * c : c);
    const std::size_t imag = row + asSize(interleaved ? 2 * c + 1 : C + c);
    double rGate = sigmoid(data.recurrencePre[asSize(at)]);
    double iGate = sigmoid(data.inputPre[asSize(at)]);
    if (defect == Defect::gatesSwapped) std::swap(rGate, iGate);
    const double logDecay = -rGate * data.rate[asSize(c)];
    double angle = rGate * data.angle[asSize(c)];
    if (defect == Defect::noAngle) angle = 0;
    if (defect == Defect::conjugate) angle = -angle;
    if (defect == Defect::ungatedAngle) angle = data.angle[asSize(c)];
    const Complex a = std::exp(Complex(logDecay, angle));
    Complex multiplier = std::sqrt(-std::expm1(2 * logDecay));
    if (defect == Defect::multiplierOfComplexA) multiplier = std::sqrt(1.0 - a * a);
    bool reset = startsSequence && at < C;
    if (defect == Defect::noReset) reset = false;
    if (defect == Defect::resetEveryCall) reset = at < C;
    if (reset || defect == Defect::noMultiplier) multiplier = 1;
    const Complex write = multiplier * iGate * Complex(data.x[real], data.x[imag]);
    const Complex keep = reset ? 0 : a * h[asSize(c)];
    h[asSize(c)] = keep + write;
    if (defect == Defect::halfPrecisionState)
      h[asSize(c)] = {roundToBf16(h[asSize(c)].real()), roundToBf16(h[asSize(c)].imag())};
    const auto put = [&](std::vector<double>& rows, Complex value) {
      rows[real] = value.real();
      rows[imag] = value.imag();
    };
    put(e.out, h[asSize(c)]);
    put(e.write, write);
    put(e.keep, keep);
    e.recurrenceGate.push_back(rGate);
    e.inputGate.push_back(iGate);
    e.logDecay.push_back(logDecay);
    e.decay.push_back(std::abs(a));
    e.angle.push_back(angle);
  }
  for (const Complex& value : h) e.state.push_back(value.real());
  for (const Complex& value : h) e.state.push_back(value.imag());
  return e;
}

ComplexRgLruArgs argsOf(const Data& data, std::vector<float>& state, std::vector<float>& out,
                        bool startsSequence) {
  ComplexRgLruArgs args;
  args.x = data.x.data();
  args.recurrencePre = data.recurrencePre.data();
  args.inputPre = data.inputPre.data();
  args.decayRate = data.rate.data();
  args.angleRate = data.angle.data();
  args.state = state.data();
  args.startsSequence = startsSequence;
  args.T = data.T;
  args.C = data.C;
  args.out = out.data();
  return args;
}

// Both implementations, the fast one for every instruction set and several thread counts.
template <class Body>
void forEachImplementation(Body body) {
  forEachSetup([&](ThreadPool& pool, const std::string& setup) {
    body([&](const ComplexRgLruArgs& args) { cpu::complexRgLru(args, pool); }, setup);
  });
  body([](const ComplexRgLruArgs& args) { reference::complexRgLru(args); }, std::string("reference"));
}

}  // namespace

class ComplexRgLruTest : public QObject {
  Q_OBJECT

 private slots:
  void matchesComplexDoubleAtEveryTail();
  void tapsShowWhatWasComputed();
  void toleranceRejectsBrokenVariants();
  void angleOfZeroIsTwoRealRecurrences();
  void quarterTurnSwapsTheParts();
  void firstTokenIsTheGatedInputExactly();
  void anyChunkingGivesTheSameBits();
  void decayIsAccurateNearOne();
  void impulseTurnsAndFadesOverEightThousandSteps();
  void largestAngleIsStillATurn();
  void outMayBeTheInput();
};

void ComplexRgLruTest::matchesComplexDoubleAtEveryTail() {
  forEachImplementation([](auto run, const std::string& setup) {
    for (const std::int64_t C : tailLengths()) {
      for (const bool starts : {false, true}) {
        const Data data(C % 6, C);
        OffsetArray x(data.x, 1), recurrence(data.recurrencePre, 2), input(data.inputPre, 3);
        OffsetArray rate(data.rate, C % 4), angle(data.angle, C % 3), state(data.state, 1);
        OffsetArray out(std::vector<float>(data.x.size()), 1);
        const Exact expected = exact(data, starts);
        run(ComplexRgLruArgs{x.data(),
                             recurrence.data(),
                             input.data(),
                             rate.data(),
                             angle.data(),
                             state.data(),
                             starts,
                             data.T,
                             C,
                             out.data(),
                             {}});
        const std::string name = setup + ", C " + std::to_string(C) + ", starts " + std::to_string(starts);
        const double bound = toleranceFor("complexRgLru", data.T);
        EYRIE_VERIFY_CLOSE(out.values(), expected.out, bound, name);
        EYRIE_VERIFY_CLOSE(state.values(), expected.state, bound, name + " state");
      }
    }
  });
}

void ComplexRgLruTest::tapsShowWhatWasComputed() {
  forEachImplementation([](auto run, const std::string& setup) {
    const Data data(37, 70);
    const Exact expected = exact(data, true);
    const std::size_t channels = data.recurrencePre.size();
    std::vector<std::vector<float>> gates(5, std::vector<float>(channels, NAN));
    std::vector<std::vector<float>> merged(3, std::vector<float>(2 * channels, NAN));
    std::vector<float> state = data.state;
    ComplexRgLruArgs args = argsOf(data, state, merged[2], true);
    args.taps = {gates[0].data(), gates[1].data(),  gates[2].data(), gates[3].data(),
                 gates[4].data(), merged[0].data(), merged[1].data()};
    run(args);
    const double gate = toleranceFor("rgLruGate", 1);
    const double scan = toleranceFor("complexRgLru", 37);
    EYRIE_VERIFY_CLOSE(gates[0], expected.recurrenceGate, gate, setup + " recurrence gate");
    EYRIE_VERIFY_CLOSE(gates[1], expected.inputGate, gate, setup + " input gate");
    EYRIE_VERIFY_CLOSE(gates[2], expected.logDecay, gate, setup + " log decay");
    EYRIE_VERIFY_CLOSE(gates[3], expected.decay, gate, setup + " decay");
    EYRIE_VERIFY_CLOSE(gates[4], expected.angle, gate, setup + " angle");
    EYRIE_VERIFY_CLOSE(merged[0], expected.write, scan, setup + " write");
    EYRIE_VERIFY_CLOSE(merged[1], expected.keep, scan, setup + " keep");
    EYRIE_VERIFY_CLOSE(merged[2], expected.out, scan, setup + " state");
    std::vector<float> without(data.x.size());
    std::vector<float> otherState = data.state;
    run(argsOf(data, otherState, without, true));
    QCOMPARE(without, merged[2]);
  });
}

void ComplexRgLruTest::toleranceRejectsBrokenVariants() {
  const Data data(40, 30);
  const std::vector<double> starting = exact(data, true).out;
  const std::vector<double> running = exact(data, false).out;
  const double bound = toleranceFor("complexRgLru", 40);
  const auto broken = [&](Defect defect) { return exact(data, false, defect).out; };
  EYRIE_VERIFY_REJECTS(broken(Defect::noAngle), running, bound, "no angle");
  EYRIE_VERIFY_REJECTS(broken(Defect::conjugate), running, bound, "turning the other way");
  EYRIE_VERIFY_REJECTS(broken(Defect::ungatedAngle), running, bound, "angle not gated");
  EYRIE_VERIFY_REJECTS(broken(Defect::interleavedParts), running, bound, "parts interleaved");
  EYRIE_VERIFY_REJECTS(broken(Defect::gatesSwapped), running, bound, "gates swapped");
  EYRIE_VERIFY_REJECTS(broken(Defect::resetEveryCall), running, bound, "reset at each call");
  EYRIE_VERIFY_REJECTS(broken(Defect::multiplierOfComplexA), running, bound, "m from a^2, not |a|^2");
  EYRIE_VERIFY_REJECTS(broken(Defect::noMultiplier), running, bound, "m = 1");
  EYRIE_VERIFY_REJECTS(broken(Defect::halfPrecisionState), running, bound, "state in bf16");
  EYRIE_VERIFY_REJECTS(exact(data, true, Defect::noReset).out, starting, bound, "no reset at position 0");
}

void ComplexRgLruTest::angleOfZeroIsTwoRealRecurrences() {
  Data data(21, 13);
  std::fill(data.angle.begin(), data.angle.end(), 0.0F);
  const auto part = [&](const std::vector<float>& merged, std::int64_t which) {
    std::vector<float> values;
    for (std::size_t at = asSize(which * data.C); at < merged.size(); at += asSize(2 * data.C))
      values.insert(values.end(), merged.begin() + static_cast<std::ptrdiff_t>(at),
                    merged.begin() + static_cast<std::ptrdiff_t>(at) + data.C);
    return values;
  };
  forEachImplementation([&](auto run, const std::string& setup) {
    std::vector<float> state = data.state;
    std::vector<float> out(data.x.size());
    run(argsOf(data, state, out, false));
    for (const std::int64_t which : {0, 1}) {
      const std::vector<float> x = part(data.x, which);
      std::vector<float> h = part(data.state, which);
      std::vector<float> expected(x.size());
      reference::rgLru({x.data(),
                        data.recurrencePre.data(),
                        data.inputPre.data(),
                        data.rate.data(),
                        h.data(),
                        false,
                        data.T,
                        data.C,
                        expected.data(),
                        {}});
      EYRIE_VERIFY_CLOSE(part(out, which), expected, toleranceFor("complexRgLru", data.T),
                         setup + ", part " + std::to_string(which));
    }
  });
}

void ComplexRgLruTest::quarterTurnSwapsTheParts() {
  forEachImplementation([](auto run, const std::string& setup) {
    Data data(1, 1);
    data.recurrencePre = {100.0F};  // r = 1
    data.inputPre = {-200.0F};      // nothing written
    data.rate = {0.0F};             // nothing lost
    data.angle = {std::numbers::pi_v<float> / 2};
    std::vector<float> state{3.0F, 4.0F};
    std::vector<float> out(2);
    run(argsOf(data, state, out, false));
    EYRIE_VERIFY_CLOSE(out, (std::vector<double>{-4, 3}), 2e-7, setup);  // i (3 + 4 i)
    QCOMPARE(state, out);
  });
}

void ComplexRgLruTest::firstTokenIsTheGatedInputExactly() {
  Data data(1, 21);
  std::fill(data.inputPre.begin(), data.inputPre.end(), 100.0F);  // i = 1 exactly
  std::fill(data.state.begin(), data.state.end(), NAN);           // what was there must not matter
  forEachImplementation([&](auto run, const std::string& setup) {
    std::vector<float> out(data.x.size());
    std::vector<float> state = data.state;
    run(argsOf(data, state, out, true));
    QVERIFY2(out == data.x && state == data.x, setup.c_str());
  });
}

void ComplexRgLruTest::anyChunkingGivesTheSameBits() {
  const Data data(64, 45);
  forEachImplementation([&](auto run, const std::string& setup) {
    std::vector<float> whole(data.x.size());
    std::vector<float> wholeState = data.state;
    run(argsOf(data, wholeState, whole, true));
    for (const std::int64_t chunk : {1, 3, 16, 63}) {
      std::vector<float> out(data.x.size());
      std::vector<float> state = data.state;
      for (std::int64_t from = 0; from < data.T; from += chunk) {
        const std::int64_t at = from * data.C;
        ComplexRgLruArgs args = argsOf(data, state, out, from == 0);
        args.x += 2 * at;
        args.recurrencePre += at;
        args.inputPre += at;
        args.out += 2 * at;
        args.T = std::min(chunk, data.T - from);
        run(args);
      }
      QVERIFY2(out == whole && state == wholeState, setup.c_str());
    }
  });
}

void ComplexRgLruTest::decayIsAccurateNearOne() {
  const std::vector<double> decays{0.9999, 0.99999, 0.999999, 0.9, 0.5, 0.99};
  Data data(1, static_cast<std::int64_t>(decays.size()));
  data.rate.clear();
  for (const double a : decays) data.rate.push_back(static_cast<float>(-std::log(a)));
  std::fill(data.recurrencePre.begin(), data.recurrencePre.end(), 100.0F);
  std::fill(data.inputPre.begin(), data.inputPre.end(), 100.0F);
  std::fill(data.x.begin(), data.x.end(), 1.0F);
  forEachImplementation([&](auto run, const std::string& setup) {
    std::vector<float> state(data.x.size(), 0.0F);
    std::vector<float> out(data.x.size());
    run(argsOf(data, state, out, false));
    for (std::size_t at = 0; at < out.size(); ++at) {
      const double m = std::sqrt(-std::expm1(-2.0 * double{data.rate[at % decays.size()]}));
      QVERIFY2(std::abs(out[at] - m) < 1e-6 * m, setup.c_str());
    }
  });
}

// An impulse of 1 at t = 0, then silence: |a| = 0.9999 turning by 0.3 a token is a spiral known in closed
// form.
void ComplexRgLruTest::impulseTurnsAndFadesOverEightThousandSteps() {
  Data data(8192, 1);
  std::fill(data.x.begin(), data.x.end(), 0.0F);
  std::fill(data.recurrencePre.begin(), data.recurrencePre.end(), 100.0F);
  std::fill(data.inputPre.begin(), data.inputPre.end(), 100.0F);
  data.x[0] = 1.0F;
  data.rate = {static_cast<float>(-std::log(0.9999))};
  data.angle = {0.3F};
  const auto lastOf = [](const auto& all) { return std::vector<double>(all.end() - 200, all.end()); };
  std::vector<double> spiral;
  for (std::int64_t t = data.T - 100; t < data.T; ++t) {
    const double radius = std::exp(-static_cast<double>(t) * double{data.rate[0]});
    spiral.push_back(radius * std::cos(static_cast<double>(t) * double{data.angle[0]}));
    spiral.push_back(radius * std::sin(static_cast<double>(t) * double{data.angle[0]}));
  }
  const double bound = toleranceFor("complexRgLru", data.T);
  EYRIE_VERIFY_CLOSE(lastOf(exact(data, true).out), spiral, 1e-9, "closed form");
  forEachImplementation([&](auto run, const std::string& setup) {
    std::vector<float> out(data.x.size());
    std::vector<float> state(2, 0.0F);
    run(argsOf(data, state, out, true));
    EYRIE_VERIFY_CLOSE(lastOf(out), spiral, bound, setup);
  });
  EYRIE_VERIFY_REJECTS(lastOf(exact(data, true, Defect::halfPrecisionState).out), spiral, bound, "h in bf16");
  EYRIE_VERIFY_REJECTS(lastOf(exact(data, true, Defect::noAngle).out), spiral, bound, "no angle");
}

void ComplexRgLruTest::largestAngleIsStillATurn() {
  Data data(3, 40);
  for (std::size_t c = 0; c < data.angle.size(); ++c)
    data.angle[c] = (c % 2 == 0 ? 1.0F : -1.0F) * kLargestAngle / static_cast<float>(1 + c / 2);
  std::fill(data.recurrencePre.begin(), data.recurrencePre.end(), 100.0F);
  const Exact expected = exact(data, false);
  forEachImplementation([&](auto run, const std::string& setup) {
    std::vector<float> state = data.state;
    std::vector<float> out(data.x.size());
    run(argsOf(data, state, out, false));
    EYRIE_VERIFY_CLOSE(out, expected.out, toleranceFor("complexRgLru", 3), setup);
  });
}

void ComplexRgLruTest::outMayBeTheInput() {
  const Data data(9, 19);
  const std::vector<double> expected = exact(data, true).out;
  forEachImplementation([&](auto run, const std::string& setup) {
    Data copy = data;
    std::vector<float> state = data.state;
    run(argsOf(copy, state, copy.x, true));
    EYRIE_VERIFY_CLOSE(copy.x, expected, toleranceFor("complexRgLru", 9), setup);
  });
}

QTEST_APPLESS_MAIN(ComplexRgLruTest)
#include "complex_rg_lru_test.moc"
