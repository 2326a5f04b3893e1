// The façade: every command, cancelled at every stage, over real folders (tests/golden).
#include "engine/engine.h"

#include <QtTest>
#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>

#include "engine/verify/test_models.h"
#include "tests/sanitized.h"

using namespace eyrie::engine;
using verify::TestRandom;

namespace {

using Tokens = std::vector<std::int32_t>;

std::string goldenFolder(const char* set) {
  return std::string(EYRIE_SOURCE_DIR) + "/tests/golden/" + set;
}

Tokens someTokens(std::uint64_t seed, std::int64_t n) {
  return TestRandom(seed).tokens(n, 128);  // within every golden vocabulary used here
}

// One consumer of an engine.
class Client {
 public:
  explicit Client(const char* set = nullptr) {
    if (set == nullptr) return;
    const RequestId id = engine.load({goldenFolder(set), BackendKind::cpu, 1});
    loaded = waitFor(id);
  }

  // Polls until the request has ended; its last event. Times out by failing the comparison of kinds.
  EngineEvent waitFor(RequestId id, const std::function<void(const EngineEvent&)>& seen = {}) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(eyrie::kSanitized ? 20 : 2);
    while (std::chrono::steady_clock::now() < deadline) {
      EngineEvent event;
      if (!engine.poll(event)) {
        std::this_thread::sleep_for(std::chrono::microseconds(200));
        continue;
      }
      events.push_back(event);
      if (seen) seen(event);
      if (event.request == id && isLast(event.kind)) return event;
    }
    qWarning("request %llu did not end in time", static_cast<unsigned long long>(id));
    return {};
  }

  static bool isLast(EventKind kind) {
    return kind == EventKind::loaded || kind == EventKind::finished || kind == EventKind::scored ||
           kind == EventKind::traceWritten || kind == EventKind::failed || kind == EventKind::cancelled;
  }

  std::vector<TokenRecord> records(RequestId id) const {
    std::vector<TokenRecord> found;
    for (const EngineEvent& event : events) {
      if (event.request == id && event.kind == EventKind::token) found.push_back(event.token);
    }
    return found;
  }
  Tokens generated(RequestId id) const {
    Tokens tokens;
    for (const TokenRecord& record : records(id)) {
      if (record.generated) tokens.push_back(record.token);
    }
    return tokens;
  }

  std::vector<EngineEvent> events;
  EngineEvent loaded;
  Engine engine;
};

RunRequest runOf(Tokens context, int maxTokens) {
  RunRequest request;
  request.context = std::move(context);
  request.options.maxTokens = maxTokens;
  request.options.eosTokens = {};
  request.options.sampling.seed = 5;
  return request;
}

Tokens joined(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

class CountingSink final : public TraceSink {
 public:
  void begin(const ModelInfo& model, const FrameLayout& layout, std::int64_t count) override {
    fingerprint = model.fingerprint;
    frameSize = layout.frameSize();
    expected = count;
    if (failAt == 0) throw Error(ErrorCode::ioFailed, "disk full");
  }
  void token(const TokenRecord& record) override {
    ordered = ordered && record.position == tokens;
    ++tokens;
    if (onToken) onToken();
    if (tokens == failAt) throw Error(ErrorCode::ioFailed, "disk full");
  }
  void frame(const TraceFrame& frame) override {
    frames += static_cast<std::int64_t>(frame.values.size()) == frameSize ? 1 : 0;
  }
  void prediction(const TokenRecord& next) override { nextPosition = next.position; }
  void end() override { ended = true; }
  void abandon() override { abandoned = true; }

  std::string fingerprint;
  std::int64_t frameSize = 0;
  std::int64_t expected = 0;
  std::int64_t tokens = 0;
  std::int64_t frames = 0;
  std::int64_t nextPosition = -1;
  std::int64_t failAt = -1;
  bool ordered = true;
  bool ended = false;
  bool abandoned = false;
  std::function<void()> onToken;
};

}  // namespace

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
  void rememberedSnapshotServesAnotherEngine();
  void snapshotOfAnotherModelIsRefused();
  void cancelStopsARunningReply();
  void cancelStopsReading();
  void cancelDropsQueuedRequests();
  void runAfterACancelledOneIsRight();
  void badTokenFailsAndTheNextRunWorks();
  void scoreGivesLogProbabilities();
  void scoreOutOfRangeFails();
  void traceHandsEverythingToTheSink();
  void failingSinkIsAbandoned();
  void cancelledTraceIsAbandoned();
  void slowConsumerLosesNoToken();
  void fullRingDoesNotBlockDestruction();
  void frameDropsAreCounted();
  void wakeIsCalledOncePerBatch();
  void busyUntilTheLastEventIsPolled();
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
  const EngineEvent failed = client.waitFor(client.engine.load({"/no/such/folder", BackendKind::cpu, 1}));
  QCOMPARE(failed.kind, EventKind::failed);
  QCOMPARE(failed.error->code(), ErrorCode::notFound);
  const RequestId run = client.engine.run(runOf(someTokens(1, 5), 3));
  QCOMPARE(client.waitFor(run).kind, EventKind::finished);
  QCOMPARE(client.records(run).size(), std::size_t{8});
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

void EngineTest::cancelStopsARunningReply() {
  Client client("griffin-tiny");
  const RequestId run = client.engine.run(runOf(someTokens(1, 5), 1000000));
  int seen = 0;
  const EngineEvent finished = client.waitFor(run, [&](const EngineEvent& event) {
    if (event.kind == EventKind::token && ++seen == 30) client.engine.cancel(run);
  });
  QCOMPARE(finished.kind, EventKind::finished);
  QCOMPARE(finished.result.stop, StopReason::cancelled);
  QCOMPARE(finished.result.generatedTokens + 5, static_cast<std::int64_t>(client.records(run).size()));
}

