// The façade: every command over real folders (tests/golden).
#include "engine/engine.h"

#include <QTemporaryDir>
#include <QtTest>
#include <cmath>

#include "tests/engine/engine_client.h"

using namespace eyrie::engine;
using namespace eyrie::engine::test;

class EngineTest : public QObject {
  Q_OBJECT

 private slots:
  void loadDescribesTheModel();
  void badModelLeavesThePreviousOneUsable();
  void runWithoutModelFails();
  void runReportsEverythingOnce();
  void requestsEndInTheOrderTheyCame();
  void reusedPrefixGivesTheSameReply();
  void regeneratingReadsOneToken();
  void editingALateMessageRereadsWhatFollows();
  void editingRereadsOnlyWhatFollows_data();
  void editingRereadsOnlyWhatFollows();
  void failedRunLosesNoHistory();
  void rememberedSnapshotServesAnotherEngine();
  void snapshotOfAnotherModelIsRefused();
  void badTokenFailsAndTheNextRunWorks();
  void scoreGivesLogProbabilities();
  void scoreOutOfRangeFails();
  void traceHandsEverythingToTheSink();
  void failingSinkIsAbandoned();
  void twoEnginesSideBySide();
};

void EngineTest::loadDescribesTheModel() {
  Client client("griffin-tiny");
  QCOMPARE(client.loaded.kind, EventKind::loaded);
  const ModelInfo& info = *client.loaded.model;
  QCOMPARE(info.name, std::string("griffin-tiny"));
  QCOMPARE(info.summary.config.R, std::int64_t{80});
  QVERIFY(!info.fingerprint.empty() && info.backend.starts_with("cpu"));
  QVERIFY(info.tokenizer == nullptr);
  double fraction = 0;
  int progress = 0;
  for (const EngineEvent& event : client.events) {
    if (event.kind != EventKind::loadProgress) continue;
    QVERIFY(event.fraction >= fraction && event.fraction <= 1);
    fraction = event.fraction;
    ++progress;
  }
  QVERIFY(progress > 5);
}

void EngineTest::badModelLeavesThePreviousOneUsable() {
  Client client("griffin-tiny");
  const RequestId before = client.engine.run(runOf(someTokens(1, 5), 3));
  QCOMPARE(client.waitFor(before).kind, EventKind::finished);

  // The headers of this one are good: what is missing shows where the weights should lie.
  const QTemporaryDir damaged;
  for (const char* name : {"config.json", "model.safetensors"}) {
    QVERIFY(
        QFile::copy(QString::fromStdString(goldenFolder("hawk-tiny")) + "/" + name, damaged.filePath(name)));
  }
  QFile weights(damaged.filePath("model.safetensors"));
  QVERIFY(weights.setPermissions(weights.permissions() | QFile::WriteOwner) &&
          weights.resize(weights.size() - 64));
  for (const auto& [folder, code] : {std::pair(std::string("/no/such/folder"), ErrorCode::notFound),
                                     std::pair(damaged.path().toStdString(), ErrorCode::badFile)}) {
    const EngineEvent failed = client.waitFor(client.engine.load({folder, BackendKind::cpu, 1}));
    QCOMPARE(failed.kind, EventKind::failed);
    QCOMPARE(failed.error->code(), code);
    const RequestId run = client.engine.run(runOf(someTokens(1, 5), 3));
    QCOMPARE(client.waitFor(run).kind, EventKind::finished);
    QVERIFY(client.generated(run) == client.generated(before));
  }
  QCOMPARE(client.waitFor(client.engine.load({goldenFolder("hawk-tiny"), BackendKind::reference, 1})).kind,
           EventKind::loaded);
  QCOMPARE(client.waitFor(client.engine.run(runOf(someTokens(1, 5), 3))).kind, EventKind::finished);
}

void EngineTest::runWithoutModelFails() {
  Client client;
  QCOMPARE(client.waitFor(client.engine.run(runOf({1}, 1))).kind, EventKind::failed);
  QCOMPARE(client.waitFor(client.engine.score({1, 2}, 1)).kind, EventKind::failed);
  QCOMPARE(client.waitFor(client.engine.remember(std::make_shared<Snapshot>())).kind, EventKind::failed);
}

