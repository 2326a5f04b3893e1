// Drawing tokens.
#include "engine/sampler.h"

#include <QtTest>
#include <cmath>
#include <limits>

#include "engine/error.h"
#include "engine/verify/test_models.h"
#include "kernels/sample.h"

using namespace eyrie::engine;
using namespace eyrie::engine::verify;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <typename Call>
std::string argumentError(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code() == ErrorCode::badArgument ? error.what() : "";
  }
  return {};
}

// Logits, and of them what a card would send.
struct Row {
  std::vector<float> logits;
  std::vector<std::int32_t> tokens;
  std::vector<float> largest;
  eyrie::kernels::LogitStats scaled;

  Row(std::vector<float> all, float temperature, std::int64_t k)
      : logits(std::move(all)), tokens(static_cast<std::size_t>(k)), largest(tokens.size()) {
    eyrie::kernels::reference::topK({logits.data(), std::ssize(logits), k, tokens.data(), largest.data()});
    std::vector<float> divided = logits;
    for (float& logit : divided) logit /= temperature > 0 ? temperature : 1.0F;
    scaled = eyrie::kernels::reference::logitStats(divided.data(), std::ssize(divided));
  }
  RankedLogits ranked() const {
    const auto V = std::ssize(logits);
    return {eyrie::kernels::reference::logitStats(logits.data(), V), scaled, V, tokens, largest, {}, {}};
  }
};

}  // namespace

class SamplerTest : public QObject {
  Q_OBJECT

 private slots:
  void greedyTakesTheLargest();
  void filtersApplyInOrder_data();
  void filtersApplyInOrder();
  void penaltyWorksOnLogitsOfSeenTokens();
  void sameSeedSameDraws();
  void drawsFollowProbabilities();
  void brokenLogitsAreHandled();
  void theLargestLogitsDrawAsAllOfThemDo_data();
  void theLargestLogitsDrawAsAllOfThemDo();
  void theLargestLogitsSayWhereTheyDoNotDecide();
  void drawsMadeElsewhereAreUsed();
  void optionsOutOfRangeAreRefusedByName();
};

void SamplerTest::greedyTakesTheLargest() {
  SamplingOptions options;
  options.temperature = 0;
  Sampler sampler(options);
  const std::vector<float> logits = {1, 5, 5, -2};
  QCOMPARE(sampler.draw(logits, {}), 1);
  QCOMPARE(sampler.lastCandidates().size(), std::size_t{1});
  QCOMPARE(sampler.lastCandidates()[0].probability, 1.0F);
}

void SamplerTest::filtersApplyInOrder_data() {
  QTest::addColumn<float>("temperature");
  QTest::addColumn<int>("topK");
  QTest::addColumn<float>("topP");
  QTest::addColumn<float>("minP");
  QTest::addColumn<int>("kept");
  // Probabilities 0.5, 0.25, 0.125, 0.0625, 0.0625 at temperature 1.
  QTest::newRow("nothing filtered") << 1.0F << 0 << 1.0F << 0.0F << 5;
  QTest::newRow("top-k 2") << 1.0F << 2 << 1.0F << 0.0F << 2;
  QTest::newRow("top-k beyond the vocabulary") << 1.0F << 99 << 1.0F << 0.0F << 5;
  QTest::newRow("top-p keeps the token that crosses") << 1.0F << 0 << 0.7F << 0.0F << 2;
  QTest::newRow("top-p smaller than the first") << 1.0F << 0 << 0.1F << 0.0F << 1;
  QTest::newRow("top-p of what top-k left") << 1.0F << 2 << 0.6F << 0.0F << 1;
  QTest::newRow("min-p relative to the largest") << 1.0F << 0 << 1.0F << 0.2F << 3;
  QTest::newRow("temperature before top-p") << 0.5F << 0 << 0.7F << 0.0F << 1;
}

void SamplerTest::filtersApplyInOrder() {
  QFETCH(float, temperature);
  QFETCH(int, topK);
  QFETCH(float, topP);
  QFETCH(float, minP);
  QFETCH(int, kept);
  SamplingOptions options;
  options.temperature = temperature;
  options.topK = topK;
  options.topP = topP;
  options.minP = minP;
  Sampler sampler(options);
  std::vector<float> logits;
  for (const float p : {0.0625F, 0.5F, 0.125F, 0.25F, 0.0625F}) logits.push_back(std::log(p));
  const std::int32_t token = sampler.draw(logits, {});
  const std::vector<Candidate>& candidates = sampler.lastCandidates();
  QCOMPARE(static_cast<int>(candidates.size()), kept);
  QCOMPARE(candidates[0].token, 1);
  float sum = 0;
  bool found = false;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    sum += candidates[i].probability;
    found = found || candidates[i].token == token;
    if (i > 0) QVERIFY(candidates[i].probability <= candidates[i - 1].probability);
  }
  QVERIFY(found);
  QVERIFY2(std::abs(sum - 1) < 1e-6F, qPrintable(QString::number(sum)));
}