void EngineTest::cancelStopsReading() {
  Client client("griffin-tiny");
  const RequestId run = client.engine.run(runOf(someTokens(1, 200000), 5));
  const EngineEvent finished = client.waitFor(run, [&](const EngineEvent& event) {
    if (event.kind == EventKind::token) client.engine.cancel(run);
  });
  QCOMPARE(finished.result.stop, StopReason::cancelled);
  QVERIFY(finished.result.contextTokens < 200000);
  QCOMPARE(finished.result.generatedTokens, std::int64_t{0});
  QCOMPARE(finished.result.contextTokens, static_cast<std::int64_t>(client.records(run).size()));
}

void EngineTest::cancelDropsQueuedRequests() {
  Client client("griffin-tiny");
  const RequestId running = client.engine.run(runOf(someTokens(1, 5), 1000000));
  const RequestId run = client.engine.run(runOf(someTokens(2, 5), 5));
  const RequestId load = client.engine.load({goldenFolder("hawk-tiny"), BackendKind::cpu, 1});
  const RequestId score = client.engine.score(someTokens(1, 10), 1);
  auto sink = std::make_shared<CountingSink>();
  const RequestId trace = client.engine.trace(someTokens(1, 10), {}, sink);
  for (const RequestId id : {run, load, score, trace}) client.engine.cancel(id);
  client.engine.cancel(running);
  client.waitFor(trace);
  std::size_t cancelled = 0;
  for (const EngineEvent& event : client.events) {
    cancelled += event.kind == EventKind::cancelled && event.request != running ? 1 : 0;
  }
  QCOMPARE(cancelled, std::size_t{4});
  QVERIFY(client.records(run).empty());
  QCOMPARE(sink->tokens, std::int64_t{0});
  QVERIFY(!sink->ended);
}

void EngineTest::runAfterACancelledOneIsRight() {
  Client client("griffin-tiny");
  const Tokens context = someTokens(1, 50);
  const RequestId cancelled = client.engine.run(runOf(context, 1000));
  int seen = 0;
  client.waitFor(cancelled, [&](const EngineEvent& event) {
    if (event.kind == EventKind::token && ++seen == 60) client.engine.cancelAll();
  });
  const Tokens longer = joined(joined(context, client.generated(cancelled)), someTokens(7, 4));
  const RequestId next = client.engine.run(runOf(longer, 10));
  QCOMPARE(client.waitFor(next).result.contextTokens, std::int64_t{4});
  Client fresh("griffin-tiny");
  const RequestId alone = fresh.engine.run(runOf(longer, 10));
  fresh.waitFor(alone);
  QVERIFY(fresh.generated(alone) == client.generated(next));
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

void EngineTest::cancelledTraceIsAbandoned() {
  Client client("griffin-tiny");
  auto sink = std::make_shared<CountingSink>();
  sink->onToken = [&] { client.engine.cancelAll(); };
  const EngineEvent cancelled = client.waitFor(client.engine.trace(someTokens(1, 5000), {}, sink));
  QCOMPARE(cancelled.kind, EventKind::cancelled);
  QVERIFY(sink->abandoned && !sink->ended && sink->tokens < 5000);
}

void EngineTest::slowConsumerLosesNoToken() {
  Client client("griffin-tiny");
  const RequestId run = client.engine.run(runOf(someTokens(1, 20000), 3));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));  // the ring is full long before
  QCOMPARE(client.waitFor(run).kind, EventKind::finished);
  const std::vector<TokenRecord> records = client.records(run);
  QCOMPARE(records.size(), std::size_t{20003});
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (records[i].position != static_cast<std::int64_t>(i)) QFAIL("a token was lost or swapped");
  }
}

void EngineTest::fullRingDoesNotBlockDestruction() {
  Client client("griffin-tiny");
  client.engine.run(runOf(someTokens(1, 20000), 1000000));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
}

void EngineTest::frameDropsAreCounted() {
  Client client("griffin-tiny");
  RunRequest request = runOf(someTokens(1, 6000), 0);
  request.options.trace.level = TraceLevel::summary;
  client.waitFor(client.engine.run(request));
  TraceFrame frame;
  std::uint64_t frames = 0;
  std::int64_t last = -1;
  while (client.engine.pollFrame(frame)) {
    QVERIFY(frame.position > last);
    last = frame.position;
    ++frames;
  }
  QVERIFY(client.engine.droppedFrames() > 0);
  QCOMPARE(frames + client.engine.droppedFrames(), std::uint64_t{6000});
}

void EngineTest::wakeIsCalledOncePerBatch() {
  Client client("griffin-tiny");
  std::atomic<int> woken{0};
  client.engine.setWake([&] { woken.fetch_add(1); });
  EngineEvent event;
  while (client.engine.poll(event)) {
  }
  const RequestId run = client.engine.run(runOf(someTokens(1, 500), 0));
  for (int i = 0; i < 60000 && woken.load() == 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  QCOMPARE(woken.load(), 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  QVERIFY2(woken.load() == 1, "nobody polled in between");
  client.waitFor(run);
  client.engine.setWake({});
  const int before = woken.load();
  client.waitFor(client.engine.run(runOf(someTokens(1, 5), 1)));
  QCOMPARE(woken.load(), before);
}

void EngineTest::busyUntilTheLastEventIsPolled() {
  Client client("griffin-tiny");
  QVERIFY(!client.engine.busy());
  const RequestId run = client.engine.run(runOf(someTokens(1, 5), 5));
  QVERIFY(client.engine.busy());
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  QVERIFY(client.engine.busy());
  client.waitFor(run);
  QVERIFY(!client.engine.busy());
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