void EngineTest::runReportsEverythingOnce() {
  Client client("griffin-tiny");
  RunRequest request = runOf(someTokens(1, 300), 20);
  request.options.trace.level = TraceLevel::summary;
  request.options.scoreContext = true;
  request.snapshot = true;
  const RequestId run = client.engine.run(request);
  const EngineEvent finished = client.waitFor(run);
  QCOMPARE(finished.kind, EventKind::finished);
  QCOMPARE(finished.result.generatedTokens, std::int64_t{20});
  const std::vector<TokenRecord> records = client.records(run);
  QCOMPARE(records.size(), std::size_t{320});
  for (std::size_t i = 0; i < records.size(); ++i)
    QCOMPARE(records[i].position, static_cast<std::int64_t>(i));
  TraceFrame frame;
  std::int64_t frames = 0;
  while (client.engine.pollFrame(frame)) QCOMPARE(frame.position, frames++);
  QCOMPARE(frames, std::int64_t{320});
  QCOMPARE(client.engine.droppedFrames(), std::uint64_t{0});
  QCOMPARE(finished.snapshot->tokens, joined(request.context, client.generated(run)));
  QCOMPARE(finished.snapshot->fingerprint, client.loaded.model->fingerprint);
}

void EngineTest::requestsEndInTheOrderTheyCame() {
  Client client;
  std::vector<RequestId> ids;
  ids.push_back(client.engine.load({goldenFolder("griffin-tiny"), BackendKind::cpu, 1}));
  ids.push_back(client.engine.run(runOf(someTokens(1, 40), 10)));
  ids.push_back(client.engine.score(someTokens(1, 20), 1));
  ids.push_back(client.engine.trace(someTokens(1, 20), {}, std::make_shared<CountingSink>()));
  ids.push_back(client.engine.run(runOf(someTokens(2, 4), 4)));
  client.waitFor(ids.back());
  std::vector<RequestId> ended;
  for (const EngineEvent& event : client.events) {
    QVERIFY(event.kind != EventKind::failed);
    if (Client::isLast(event.kind)) ended.push_back(event.request);
  }
  QVERIFY(ended == ids);
}

void EngineTest::reusedPrefixGivesTheSameReply() {
  Client client("griffin-tiny");
  const Tokens first = someTokens(1, 60);
  const RequestId one = client.engine.run(runOf(first, 30));
  client.waitFor(one);
  const Tokens second = joined(joined(first, client.generated(one)), someTokens(2, 25));
  const RequestId two = client.engine.run(runOf(second, 30));
  const EngineEvent finished = client.waitFor(two);
  QCOMPARE(finished.result.contextTokens, std::int64_t{25});
  QCOMPARE(client.records(two).front().position, std::int64_t{90});
  Client fresh("griffin-tiny");
  const RequestId alone = fresh.engine.run(runOf(second, 30));
  QCOMPARE(fresh.waitFor(alone).result.contextTokens, std::int64_t{115});
  QVERIFY2(fresh.generated(alone) == client.generated(two), "trap 30: nothing of other runs is left over");
}

void EngineTest::regeneratingReadsOneToken() {
  Client client("griffin-tiny");
  const RequestId one = client.engine.run(runOf(someTokens(1, 60), 12));
  client.waitFor(one);
  const RequestId two = client.engine.run(runOf(someTokens(1, 60), 12));
  QCOMPARE(client.waitFor(two).result.contextTokens, std::int64_t{1});
  QVERIFY(client.generated(one) == client.generated(two));
}

void EngineTest::editingALateMessageRereadsWhatFollows() {
  Client client("griffin-tiny");
  const Tokens first = someTokens(1, 60);
  const RequestId one = client.engine.run(runOf(first, 12));
  client.waitFor(one);
  const Tokens afterReply = joined(first, client.generated(one));
  client.waitFor(client.engine.run(runOf(joined(afterReply, someTokens(2, 20)), 12)));
  // The second message is edited: the state after the first reply serves again.
  const Tokens edited = joined(afterReply, someTokens(3, 22));
  const RequestId three = client.engine.run(runOf(edited, 12));
  QCOMPARE(client.waitFor(three).result.contextTokens, std::int64_t{22});
  Client fresh("griffin-tiny");
  const RequestId alone = fresh.engine.run(runOf(edited, 12));
  fresh.waitFor(alone);
  QVERIFY(fresh.generated(alone) == client.generated(three));
}

void EngineTest::editingRereadsOnlyWhatFollows_data() {
  QTest::addColumn<QByteArray>("set");
  QTest::newRow("Griffin") << QByteArray("griffin-tiny");
  QTest::newRow("Hawk") << QByteArray("hawk-tiny");
}

