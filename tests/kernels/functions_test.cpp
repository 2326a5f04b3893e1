// The elementary functions of the kernels over their whole ranges, through the ops that have them. Errors are
// relative to each value, so that they show in small gates and small losses too; relative to the largest
// value, as the ops' own tests have it, they do not.
#include <functional>
#include <string>
#include <vector>

#include "kernels/gated_mlp.h"
#include "kernels/logits.h"
#include "tests/kernels/rg_lru_data.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

using Values = std::vector<float>;

// One function of one number: what it is in double, what the kernels make of it, and what a careless
// formula makes of it in f32, which is as good beside the largest value.
struct Function {
  std::string name;  // of its row in tolerances.h
  Values x;
  std::function<double(double)> exact;
  std::function<Values(const Values&, ThreadPool&)> ours;
  std::function<float(float)> careless;
};

constexpr double kFurthest = 87;  // e^-87 is about the smallest that f32 holds in full

// Both sides of 0, evenly to `last` and by equal factors from 1e-9 to there.
Values bothSides(double last) {
  constexpr int kMany = 50'000;
  Values values;
  for (int i = 0; i < kMany; ++i) {
    const double share = (i + 1.0) / kMany;
    for (const double size : {share * last, last * std::pow(1e-9 / last, share)}) {
      values.push_back(static_cast<float>(size));
      values.push_back(static_cast<float>(-size));
    }
  }
  return values;
}

// Those below 0 alone: logarithms of decays.
Values below(double last) {
  Values values = bothSides(last);
  std::erase_if(values, [](float value) { return value > 0; });
  return values;
}

Values all(const Values& x, float value) {
  return Values(x.size(), value);
}

// What a step of the RG-LRU shows of its gate, decay and multiplier, each channel with its own gate and log_a
// of an open gate; i = 1 and c = 1, so that it writes the multiplier.
struct Step {
  Values gate, decay, multiplier;

  Step(const Values& pre, const Values& logDecay, bool overridden, ThreadPool& pool)
      : gate(pre.size()), decay(pre.size()), multiplier(pre.size()) {
    const Values ones = all(pre, 1);
    const Values zeros = all(pre, 0);
    const Values open = all(pre, 100);
    const RgLruOverrides::Channels same{ones.data(), zeros.data()};
    const RgLruOverrides overrides{same, same, same, same, same};
    Values rate = logDecay;
    for (float& value : rate) value = -value;
    Values state = zeros;
    Values out = zeros;
    RgLruArgs args;
    args.x = ones.data();
    args.recurrencePre = pre.data();
    args.inputPre = open.data();
    args.decayRate = rate.data();
    args.state = state.data();
    args.T = 1;
    args.R = static_cast<std::int64_t>(pre.size());
    args.out = out.data();
    args.taps.recurrenceGate = gate.data();
    args.taps.decay = decay.data();
    args.taps.write = multiplier.data();
    if (overridden) args.overrides = &overrides;
    cpu::rgLru(args, pool);
  }
};

Values activated(const Values& gate, Activation activation, ThreadPool& pool) {
  const Values up = all(gate, 1);
  Values out(gate.size());
  cpu::gatedActivation(
      {gate.data(), up.data(), static_cast<std::int64_t>(gate.size()), activation, out.data()}, pool);
  return out;
}

double geluArgument(double x) {
  return std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
}

double multiplierOf(double logDecay) {
  return std::sqrt(-std::expm1(2 * logDecay));
}

float halfTanh(float x) {
  return 0.5F + 0.5F * std::tanh(0.5F * x);
}

float lossSubtracted(float logDecay) {
  const float a = std::exp(logDecay);
  return std::sqrt(1 - a * a);
}

