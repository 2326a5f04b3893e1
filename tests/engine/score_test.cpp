// Scores: sums by position, a run interrupted between two chunks, its file, and how two predictions differ.
#include "engine/score.h"

#include <QtTest>
#include <cmath>
#include <functional>
#include <limits>

#include "engine/compare.h"
#include "engine/error.h"
#include "engine/score_checkpoint.h"
#include "engine/verify/test_models.h"
#include "tests/engine/model_files.h"

using namespace eyrie::engine;
using namespace eyrie::engine::verify;
using namespace eyrie::engine::test;

namespace {

struct Records final : ScoreObserver {
  void onToken(const TokenRecord& record) override { all.push_back(record); }
  std::vector<TokenRecord> all;
};

ScoreCheckpoint sample() {
  ScoreCheckpoint checkpoint;
  checkpoint.settings = {{"model", "abc"}, {"--chunk", "512"}};
  checkpoint.tokensDigest = "0123";
  checkpoint.totals = {1024, 1023, -3000.1234567890123, 2, true};
  checkpoint.pending = emptyRecord(1024, 17);
  checkpoint.pending.logprob = -std::numeric_limits<float>::infinity();
  checkpoint.pending.entropy = 0.1F;
  checkpoint.pending.rank = 3;
  checkpoint.buckets = {{1, -2.5, 0, 0}, {2, -1.0 / 3, -0.0, 1e-300}};
  checkpoint.bytes = 4000;
  checkpoint.perTokenBytes = 77;
  checkpoint.state = {std::byte{1}, std::byte{'\n'}, std::byte{0}};
  return checkpoint;
}

}  // namespace

class ScoreTest : public QObject {
  Q_OBJECT

 private slots:
  void bucketsArePowersOfTwoOrOfOneWidth();
  void aRunGoesOnBitForBit();
  void theFirstTokenIsNotScored();
  void predictionsThatAreNoNumbersAreNotLeftOut();
  void aStoppedChunkChangesNothing();
  void aCheckpointComesBackBitForBit();
  void aBadCheckpointIsRefused_data();
  void aBadCheckpointIsRefused();
  void divergenceIsThatOfTheProbabilities();
  void divergenceOfNearlyEqualPredictionsIsTheirs();
};

void ScoreTest::bucketsArePowersOfTwoOrOfOneWidth() {
  PositionBuckets powers(0);
  for (std::int64_t position = 1; position <= 9; ++position) ++powers.at(position).tokens;
  std::vector<std::int64_t> counts;
  for (const BucketSums& sums : powers.all()) counts.push_back(sums.tokens);
  QCOMPARE(counts, (std::vector<std::int64_t>{1, 2, 4, 2}));
  QCOMPARE(powers.from(0), std::int64_t{1});
  QCOMPARE(powers.from(3), std::int64_t{8});
  PositionBuckets even(4);
  for (std::int64_t position = 1; position <= 9; ++position) ++even.at(position).tokens;
  counts.clear();
  for (const BucketSums& sums : even.all()) counts.push_back(sums.tokens);
  QCOMPARE(counts, (std::vector<std::int64_t>{3, 4, 2}));
  QCOMPARE(even.from(2), std::int64_t{8});
  QCOMPARE(PositionBuckets(0).from(40), std::int64_t{1} << 40);
}