// Three turns of 100 tokens and 150 written, many windows long; then its history is changed here and there.
void EngineTest::editingRereadsOnlyWhatFollows() {
  QFETCH(QByteArray, set);
  Client client(set);
  Tokens conversation;
  for (const std::uint64_t turn : {1, 2, 3}) {
    conversation = joined(conversation, someTokens(turn, 100));
    const RequestId id = client.engine.run(runOf(conversation, 150));
    QCOMPARE(client.waitFor(id).result.contextTokens, std::int64_t{100});
    conversation = joined(conversation, client.generated(id));
  }
  const auto firstTokens = [&](std::int64_t n) {
    return Tokens(conversation.begin(), conversation.begin() + static_cast<std::ptrdiff_t>(n));
  };
  struct Edit {
    const char* what;
    std::int64_t kept;      // tokens of the conversation before the edit
    std::int64_t reread;    // of those, since they were read at once with what is edited
    std::int64_t replayed;  // fed again, step by step, since the key-frame
  };
  // Key-frames: after each prompt but its last token, after each reply, and 64 steps apart.
  for (const Edit& edit :
       {Edit{"the third message", 500, 0, 0}, Edit{"the third message's end", 550, 50, 0},
        Edit{"the third reply's 71st token", 670, 0, 7}, Edit{"the second message", 250, 0, 0},
        Edit{"nothing but the third reply", 600, 1, 0}}) {
    const Tokens edited = joined(firstTokens(edit.kept), edit.kept == 600 ? Tokens() : someTokens(9, 30));
    const RequestId id = client.engine.run(runOf(edited, 20));
    const EngineEvent finished = client.waitFor(id);
    const auto fed = static_cast<std::int64_t>(edited.size()) - edit.kept + edit.reread;
    QVERIFY2(finished.result.contextTokens == fed,
             qPrintable(QString("%1: %2 fed").arg(edit.what).arg(finished.result.contextTokens)));
    QVERIFY2(finished.result.replayedTokens == edit.replayed,
             qPrintable(QString("%1: %2 replayed").arg(edit.what).arg(finished.result.replayedTokens)));
    QCOMPARE(static_cast<std::int64_t>(client.records(id).size()), fed + 20);
    Client fresh(set);
    const RequestId alone = fresh.engine.run(runOf(edited, 20));
    fresh.waitFor(alone);
    QVERIFY2(fresh.generated(alone) == client.generated(id), edit.what);
  }
  // And back to where it all was before the edits.
  const EngineEvent back = client.waitFor(client.engine.run(runOf(joined(conversation, {5, 6}), 1)));
  QCOMPARE(back.result.contextTokens, std::int64_t{2});
  QCOMPARE(back.result.replayedTokens, std::int64_t{0});
}

void EngineTest::failedRunLosesNoHistory() {
  Client client("griffin-tiny");
  const Tokens context = someTokens(1, 60);
  const RequestId first = client.engine.run(runOf(context, 80));
  client.waitFor(first);
  const Tokens whole = joined(context, client.generated(first));
  QCOMPARE(client.waitFor(client.engine.run(runOf(joined(whole, {5000, 1}), 5))).kind, EventKind::failed);
  const EngineEvent next = client.waitFor(client.engine.run(runOf(joined(whole, {3, 4, 5}), 5)));
  QCOMPARE(next.result.contextTokens, std::int64_t{3});
}

void EngineTest::rememberedSnapshotServesAnotherEngine() {
  Client client("griffin-tiny");
  RunRequest request = runOf(someTokens(1, 60), 12);
  request.snapshot = true;
  const EngineEvent finished = client.waitFor(client.engine.run(request));
  const Tokens longer = joined(finished.snapshot->tokens, someTokens(4, 3));
  const RequestId here = client.engine.run(runOf(longer, 12));
  client.waitFor(here);
  Client other("griffin-tiny");
  other.engine.remember(finished.snapshot);
  const RequestId there = other.engine.run(runOf(longer, 12));
  QCOMPARE(other.waitFor(there).result.contextTokens, std::int64_t{3});
  QVERIFY2(other.generated(there) == client.generated(here),
           "trap 42: a reopened session goes on as if never closed");
}

void EngineTest::snapshotOfAnotherModelIsRefused() {
  Client client("griffin-tiny");
  RunRequest request = runOf(someTokens(1, 10), 2);
  request.snapshot = true;
  const EngineEvent finished = client.waitFor(client.engine.run(request));
  Client hawk("hawk-tiny");
  const EngineEvent failed = hawk.waitFor(hawk.engine.remember(finished.snapshot));
  QCOMPARE(failed.kind, EventKind::failed);
  QCOMPARE(failed.error->code(), ErrorCode::stateMismatch);
  auto lying = std::make_shared<Snapshot>(*finished.snapshot);
  lying->tokens.pop_back();
  QCOMPARE(client.waitFor(client.engine.remember(lying)).kind, EventKind::failed);
  QVERIFY(!client.engine.busy());
}

