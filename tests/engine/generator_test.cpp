// Writing and scoring tokens.
#include "engine/generator.h"

#include <QtTest>
#include <cmath>

#include "engine/compare.h"
#include "engine/error.h"
#include "engine/score.h"
#include "engine/verify/model_run.h"
#include "engine/verify/test_models.h"

using namespace eyrie::engine;
using namespace eyrie::engine::verify;

namespace {

std::shared_ptr<Model> tinyModel(BackendKind backend = BackendKind::reference) {
  LoadOptions options;
  options.backend = backend;
  options.threads = 1;
  return Model::load(randomCheckpoint(tinyConfig("RRA", 4), 5), options);
}

template <typename Call>
std::string argumentError(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code() == ErrorCode::badArgument ? error.what() : "";
  }
  return {};
}

// Keeps everything; asks for a stop after `stopAfter` tokens, if that is not negative.
class Keeper final : public GenerateObserver {
 public:
  void onToken(const TokenRecord& record) override {
    records.push_back(record);
    if (static_cast<int>(records.size()) == stopAfter) source.request_stop();
  }
  void onFrame(const TraceFrame& frame) override { frames.push_back(frame); }
  void onProgress(std::int64_t fed, std::int64_t total) override { progress.emplace_back(fed, total); }
  void onLastToken(const SequenceState& state) override { lastTokenAt = state.position(); }
  std::vector<std::int32_t> generated() const {
    std::vector<std::int32_t> tokens;
    for (const TokenRecord& record : records) {
      if (record.generated) tokens.push_back(record.token);
    }
    return tokens;
  }

  std::vector<TokenRecord> records;
  std::vector<TraceFrame> frames;
  std::vector<std::pair<std::int64_t, std::int64_t>> progress;
  std::int64_t lastTokenAt = -1;
  int stopAfter = -1;
  std::stop_source source;
};

GenerateOptions writing(int tokens) {
  GenerateOptions options;
  options.maxTokens = tokens;
  options.eosTokens = {};
  options.sampling.seed = 17;
  return options;
}

}  // namespace

class GeneratorTest : public QObject {
  Q_OBJECT

 private slots:
  void recordsAreCompleteAndInOrder();
  void lookingChangesNothing();
  void logprobsEqualTeacherForcing();
  void generatedStateEqualsReadingEverything();
  void samplerContinuesAfterRestore();
  void stopsOnEosAndOnEndOfTurn();
  void cancelsWithinOneToken();
  void zeroTokensReadsOnly();
  void reusedPrefixIsNotReportedAgain();
  void raggedRowsEqualRowsAlone();
  void contextWithNothingToFeedIsRefused();
  void scoreIsTheSameForAnyChunking();
  void comparisonOfTwoModels();
};

void GeneratorTest::recordsAreCompleteAndInOrder() {
  const auto model = tinyModel();
  const std::vector<std::int32_t> context = TestRandom(2).tokens(300, 41);
  GenerateOptions options = writing(20);
  options.scoreContext = true;
  options.trace.level = TraceLevel::summary;
  Keeper keeper;
  SequenceState state = model->newState();
  const GenerateResult result = generate(*model, state, context, options, keeper);
  QCOMPARE(result.stop, StopReason::length);
  QCOMPARE(result.contextTokens, std::int64_t{300});
  QCOMPARE(result.generatedTokens, std::int64_t{20});
  QCOMPARE(keeper.records.size(), std::size_t{320});
  QCOMPARE(keeper.frames.size(), std::size_t{320});
  QCOMPARE(keeper.lastTokenAt, std::int64_t{299});
  QCOMPARE(keeper.progress.back(), (std::pair<std::int64_t, std::int64_t>(300, 300)));
  QVERIFY(std::isnan(keeper.records[0].logprob));
  QCOMPARE(keeper.records[0].topTokens[0], -1);
  for (std::size_t i = 0; i < keeper.records.size(); ++i) {
    const TokenRecord& record = keeper.records[i];
    QCOMPARE(record.position, static_cast<std::int64_t>(i));
    QCOMPARE(keeper.frames[i].position, static_cast<std::int64_t>(i));
    QCOMPARE(record.generated, i >= 300);
    if (i < 300) QCOMPARE(record.token, context[i]);
    if (i == 0) continue;
    QVERIFY(record.logprob <= 0 && record.rank >= 0 && record.entropy > 0);
    if (record.rank < kTopTokens) {
      QCOMPARE(record.topTokens[record.rank], record.token);
      QCOMPARE(record.topLogprobs[record.rank], record.logprob);
    }
  }
  QCOMPARE(result.next.position, std::int64_t{320});
  QVERIFY(result.next.entropy > 0 && result.next.topTokens[0] >= 0);
}