// The RG-LRU's, with overrides or without: they come from other formulas.
std::vector<Function> recurrenceFunctions(bool overridden) {
  const std::string suffix = overridden ? "Overridden" : "";
  const auto stepOf = [overridden](const Values& logDecay, ThreadPool& pool) {
    return Step(all(logDecay, 100), logDecay, overridden, pool);
  };
  return {
      {"gate" + suffix, bothSides(kFurthest), sigmoid,
       [overridden](const Values& x, ThreadPool& pool) { return Step(x, all(x, -1), overridden, pool).gate; },
       halfTanh},
      {"decay" + suffix, below(kFurthest), [](double x) { return std::exp(x); },
       [stepOf](const Values& x, ThreadPool& pool) { return stepOf(x, pool).decay; },
       [](float x) { return 1 + std::expm1(x); }},
      {"multiplier" + suffix, below(kFurthest), multiplierOf,
       [stepOf](const Values& x, ThreadPool& pool) { return stepOf(x, pool).multiplier; }, lossSubtracted}};
}

std::vector<Function> functions() {
  std::vector<Function> list = recurrenceFunctions(false);
  for (Function& function : recurrenceFunctions(true)) list.push_back(std::move(function));
  list.push_back({"silu", bothSides(kFurthest), [](double x) { return x * sigmoid(x); },
                  [](const Values& x, ThreadPool& pool) { return activated(x, Activation::silu, pool); },
                  [](float x) { return x * halfTanh(x); }});
  list.push_back({"geluTanh", bothSides(10), [](double x) { return x * sigmoid(2 * geluArgument(x)); },
                  [](const Values& x, ThreadPool& pool) { return activated(x, Activation::geluTanh, pool); },
                  [](float x) { return x * halfTanh(static_cast<float>(2 * geluArgument(double{x}))); }});
  list.push_back({"softCap", bothSides(600), [](double x) { return 30 * std::tanh(x / 30); },
                  [](Values x, ThreadPool& pool) {
                    cpu::softCap({x.data(), static_cast<std::int64_t>(x.size()), 30}, pool);
                    return x;
                  },
                  [](float x) { return 30 - 60 / (std::exp(x / 15) + 1); }});
  list.push_back({"decayRate", bothSides(kFurthest), [](double p) { return 8 * std::log1p(std::exp(p)); },
                  [](Values p, ThreadPool&) {
                    for (float& value : p) value = decayRateOf(value);
                    return p;
                  },
                  [](float p) { return 8 * std::log(1 + std::exp(p)); }});
  return list;
}

// The largest error as a share of what the row allows.
Mismatch worstOf(const Function& function, const Values& found, const std::string& row) {
  Mismatch worst;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double expected = function.exact(double{function.x[i]});
    const double ulp = std::ldexp(1.0, std::ilogb(expected) - 23);
    double error = std::abs(double{found[i]} - expected) / (ulp * ulpsFor(row, expected));
    if (std::isnan(error)) error = INFINITY;
    if (error > worst.error) worst = {error, i, expected, found[i]};
  }
  return worst;
}

// Whether the instruction set that a setup begins with has fused multiply-adds.
bool fuses(const std::string& setup) {
  return !setup.starts_with("SSE") && !setup.starts_with("SCALAR") && !setup.starts_with("EMU128");
}

}  // namespace

class FunctionsTest : public QObject {
  Q_OBJECT

 private slots:
  void eachValueIsRightForItself_data();
  void eachValueIsRightForItself();
};

void FunctionsTest::eachValueIsRightForItself_data() {
  QTest::addColumn<int>("index");
  const std::vector<Function> list = functions();
  for (std::size_t i = 0; i < list.size(); ++i) QTest::newRow(list[i].name.c_str()) << static_cast<int>(i);
}

void FunctionsTest::eachValueIsRightForItself() {
  QFETCH(int, index);
  const Function function = functions()[static_cast<std::size_t>(index)];
  forEachSetup([&](ThreadPool& pool, const std::string& setup) {
    const std::string row = function.name == "gate" && !fuses(setup) ? "gateUnfused" : function.name;
    const Mismatch worst = worstOf(function, function.ours(function.x, pool), row);
    const std::string at = ", of " + std::to_string(function.x[worst.index]);
    QVERIFY2(worst.error <= 1, qPrintable(describe(worst, 1, setup + at)));
  });
  Values careless;
  for (const float x : function.x) careless.push_back(function.careless(x));
  QVERIFY2(worstOf(function, careless, function.name).error > 1000, "the row accepts a careless formula");
}

QTEST_APPLESS_MAIN(FunctionsTest)
#include "functions_test.moc"