void EngineTest::badTokenFailsAndTheNextRunWorks() {
  Client client("griffin-tiny");
  const EngineEvent failed = client.waitFor(client.engine.run(runOf({1, 2, 5000, 3}, 5)));
  QCOMPARE(failed.kind, EventKind::failed);
  QVERIFY(std::string(failed.error->what()).find("5000") != std::string::npos);
  QCOMPARE(client.waitFor(client.engine.run(runOf({}, 5))).kind, EventKind::failed);
  RunRequest badOptions = runOf({1, 2}, 5);
  badOptions.options.sampling.topP = 7;
  QCOMPARE(client.waitFor(client.engine.run(badOptions)).kind, EventKind::failed);
  QCOMPARE(client.waitFor(client.engine.run(runOf({1, 2, 3}, 5))).kind, EventKind::finished);
}

void EngineTest::scoreGivesLogProbabilities() {
  Client client("griffin-tiny");
  RunRequest request = runOf(someTokens(1, 40), 0);
  request.options.scoreContext = true;
  const RequestId run = client.engine.run(request);
  client.waitFor(run);
  const EngineEvent scored = client.waitFor(client.engine.score(request.context, 10));
  QCOMPARE(scored.kind, EventKind::scored);
  const ScoreResult& result = *scored.score;
  QCOMPARE(result.first, std::int64_t{10});
  QCOMPARE(result.rows, std::int64_t{30});
  QCOMPARE(result.V, std::int64_t{160});
  for (std::int64_t row = 0; row < result.rows; ++row) {
    double sum = 0;
    const float* logprobs = result.logprobs.data() + row * result.V;
    for (std::int64_t v = 0; v < result.V; ++v) sum += std::exp(static_cast<double>(logprobs[v]));
    QVERIFY(std::abs(sum - 1) < 1e-4);
    const std::size_t position = static_cast<std::size_t>(10 + row);
    QVERIFY(std::abs(logprobs[request.context[position]] - client.records(run)[position].logprob) < 1e-4F);
  }
}

void EngineTest::scoreOutOfRangeFails() {
  Client client("griffin-tiny");
  QCOMPARE(client.waitFor(client.engine.score(someTokens(1, 5), 0)).kind, EventKind::failed);
  QCOMPARE(client.waitFor(client.engine.score(someTokens(1, 5), 6)).kind, EventKind::failed);
  QCOMPARE(client.waitFor(client.engine.score({}, 1)).kind, EventKind::failed);
  QCOMPARE(client.waitFor(client.engine.trace(someTokens(1, 5), {}, nullptr)).kind, EventKind::failed);
  QCOMPARE(client.waitFor(client.engine.remember(nullptr)).kind, EventKind::failed);
  const EngineEvent nothing = client.waitFor(client.engine.score(someTokens(1, 5), 5));
  QCOMPARE(nothing.kind, EventKind::scored);
  QCOMPARE(nothing.score->rows, std::int64_t{0});
}

void EngineTest::traceHandsEverythingToTheSink() {
  Client client("griffin-tiny");
  auto sink = std::make_shared<CountingSink>();
  const EngineEvent written =
      client.waitFor(client.engine.trace(someTokens(1, 333), {TraceLevel::full, {}, 512}, sink));
  QCOMPARE(written.kind, EventKind::traceWritten);
  QCOMPARE(sink->expected, std::int64_t{333});
  QCOMPARE(sink->tokens, std::int64_t{333});
  QCOMPARE(sink->frames, std::int64_t{333});
  QCOMPARE(sink->nextPosition, std::int64_t{333});
  QVERIFY(sink->ordered && sink->ended && !sink->abandoned);
  QCOMPARE(sink->fingerprint, client.loaded.model->fingerprint);
  std::int64_t done = 0;
  for (const EngineEvent& event : client.events) {
    if (event.kind == EventKind::traceProgress) done = event.done;
  }
  QCOMPARE(done, std::int64_t{333});
}

void EngineTest::failingSinkIsAbandoned() {
  Client client("griffin-tiny");
  for (const std::int64_t failAt : {0, 1, 200}) {
    auto sink = std::make_shared<CountingSink>();
    sink->failAt = failAt;
    const EngineEvent failed = client.waitFor(client.engine.trace(someTokens(1, 333), {}, sink));
    QCOMPARE(failed.kind, EventKind::failed);
    QCOMPARE(failed.error->code(), ErrorCode::ioFailed);
    QVERIFY(sink->abandoned && !sink->ended);
  }
}

void EngineTest::twoEnginesSideBySide() {
  Client griffin("griffin-tiny");
  Client hawk("hawk-tiny");
  const RequestId left = griffin.engine.run(runOf(someTokens(1, 100), 100));
  const RequestId right = hawk.engine.run(runOf(someTokens(1, 100), 100));
  QCOMPARE(griffin.waitFor(left).result.generatedTokens, std::int64_t{100});
  QCOMPARE(hawk.waitFor(right).result.generatedTokens, std::int64_t{100});
}

QTEST_GUILESS_MAIN(EngineTest)
#include "engine_test.moc"