void SamplerTest::penaltyWorksOnLogitsOfSeenTokens() {
  SamplingOptions options;
  options.temperature = 0;
  options.repetitionPenalty = 2;
  Sampler sampler(options);
  const std::vector<std::int32_t> history = {0, 0, 3, 99};
  QCOMPARE(sampler.draw(std::vector<float>{4, 3, -1, -1}, history), 1);
  QCOMPARE(sampler.draw(std::vector<float>{-1, -1.5F, -9, -9}, history), 1);
}

void SamplerTest::sameSeedSameDraws() {
  SamplingOptions options;
  options.temperature = 1;
  options.topP = 1;
  options.seed = 0;
  // xoshiro256** seeded by splitmix64(0): fixed for ever, whatever the platform.
  Sampler known(options);
  const std::array<std::uint64_t, 4> start = known.randomState();
  QCOMPARE(start[0], std::uint64_t{0xe220a8397b1dcdafULL});
  QCOMPARE(start[1], std::uint64_t{0x6e789e6aa1b965f4ULL});
  const std::vector<float> logits = TestRandom(4).normals(1000);
  Sampler a(options);
  Sampler b(options);
  options.seed = 1;
  Sampler c(options);
  int different = 0;
  for (int i = 0; i < 50; ++i) {
    const std::int32_t first = a.draw(logits, {});
    QCOMPARE(b.draw(logits, {}), first);
    different += c.draw(logits, {}) != first ? 1 : 0;
  }
  QVERIFY(different > 30);
}

void SamplerTest::drawsFollowProbabilities() {
  SamplingOptions options;
  options.temperature = 1;
  options.topP = 1;
  Sampler sampler(options);
  const std::vector<float> logits = {std::log(0.1F), std::log(0.6F), std::log(0.3F)};
  int counts[3] = {};
  for (int i = 0; i < 20000; ++i) ++counts[sampler.draw(logits, {})];
  QVERIFY(std::abs(counts[0] - 2000) < 200);
  QVERIFY(std::abs(counts[1] - 12000) < 300);
}

void SamplerTest::brokenLogitsAreHandled() {
  Sampler sampler(SamplingOptions{});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  QCOMPARE(sampler.draw(std::vector<float>{nan, 2, -kInfinity}, {}), 1);
  QCOMPARE(sampler.draw(std::vector<float>{1, 2, kInfinity}, {}), 2);
  QVERIFY_EXCEPTION_THROWN(sampler.draw(std::vector<float>{nan, nan}, {}), Error);
  QVERIFY_EXCEPTION_THROWN(sampler.draw(std::vector<float>{}, {}), Error);
}