void GeneratorTest::lookingChangesNothing() {
  const auto model = tinyModel(BackendKind::cpu);
  const std::vector<std::int32_t> context = TestRandom(2).tokens(50, 41);
  std::vector<std::int32_t> expected;
  std::vector<std::byte> state;
  for (const TraceLevel level : {TraceLevel::off, TraceLevel::summary, TraceLevel::full}) {
    GenerateOptions options = writing(20);
    options.trace.level = level;
    Keeper keeper;
    SequenceState end = model->newState();
    generate(*model, end, context, options, keeper);
    QCOMPARE(keeper.frames.size(), level == TraceLevel::off ? std::size_t{0} : std::size_t{70});
    if (expected.empty()) {
      expected = keeper.generated();
      state = serialiseState(end.download(), "m");
    }
    QVERIFY(keeper.generated() == expected);
    QVERIFY2(serialiseState(end.download(), "m") == state, "bit for bit");
  }
}

void GeneratorTest::logprobsEqualTeacherForcing() {
  const auto model = tinyModel(BackendKind::cpu);
  const std::vector<std::int32_t> context = TestRandom(2).tokens(9, 41);
  GenerateOptions options = writing(30);
  options.sampling.temperature = 3;
  Keeper written;
  SequenceState state = model->newState();
  generate(*model, state, context, options, written);
  std::vector<std::int32_t> all = context;
  for (const std::int32_t token : written.generated()) all.push_back(token);

  class Records final : public ScoreObserver {
   public:
    void onToken(const TokenRecord& record) override { records.push_back(record); }
    std::vector<TokenRecord> records;
  } scored;
  SequenceState fresh = model->newState();
  const ScoreTotals totals = scoreTokens(*model, fresh, all, scored);
  QCOMPARE(totals.tokens, std::int64_t{39});
  QCOMPARE(totals.scored, std::int64_t{38});
  double sum = 0;
  for (std::size_t i = 1; i < all.size(); ++i) {
    sum += static_cast<double>(scored.records[i].logprob);
    if (i < 9) continue;
    const double difference =
        std::abs(static_cast<double>(scored.records[i].logprob - written.records[i].logprob));
    QVERIFY2(difference < 1e-4, qPrintable(QString("position %1: %2").arg(i).arg(difference)));
    QCOMPARE(scored.records[i].rank, written.records[i].rank);
  }
  QVERIFY(std::abs(sum - totals.logprobSum) < 1e-9);
  QVERIFY(std::abs(totals.perplexity() - std::exp(-sum / 38)) < 1e-9);
}

void GeneratorTest::generatedStateEqualsReadingEverything() {
  const auto model = tinyModel();
  const std::vector<std::int32_t> context = TestRandom(2).tokens(5, 41);
  Keeper keeper;
  SequenceState state = model->newState();
  generate(*model, state, context, writing(12), keeper);
  std::vector<std::int32_t> all = context;
  for (const std::int32_t token : keeper.generated()) all.push_back(token);
  ModelRun written;
  written.state = state.download();
  ModelRun read = runModel(*model, all, kSteps);
  read.logits.clear();
  for (const CheckResult& result : compareRuns("state", written, read, kSameBits, kSameBits)) {
    QVERIFY2(result.passed, describeCheck(result).c_str());
  }
}