void ScoreTest::aRunGoesOnBitForBit() {
  const auto model = Model::load(randomCheckpoint(tinyConfig("RRA", 4), 1));
  const std::vector<std::int32_t> tokens = TestRandom(6).tokens(90, 41);
  const std::span<const std::int32_t> all = tokens;
  Records whole;
  SequenceState state = model->newState();
  const ScoreTotals expected = scoreTokens(*model, state, tokens, whole, 30);

  Records parts;
  SequenceState before = model->newState();
  ScoreRun first(*model, before, parts);
  QVERIFY(first.feed(all.first(30), tokens[30]));
  QCOMPARE(parts.all.size(), std::size_t{30});
  QCOMPARE(first.pending().position, std::int64_t{30});
  // As a file would bring it back.
  ScoreCheckpoint kept;
  kept.totals = first.totals();
  kept.pending = first.pending();
  kept.state = serialiseState(before.download(), "m");
  const ScoreCheckpoint back = parseScoreCheckpoint(writeScoreCheckpoint(kept), "file");
  SequenceState after = model->restoreState(parseState(back.state, model->config(), "m"));
  ScoreRun second(*model, after, parts);
  second.resume(back.totals, back.pending);
  QVERIFY(second.feed(all.subspan(30, 30), tokens[60]));
  QVERIFY(second.feed(all.subspan(60), -1));
  QCOMPARE(second.totals().logprobSum, expected.logprobSum);
  QCOMPARE(second.totals().tokens, expected.tokens);
  QCOMPARE(second.totals().chunks, expected.chunks);
  for (std::size_t i = 1; i < tokens.size(); ++i) {
    QCOMPARE(parts.all[i].position, std::int64_t(i));
    QCOMPARE(parts.all[i].token, tokens[i]);
    QCOMPARE(parts.all[i].logprob, whole.all[i].logprob);
    QCOMPARE(parts.all[i].entropy, whole.all[i].entropy);
    QCOMPARE(parts.all[i].rank, whole.all[i].rank);
  }
  QVERIFY(serialiseState(after.download(), "m") == serialiseState(state.download(), "m"));
}

void ScoreTest::theFirstTokenIsNotScored() {
  const auto model = Model::load(randomCheckpoint(tinyConfig("RA", 2), 1));
  Records records;
  SequenceState state = model->newState();
  const ScoreTotals totals = scoreTokens(*model, state, std::vector<std::int32_t>{5, 6}, records, 1);
  QCOMPARE(totals.tokens, std::int64_t{2});
  QCOMPARE(totals.scored, std::int64_t{1});
  QVERIFY(std::isnan(records.all[0].logprob));
  QVERIFY(records.all[1].logprob < 0);
}

// As of a damaged model: no sum of what is left.
void ScoreTest::predictionsThatAreNoNumbersAreNotLeftOut() {
  const auto damage = [](const std::string& name, std::vector<float>& values) {
    if (name == "model.final_norm.weight") values[0] = std::numeric_limits<float>::quiet_NaN();
  };
  LoadOptions options;
  options.backend = BackendKind::reference;
  const auto model = Model::load(editedCheckpoint(randomCheckpoint(tinyConfig("RA", 2), 1), damage), options);
  Records records;
  SequenceState state = model->newState();
  const ScoreTotals totals = scoreTokens(*model, state, std::vector<std::int32_t>{5, 6, 7}, records);
  QCOMPARE(totals.scored, std::int64_t{2});
  QVERIFY(std::isnan(totals.logprobSum) && std::isnan(totals.perplexity()));
}

void ScoreTest::aStoppedChunkChangesNothing() {
  const auto model = Model::load(randomCheckpoint(tinyConfig("RRA", 4), 1));
  const std::vector<std::int32_t> tokens = TestRandom(6).tokens(20, 41);
  std::stop_source stopped;
  stopped.request_stop();
  Records records;
  SequenceState state = model->newState();
  ScoreRun run(*model, state, records);
  QVERIFY(run.feed(std::span(tokens).first(10), tokens[10]));
  const double sum = run.totals().logprobSum;
  QVERIFY(!run.feed(std::span(tokens).subspan(10), -1, stopped.get_token()));
  QVERIFY(!run.totals().complete);
  QCOMPARE(run.totals().tokens, std::int64_t{10});
  QCOMPARE(run.totals().logprobSum, sum);
  QCOMPARE(run.pending().position, std::int64_t{10});
  QCOMPARE(run.pending().token, tokens[10]);
  QCOMPARE(state.position(), std::int64_t{10});
}

