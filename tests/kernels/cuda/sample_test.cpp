#include "tests/kernels/cuda/cuda_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

struct Top {
  std::vector<std::int32_t> indices;
  std::vector<float> values;
};

template <class Run>
Top topOf(const std::vector<float>& logits, std::int64_t k, Run run) {
  Top top{std::vector<std::int32_t>(asSize(k)), std::vector<float>(asSize(k))};
  run(TopKArgs{logits.data(), static_cast<std::int64_t>(logits.size()), k, top.indices.data(),
               top.values.data()});
  return top;
}

void onTheCard(const TopKArgs& args) {
  std::vector<std::uint64_t> workspace(asSize(cuda::topKWorkspace(args.V, args.k)), ~std::uint64_t{0});
  cuda::topK(args, workspace.data(), nullptr);
}

void plainly(const TopKArgs& args) {
  reference::topK(args);
}

// A row for each rule: its largest logits, falling, and what is known of all V. Every third has ties.
struct DrawRows {
  std::vector<DrawRule> rules;
  std::int64_t V, known;
  std::vector<float> logits;
  std::vector<std::int32_t> tokens;
  std::vector<LogitStats> stats, scaled;

  std::int64_t rows() const { return std::ssize(rules); }
  void add(const DrawRule& rule) {
    std::vector<float> all = randomVector(V, static_cast<std::uint32_t>(3 + rows()), 2.0F);
    if (rows() % 3 == 2)
      for (float& logit : all) logit = std::round(logit);
    rules.push_back(rule);
    stats.push_back(reference::logitStats(all.data(), V));
    const Top top = topOf(all, known, plainly);
    logits.insert(logits.end(), top.values.begin(), top.values.end());
    tokens.insert(tokens.end(), top.indices.begin(), top.indices.end());
    for (float& logit : all) logit /= rule.temperature > 0 ? rule.temperature : 1.0F;
    scaled.push_back(reference::logitStats(all.data(), V));
  }
  template <class Draw>
  std::vector<Drawn> drawn(Draw draw) const {
    std::vector<Drawn> found(rules.size(), Drawn{1, 2, 3});
    draw(DrawArgs{logits.data(), tokens.data(), stats.data(), scaled.data(), rules.data(), rows(), V, known,
                  found.data()});
    return found;
  }
  std::vector<Drawn> onCard() const {
    return drawn([](const DrawArgs& args) { cuda::draw(args, nullptr); });
  }
  std::vector<Drawn> expected() const {
    return drawn([](const DrawArgs& args) { reference::draw(args); });
  }
};

DrawRows rowsOf(std::int64_t V, std::int64_t known, const std::vector<DrawRule>& rules) {
  DrawRows rows{{}, V, known, {}, {}, {}, {}};
  for (const DrawRule& rule : rules) rows.add(rule);
  return rows;
}

std::vector<DrawRule> rulesWith(const std::vector<double>& uniforms) {
  std::vector<DrawRule> rules;
  for (const double uniform : uniforms) {
    for (const DrawRule& rule :
         {DrawRule{0.0F, 0, 0.9F, 0.0F}, DrawRule{0.8F, 0, 0.95F, 0.0F}, DrawRule{0.3F, 0, 0.95F, 0.0F},
          DrawRule{1.0F, 0, 1.0F, 0.0F}, DrawRule{1.0F, 7, 0.5F, 0.0F}, DrawRule{1.3F, 32, 1.0F, 0.1F},
          DrawRule{2.0F, 300, 1.0F, 0.0F}, DrawRule{1.0F, 0, 1.0F, 0.02F}, DrawRule{1e-30F, 0, 1.0F, 0.0F},
          DrawRule{1.0F, 1, 1.0F, 0.0F}}) {
      rules.push_back(rule);
      rules.back().uniform = uniform;
    }
  }
  return rules;
}

std::int64_t undecided(const std::vector<Drawn>& all) {
  return std::count(all.begin(), all.end(), Drawn{});
}

}  // namespace

class CudaSampleTest : public QObject {
  Q_OBJECT

 private slots:
  void topKMatchesReference();
  void rowsDoNotMix();
  void tiesComeByRisingIndexAndNanLast();
  void drawMatchesReference_data();
  void drawMatchesReference();
  void drawsOfDamagedLogitsAreNotDecided();
};

void CudaSampleTest::topKMatchesReference() {
  forEachOrder([](const std::string& order) {
    for (const std::int64_t V : {1, 100, 2048, 2049, 9001}) {
      const std::vector<float> logits = randomVector(V, 1);
      for (const std::int64_t k : {std::int64_t{1}, std::int64_t{50}, cuda::kMaxTopK}) {
        if (k > V) continue;
        const Top actual = topOf(logits, k, onTheCard);
        const Top expected = topOf(logits, k, plainly);
        QVERIFY2(actual.indices == expected.indices && actual.values == expected.values,
                 (order + ", V " + std::to_string(V) + ", k " + std::to_string(k)).c_str());
      }
    }
  });
}