void GeneratorTest::samplerContinuesAfterRestore() {
  const auto model = tinyModel();
  const std::vector<std::int32_t> context = TestRandom(2).tokens(6, 41);
  Sampler sampler(writing(0).sampling);
  SequenceState state = model->newState();
  std::vector<float> logits = model->prefill(state, context, LogitRows::last);
  const auto write = [&](SequenceState& at, Sampler& with, std::vector<float> from, int n) {
    std::vector<std::int32_t> tokens;
    for (int i = 0; i < n; ++i) {
      tokens.push_back(with.draw(from, {}));
      const std::span<const float> next = model->step(at, tokens.back());
      from.assign(next.begin(), next.end());
    }
    return tokens;
  };
  write(state, sampler, logits, 10);
  const std::vector<std::byte> saved = serialiseState(state.download(), "m");
  const auto random = sampler.randomState();
  const std::vector<std::int32_t> first = write(state, sampler, logits, 200);
  SequenceState restored = model->restoreState(parseState(saved, model->config(), "m"));
  Sampler again(writing(0).sampling);
  again.setRandomState(random);
  QVERIFY2(write(restored, again, logits, 200) == first, "trap 42: save, write 200, restore, write 200");
}

void GeneratorTest::stopsOnEosAndOnEndOfTurn() {
  const auto model = tinyModel();
  const std::vector<std::int32_t> context = TestRandom(2).tokens(5, 41);
  Keeper free;
  SequenceState first = model->newState();
  generate(*model, first, context, writing(12), free);
  const std::vector<std::int32_t> tokens = free.generated();
  const auto firstUse = [&](std::int32_t token) {
    return std::find(tokens.begin(), tokens.end(), token) - tokens.begin();
  };
  const std::int32_t token = tokens[6];
  const auto expected = static_cast<std::size_t>(firstUse(token)) + 1;
  for (const bool turn : {false, true}) {
    GenerateOptions options = writing(12);
    options.endOfTurn = turn ? token : -1;
    options.eosTokens = {turn ? 40 : token};
    Keeper keeper;
    SequenceState state = model->newState();
    const GenerateResult result = generate(*model, state, context, options, keeper);
    if (!turn || keeper.generated().back() == token) {
      QVERIFY2(result.stop == (turn ? StopReason::turn : StopReason::eos),
               "trap 32: stop on 107 as well as on 1");
      QCOMPARE(keeper.generated().size(), expected);
    }
    QCOMPARE(state.position(), static_cast<std::int64_t>(5 + keeper.generated().size()));
  }
}

void GeneratorTest::cancelsWithinOneToken() {
  const auto model = tinyModel();
  const std::vector<std::int32_t> context = TestRandom(2).tokens(5, 41);
  Keeper keeper;
  keeper.stopAfter = 8;
  SequenceState state = model->newState();
  const GenerateResult result =
      generate(*model, state, context, writing(1000), keeper, keeper.source.get_token());
  QCOMPARE(result.stop, StopReason::cancelled);
  QCOMPARE(keeper.records.size(), std::size_t{8});
  QCOMPARE(state.position(), std::int64_t{8});
  Keeper never;
  never.source.request_stop();
  SequenceState untouched = model->newState();
  QCOMPARE(generate(*model, untouched, context, writing(5), never, never.source.get_token()).stop,
           StopReason::cancelled);
  QCOMPARE(untouched.position(), std::int64_t{0});
}

void GeneratorTest::zeroTokensReadsOnly() {
  const auto model = tinyModel();
  const std::vector<std::int32_t> context = {7};
  Keeper keeper;
  SequenceState state = model->newState();
  const GenerateResult result = generate(*model, state, context, writing(0), keeper);
  QCOMPARE(result.stop, StopReason::length);
  QCOMPARE(keeper.records.size(), std::size_t{1});
  QCOMPARE(state.position(), std::int64_t{1});
  QCOMPARE(result.next.position, std::int64_t{1});
}

void GeneratorTest::reusedPrefixIsNotReportedAgain() {
  const auto model = tinyModel();
  const std::vector<std::int32_t> context = TestRandom(2).tokens(30, 41);
  Keeper whole;
  SequenceState fresh = model->newState();
  generate(*model, fresh, context, writing(10), whole);
  SequenceState reused = model->newState();
  model->prefill(reused, std::span(context).first(20), LogitRows::none);
  Keeper rest;
  const GenerateResult result = generate(*model, reused, context, writing(10), rest);
  QCOMPARE(result.contextTokens, std::int64_t{10});
  QCOMPARE(rest.records.front().position, std::int64_t{20});
  QVERIFY(rest.generated() == whole.generated());
}