void SamplerTest::optionsOutOfRangeAreRefusedByName() {
  const auto refused = [](auto&& change, const char* name) {
    SamplingOptions options;
    change(options);
    return argumentError([&] { checkSampling(options); }).find(name) == 0;
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  QVERIFY(refused([&](SamplingOptions& o) { o.temperature = -1; }, "temperature"));
  QVERIFY(refused([&](SamplingOptions& o) { o.temperature = nan; }, "temperature"));
  QVERIFY(refused([&](SamplingOptions& o) { o.topK = -1; }, "top-k"));
  QVERIFY(refused([&](SamplingOptions& o) { o.topP = 0; }, "top-p"));
  QVERIFY(refused([&](SamplingOptions& o) { o.topP = 1.5F; }, "top-p"));
  QVERIFY(refused([&](SamplingOptions& o) { o.minP = 1; }, "min-p"));
  QVERIFY(refused([&](SamplingOptions& o) { o.repetitionPenalty = 0.5F; }, "repetition penalty"));
}

void SamplerTest::theLargestLogitsDrawAsAllOfThemDo_data() {
  QTest::addColumn<float>("temperature");
  QTest::addColumn<int>("topK");
  QTest::addColumn<float>("topP");
  QTest::addColumn<float>("minP");
  QTest::newRow("greedy") << 0.0F << 0 << 0.95F << 0.0F;
  QTest::newRow("as usual") << 0.8F << 0 << 0.95F << 0.0F;
  QTest::newRow("top-k") << 1.3F << 20 << 1.0F << 0.0F;
  QTest::newRow("top-p of what top-k left") << 1.0F << 20 << 0.7F << 0.0F;
  QTest::newRow("min-p alone") << 0.7F << 0 << 1.0F << 0.05F;
}

void SamplerTest::theLargestLogitsDrawAsAllOfThemDo() {
  QFETCH(float, temperature);
  QFETCH(int, topK);
  QFETCH(float, topP);
  QFETCH(float, minP);
  Sampler all({temperature, topK, topP, minP, 1.0F, 7});
  Sampler largest({temperature, topK, topP, minP, 1.0F, 7});
  TestRandom random(3);
  for (int i = 0; i < 50; ++i) {
    const Row row(random.normals(1000, 4.0F), temperature, 100);
    const std::optional<std::int32_t> drawn = largest.draw(row.ranked());
    QVERIFY(drawn.has_value());
    QCOMPARE(*drawn, all.draw(row.logits, {}));
    QCOMPARE(largest.lastCandidates().size(), all.lastCandidates().size());
    for (std::size_t c = 0; c < largest.lastCandidates().size(); ++c) {
      QCOMPARE(largest.lastCandidates()[c].token, all.lastCandidates()[c].token);
      QCOMPARE(largest.lastCandidates()[c].probability, all.lastCandidates()[c].probability);
    }
  }
  QCOMPARE(largest.randomState(), all.randomState());
}

void SamplerTest::theLargestLogitsSayWhereTheyDoNotDecide() {
  const Row flat(TestRandom(4).normals(1000, 0.1F), 1.0F, 100);  // 95 % of it are many tokens
  const auto refuses = [&](const SamplingOptions& options, const Row& row) {
    Sampler sampler(options);
    const auto before = sampler.randomState();
    return !sampler.draw(row.ranked()).has_value() && sampler.randomState() == before;
  };
  QVERIFY(refuses({1.0F, 0, 0.95F, 0.0F, 1.0F, 1}, flat));
  QVERIFY(refuses({1.0F, 101, 1.0F, 0.0F, 1.0F, 1}, flat));
  QVERIFY(refuses({1.0F, 0, 1.0F, 0.0F, 1.0F, 1}, flat));
  QVERIFY(refuses({0.8F, 5, 0.95F, 0.0F, 1.2F, 1}, flat));
  QVERIFY(!refuses({1.0F, 100, 1.0F, 0.0F, 1.0F, 1}, flat));
  std::vector<float> logits(1000, 1.0F);
  logits[3] = kInfinity;
  QVERIFY(refuses({1.0F, 5, 1.0F, 0.0F, 1.0F, 1}, Row(logits, 1.0F, 100)));
  QVERIFY(refuses({0.0F, 0, 1.0F, 0.0F, 1.0F, 1},
                  Row(std::vector<float>(1000, std::numeric_limits<float>::quiet_NaN()), 1.0F, 100)));
  // All there are decide everything.
  QVERIFY(!refuses({1.0F, 0, 1.0F, 0.0F, 1.0F, 1}, Row(TestRandom(4).normals(80, 1.0F), 1.0F, 80)));
}

// Where they were made with what the next draw is made with: not once the random state is another.
void SamplerTest::drawsMadeElsewhereAreUsed() {
  const SamplingOptions options{0.8F, 0, 0.95F, 0.0F, 1.0F, 3};
  const Row row(TestRandom(3).normals(1000, 4.0F), 0.8F, 100);
  Sampler own(options);
  Sampler told(options);
  const auto before = told.randomState();
  RankedLogits ranked = row.ranked();
  ranked.rule = told.next();
  QCOMPARE(told.randomState(), before);
  ranked.drawn = {2 * eyrie::kernels::kLargestWeight, row.tokens[1],
                  2};  // which no filter of these would give
  const auto drawn = own.draw(row.ranked());
  QVERIFY(drawn.has_value() && own.lastCandidates().size() != 2);
  QCOMPARE(told.draw(ranked), std::optional(row.tokens[1]));
  QCOMPARE(told.lastCandidates().size(), std::size_t{2});
  QCOMPARE(told.lastCandidates()[0].probability, 0.5F);
  QCOMPARE(told.randomState(), own.randomState());
  QCOMPARE(told.draw(ranked), own.draw(row.ranked()));
  QCOMPARE(told.lastCandidates().size(), own.lastCandidates().size());
  told.setRandomState(before);
  ranked.drawn = {};  // undecided there
  QCOMPARE(told.draw(ranked), drawn);
  told.setRandomState(before);
  ranked.rule.topP = 0.5F;
  ranked.drawn = {eyrie::kernels::kLargestWeight, 999, 1};
  QCOMPARE(told.draw(ranked), drawn);
}

QTEST_GUILESS_MAIN(SamplerTest)
#include "sampler_test.moc"
