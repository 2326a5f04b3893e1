// The RG-LRU with overridden gates, decays, multipliers and states, against its contract in double precision.
#include "kernels/rg_lru.h"
#include "tests/kernels/rg_lru_data.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

struct Overrides {
  std::vector<float> values[10];  // scale and offset of each

  explicit Overrides(std::int64_t R) {
    for (int i = 0; i < 10; ++i) values[i].assign(asSize(R), i % 2 == 0 ? 1.0F : 0.0F);
  }
  RgLruOverrides view() const {
    const auto pair = [&](int i) {
      return RgLruOverrides::Channels{values[2 * i].data(), values[2 * i + 1].data()};
    };
    return {pair(0), pair(1), pair(2), pair(3), pair(4)};
  }
  double map(int which, std::size_t r, double v) const {
    return double{values[2 * which][r]} * v + double{values[2 * which + 1][r]};
  }
};

// The contract's equations, word by word.
ExactRgLru exact(const RgLruData& data, bool startsSequence, const Overrides& edits) {
  ExactRgLru e;
  e.state.assign(data.state.begin(), data.state.end());
  for (std::int64_t at = 0; at < data.T * data.R; ++at) {
    const std::size_t r = asSize(at % data.R);
    const bool reset = startsSequence && at < data.R;
    const double rGate = std::min(1.0, edits.map(0, r, sigmoid(data.recurrencePre[asSize(at)])));
    const double iGate = std::min(1.0, edits.map(1, r, sigmoid(data.inputPre[asSize(at)])));
    const double logDecay = std::min(0.0, edits.map(2, r, -rGate * data.rate[r]));
    const double m = reset ? 1.0 : std::sqrt(-std::expm1(2 * logDecay));
    const double write = std::min(1.0, edits.map(3, r, m)) * iGate * data.x[asSize(at)];
    const double keep = reset ? 0.0 : std::exp(logDecay) * e.state[r];
    e.state[r] = edits.map(4, r, keep + write);
    e.out.push_back(e.state[r]);
    e.recurrenceGate.push_back(rGate);
    e.inputGate.push_back(iGate);
    e.logDecay.push_back(logDecay);
    e.decay.push_back(std::exp(logDecay));
    e.write.push_back(write);
    e.keep.push_back(keep);
  }
  return e;
}

}  // namespace

class RgLruOverridesTest : public QObject {
  Q_OBJECT

 private slots:
  void overridesMatchDoubleAtEveryTail();
  void overridesThatChangeNothingChangeNothing();
  void decayOverriddenToTheEndsIsExact();
};

void RgLruOverridesTest::overridesMatchDoubleAtEveryTail() {
  forEachSetup([](ThreadPool& pool, const std::string& setup) {
    for (const std::int64_t R : tailLengths()) {
      const RgLruData data(1 + R % 6, R);
      Overrides edits(R);
      for (std::int64_t i = 0; i < R; ++i) {  // every channel something else, some left alone
        const int which = static_cast<int>(i % 6);
        if (which == 5) continue;
        const bool set = i % 4 < 2;
        edits.values[2 * which][asSize(i)] = set ? 0.0F : 1.25F;
        edits.values[2 * which + 1][asSize(i)] = which == 2 ? (set ? -0.125F : 0.1F) : (set ? 0.375F : 0.0F);
      }
      for (const bool starts : {false, true}) {
        const ExactRgLru expected = exact(data, starts, edits);
        const RgLruOverrides view = edits.view();
        const auto check = [&](auto run, const std::string& label) {
          std::vector<float> state = data.state;
          std::vector<std::vector<float>> arrays(7, std::vector<float>(data.x.size(), NAN));
          RgLruArgs args = argsOf(data, state, arrays[6], starts);
          args.taps = {arrays[0].data(), arrays[1].data(), arrays[2].data(),
                       arrays[3].data(), arrays[4].data(), arrays[5].data()};
          args.overrides = &view;
          run(args);
          const double gate = toleranceFor("rgLruGate", 1);
          const double scan = toleranceFor("rgLru", data.T);
          EYRIE_VERIFY_CLOSE(arrays[0], expected.recurrenceGate, gate, label + " recurrence gate");
          EYRIE_VERIFY_CLOSE(arrays[1], expected.inputGate, gate, label + " input gate");
          EYRIE_VERIFY_CLOSE(arrays[2], expected.logDecay, gate, label + " log decay");
          EYRIE_VERIFY_CLOSE(arrays[3], expected.decay, gate, label + " decay");
          EYRIE_VERIFY_CLOSE(arrays[4], expected.write, scan, label + " write");
          EYRIE_VERIFY_CLOSE(arrays[5], expected.keep, scan, label + " keep");
          EYRIE_VERIFY_CLOSE(arrays[6], expected.out, scan, label + " state");
          EYRIE_VERIFY_CLOSE(state, expected.state, scan, label + " last state");
          if (R < 6) return;
          EYRIE_VERIFY_REJECTS(exact(data, starts, Overrides(R)).out, expected.out, scan,
                               "overrides left out");
        };
        const std::string name = setup + ", R " + std::to_string(R) + ", starts " + std::to_string(starts);
        check([&](const RgLruArgs& args) { cpu::rgLru(args, pool); }, name);
        check([](const RgLruArgs& args) { reference::rgLru(args); }, "reference " + name);
      }
    }
  });
}

void RgLruOverridesTest::overridesThatChangeNothingChangeNothing() {
  const RgLruData data(30, 45);
  const Overrides edits(45);
  const RgLruOverrides view = edits.view();
  std::vector<float> plain(data.x.size()), overridden(data.x.size());
  std::vector<float> plainState = data.state, overriddenState = data.state;
  reference::rgLru(argsOf(data, plainState, plain, true));
  RgLruArgs args = argsOf(data, overriddenState, overridden, true);
  args.overrides = &view;
  reference::rgLru(args);
  QCOMPARE(overridden, plain);
  QCOMPARE(overriddenState, plainState);
}

// ln a of 0 freezes every bit of the state, -infinity leaves nothing of it.
void RgLruOverridesTest::decayOverriddenToTheEndsIsExact() {
  forEachSetup([](ThreadPool& pool, const std::string& setup) {
    const RgLruData data(7, 33);
    Overrides edits(33);
    for (std::size_t r = 0; r < 33; ++r) {
      edits.values[4][r] = 0;
      edits.values[5][r] = r % 2 == 0 ? 0.0F : -INFINITY;
    }
    const RgLruOverrides view = edits.view();
    const auto check = [&](auto run, const std::string& label) {
      std::vector<float> out(data.x.size()), write(data.x.size()), decay(data.x.size());
      std::vector<float> state = data.state;
      RgLruArgs args = argsOf(data, state, out, false);
      args.taps.write = write.data();
      args.taps.decay = decay.data();
      args.overrides = &view;
      run(args);
      for (std::size_t at = 0; at < out.size(); ++at) {
        const std::size_t r = at % 33;
        const float expected = r % 2 == 0 ? data.state[r] : write[at];
        QVERIFY2(out[at] == expected && decay[at] == (r % 2 == 0 ? 1.0F : 0.0F), label.c_str());
        if (r % 2 == 1) QVERIFY2(write[at] != 0, label.c_str());
      }
    };
    check([&](const RgLruArgs& args) { cpu::rgLru(args, pool); }, setup);
    check([](const RgLruArgs& args) { reference::rgLru(args); }, "reference " + setup);
  });
}

QTEST_APPLESS_MAIN(RgLruOverridesTest)
#include "rg_lru_overrides_test.moc"