void ScoreTest::aCheckpointComesBackBitForBit() {
  const ScoreCheckpoint written = sample();
  const std::string bytes = writeScoreCheckpoint(written);
  const ScoreCheckpoint read = parseScoreCheckpoint(bytes, "file");
  QVERIFY(read.settings == written.settings);
  QCOMPARE(read.tokensDigest, written.tokensDigest);
  QCOMPARE(read.totals.tokens, written.totals.tokens);
  QCOMPARE(read.totals.scored, written.totals.scored);
  QCOMPARE(read.totals.logprobSum, written.totals.logprobSum);
  QCOMPARE(read.pending.token, written.pending.token);
  QCOMPARE(read.pending.rank, written.pending.rank);
  QVERIFY(std::isinf(read.pending.logprob));
  QCOMPARE(read.buckets.size(), written.buckets.size());
  QCOMPARE(read.buckets[1].logprobSum, written.buckets[1].logprobSum);
  QVERIFY(std::signbit(read.buckets[1].otherLogprobSum));
  QCOMPARE(read.perTokenBytes, written.perTokenBytes);
  QVERIFY(read.state == written.state);
  QCOMPARE(writeScoreCheckpoint(read), bytes);
  // Stopped before anything was read.
  ScoreCheckpoint first = sample();
  first.pending = emptyRecord(0, 2);
  QCOMPARE(parseScoreCheckpoint(writeScoreCheckpoint(first), "file").pending.rank, -1);
}

void ScoreTest::aBadCheckpointIsRefused_data() {
  QTest::addColumn<QByteArray>("bytes");
  QTest::addColumn<QByteArray>("says");
  const QByteArray good = QByteArray::fromStdString(writeScoreCheckpoint(sample()));
  QByteArray bent = good;
  bent[good.size() - 1] = char(bent[good.size() - 1] ^ 1);
  QTest::newRow("empty") << QByteArray() << QByteArray("expected a checkpoint of score");
  QTest::newRow("something else") << QByteArray(400, 'x') << QByteArray("expected a checkpoint of score");
  QTest::newRow("a newer version") << QByteArray(good).replace("EYRIESCORE 1", "EYRIESCORE 2")
                                   << QByteArray("version 1");
  QTest::newRow("a bit of the state") << bent << QByteArray("damaged");
  QTest::newRow("cut short") << good.left(good.size() / 2) << QByteArray("damaged");
}

void ScoreTest::aBadCheckpointIsRefused() {
  QFETCH(QByteArray, bytes);
  QFETCH(QByteArray, says);
  const std::string message = errorOf([&] { parseScoreCheckpoint(bytes.toStdString(), "run.ckpt"); });
  QVERIFY2(message.starts_with("run.ckpt: ") && message.find(says.toStdString()) != std::string::npos,
           message.c_str());
}

void ScoreTest::divergenceIsThatOfTheProbabilities() {
  const std::vector<float> a = {std::log(0.5F), std::log(0.25F), std::log(0.25F)};
  // The same up to a constant, as logits are.
  const std::vector<float> b = {std::log(0.25F) + 3, std::log(0.5F) + 3, std::log(0.25F) + 3};
  QVERIFY(std::abs(divergenceOf(a, b) - 0.25 * std::log(2.0)) < 1e-6);
  QCOMPARE(divergenceOf(a, a), 0.0);
}

// Second order: half the variance of the difference.
void ScoreTest::divergenceOfNearlyEqualPredictionsIsTheirs() {
  TestRandom random(3);
  const std::vector<float> a = random.normals(4096, 2);
  std::vector<float> b = a;
  for (float& value : b) value += 1e-3F * random.normal();
  double mass = 0;
  double mean = 0;
  double square = 0;
  for (std::size_t v = 0; v < a.size(); ++v) {
    const double p = std::exp(static_cast<double>(a[v]));
    const double d = static_cast<double>(b[v]) - static_cast<double>(a[v]);
    mass += p;
    mean += p * d;
    square += p * d * d;
  }
  const double expected = (square / mass - std::pow(mean / mass, 2)) / 2;
  QVERIFY(expected > 1e-7);
  QVERIFY2(std::abs(divergenceOf(a, b) / expected - 1) < 0.01,
           qPrintable(QString("%1, expected %2").arg(divergenceOf(a, b)).arg(expected)));
}

QTEST_GUILESS_MAIN(ScoreTest)
#include "score_test.moc"