void GeneratorTest::raggedRowsEqualRowsAlone() {
  const auto model = tinyModel();
  std::vector<std::vector<std::int32_t>> alone;
  std::vector<SequenceState> states;
  std::vector<std::vector<float>> logits;
  const std::vector<std::size_t> lengths = {1, 17, 4, 30};
  for (const std::size_t length : lengths) {
    const std::vector<std::int32_t> prompt = TestRandom(length).tokens(static_cast<std::int64_t>(length), 41);
    Keeper keeper;
    SequenceState state = model->newState();
    GenerateOptions greedy = writing(8);
    greedy.sampling.temperature = 0;
    generate(*model, state, prompt, greedy, keeper);
    alone.push_back(keeper.generated());
    states.push_back(model->newState());
    logits.push_back(model->prefill(states.back(), prompt, LogitRows::last));
  }
  for (std::size_t i = 0; i < 8; ++i) {
    for (std::size_t row = 0; row < lengths.size(); ++row) {
      const auto token = static_cast<std::int32_t>(std::max_element(logits[row].begin(), logits[row].end()) -
                                                   logits[row].begin());
      QVERIFY2(token == alone[row][i], "trap 29: a row among others of other lengths equals the row alone");
      const std::span<const float> next = model->step(states[row], token);
      logits[row].assign(next.begin(), next.end());
    }
  }
}

void GeneratorTest::contextWithNothingToFeedIsRefused() {
  const auto model = tinyModel();
  Keeper keeper;
  SequenceState state = model->newState();
  const std::vector<std::int32_t> context = {1, 2};
  QVERIFY(!argumentError([&] { generate(*model, state, {}, writing(1), keeper); }).empty());
  model->prefill(state, context, LogitRows::none);
  QVERIFY(!argumentError([&] { generate(*model, state, context, writing(1), keeper); }).empty());
  QVERIFY(!argumentError([&] {
             SequenceState fresh = model->newState();
             generate(*model, fresh, context, writing(-1), keeper);
           }).empty());
}

void GeneratorTest::scoreIsTheSameForAnyChunking() {
  const auto model = tinyModel();
  const std::vector<std::int32_t> tokens = TestRandom(8).tokens(70, 41);
  class Logits final : public ScoreObserver {
   public:
    void onLogits(std::int64_t position, std::span<const float> logits) override {
      if (position == static_cast<std::int64_t>(rows++)) last.assign(logits.begin(), logits.end());
    }
    std::size_t rows = 0;
    std::vector<float> last;
  };
  double expected = 0;
  for (const std::int64_t chunk : {0, 1, 7, 64}) {
    Logits observer;
    SequenceState state = model->newState();
    const ScoreTotals totals = scoreTokens(*model, state, tokens, observer, chunk);
    if (chunk == 0) expected = totals.logprobSum;
    QCOMPARE(totals.logprobSum, expected);
    QCOMPARE(totals.chunks, chunk == 0 ? std::int64_t{1} : (70 + chunk - 1) / chunk);
    QCOMPARE(observer.rows, std::size_t{70});
  }
  SequenceState state = model->newState();
  Logits observer;
  QVERIFY(!argumentError([&] { scoreTokens(*model, state, {}, observer); }).empty());
}

void GeneratorTest::comparisonOfTwoModels() {
  ScoreResult a{1, 1, 3, {std::log(0.5F), std::log(0.25F), std::log(0.25F)}};
  ScoreResult b{1, 1, 3, {std::log(0.25F), std::log(0.5F), std::log(0.25F)}};
  const std::vector<std::int32_t> tokens = {2, 1};
  const std::vector<TokenDifference> differences = compareScores(a, b, tokens);
  QCOMPARE(differences.size(), std::size_t{1});
  QCOMPARE(differences[0].position, std::int64_t{1});
  QCOMPARE(differences[0].rankA, 1);
  QCOMPARE(differences[0].rankB, 0);
  QVERIFY(std::abs(differences[0].klAB - 0.25F * std::log(2.0F)) < 1e-6F);
  QVERIFY(std::abs(differences[0].klBA - 0.25F * std::log(2.0F)) < 1e-6F);
  QCOMPARE(compareScores(a, a, tokens)[0].klAB, 0.0F);
  b.first = 0;
  QVERIFY(!argumentError([&] { compareScores(a, b, tokens); }).empty());
  QVERIFY(!argumentError([&] { compareScores(a, a, std::vector<std::int32_t>{2}); }).empty());
}

QTEST_GUILESS_MAIN(GeneratorTest)
#include "generator_test.moc"