void CudaSampleTest::rowsDoNotMix() {
  forEachOrder([](const std::string& order) {
    for (const std::int64_t V : {1000, 9001}) {
      constexpr std::int64_t kRows = 3;
      constexpr std::int64_t kBest = 300;
      const std::vector<float> logits = randomVector(kRows * V, 5);
      Top all{std::vector<std::int32_t>(kRows * kBest), std::vector<float>(kRows * kBest)};
      std::vector<std::uint64_t> workspace(asSize(kRows * cuda::topKWorkspace(V, kBest)), ~std::uint64_t{0});
      cuda::topK({logits.data(), V, kBest, all.indices.data(), all.values.data()}, workspace.data(), nullptr,
                 kRows);
      Top expected;
      for (std::int64_t row = 0; row < kRows; ++row) {
        const Top own = topOf({logits.begin() + row * V, logits.begin() + (row + 1) * V}, kBest, plainly);
        expected.indices.insert(expected.indices.end(), own.indices.begin(), own.indices.end());
        expected.values.insert(expected.values.end(), own.values.begin(), own.values.end());
      }
      QVERIFY2(all.indices == expected.indices && all.values == expected.values,
               (order + ", V " + std::to_string(V)).c_str());
    }
  });
}

void CudaSampleTest::tiesComeByRisingIndexAndNanLast() {
  std::vector<float> logits(5000);
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i * 7919 % 13) - 6.0F;
  logits[17] = NAN;
  logits[18] = -0.0F;
  logits[19] = -INFINITY;
  for (const std::int64_t k : {3, 1000})
    QCOMPARE(topOf(logits, k, onTheCard).indices, topOf(logits, k, plainly).indices);
  const std::vector<float> few{NAN, -INFINITY, 1.0F, NAN, 2.0F};
  QCOMPARE(topOf(few, 5, onTheCard).indices, (std::vector<std::int32_t>{4, 2, 0, 1, 3}));
  QCOMPARE(topOf(few, 5, onTheCard).values, topOf(few, 5, plainly).values);
}

void CudaSampleTest::drawMatchesReference_data() {
  QTest::addColumn<int>("V");
  QTest::addColumn<int>("known");
  for (const int known : {1, 2, 32, 33, 256, 1024})
    for (const int V : {known, known + 1, 3000}) QTest::addRow("%d of %d", known, V) << V << known;
}

void CudaSampleTest::drawMatchesReference() {
  QFETCH(int, V);
  QFETCH(int, known);
  const DrawRows rows =
      rowsOf(V, known, rulesWith(known < 100 ? std::vector{0.0, 0.3, 0.77, 1 - 0x1p-53} : std::vector{0.77}));
  const std::vector<Drawn> expected = rows.expected();
  QVERIFY(undecided(expected) < rows.rows());
  QVERIFY(V == 3000 ? undecided(expected) > 0 : V > known || undecided(expected) == 0);
  DrawRows other = rows;
  for (DrawRule& rule : other.rules) rule.uniform = rule.uniform < 0.5 ? 0.9 : 0.1;
  QVERIFY2(known <= 2 || other.onCard() != expected, "another random number passes");
  forEachOrder([&](const std::string& order) { QVERIFY2(rows.onCard() == expected, order.c_str()); });
  const DrawRows one = rowsOf(V, known, {{0.8F, 0, 0.95F, 0.0F, 0.4}});
  QVERIFY(one.onCard() == one.expected());
}

void CudaSampleTest::drawsOfDamagedLogitsAreNotDecided() {
  const DrawRule greedy{0.0F, 0, 1.0F, 0.0F, 0.5};
  const DrawRule usual{0.8F, 0, 0.95F, 0.0F, 0.5};
  const DrawRule few{0.8F, 5, 0.95F, 0.0F, 0.5};
  DrawRows rows = rowsOf(40, 40, {greedy, usual, few, greedy, usual, few, usual, usual, few});
  for (const std::size_t row : {0, 1, 2}) rows.stats[row].logSumExp = NAN;
  for (const std::size_t row : {3, 4, 5}) rows.stats[row].logSumExp = INFINITY;
  rows.scaled[6].logSumExp = NAN;
  rows.stats[7].logSumExp = -INFINITY;
  rows.scaled[8].logSumExp = NAN;  // not needed: the draw is among five
  for (std::int64_t i = 0; i < 40; ++i) rows.logits[asSize(7 * 40 + i)] = -INFINITY;
  for (std::int64_t i = 0; i < 40; ++i) rows.logits[asSize(1 * 40 + i)] = NAN;
  const std::vector<Drawn> expected = rows.expected();
  QCOMPARE(undecided(expected), std::int64_t{8});
  QVERIFY(expected[8] != Drawn{});
  forEachOrder([&](const std::string& order) { QVERIFY2(rows.onCard() == expected, order.c_str()); });
}

QTEST_APPLESS_MAIN(CudaSampleTest)
#include "sample_test.moc"
