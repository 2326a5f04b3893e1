// The façade: cancelled at every stage, and with consumers that are slow, absent or asleep.
#include <QtTest>
#include <atomic>
#include <chrono>
#include <thread>

#include "engine/outbox.h"
#include "tests/engine/engine_client.h"

using namespace eyrie::engine;
using namespace eyrie::engine::test;

class EngineControlTest : public QObject {
  Q_OBJECT

 private slots:
  void cancelledLoadLeavesThePreviousModelUsable();
  void cancelStopsARunningReply();
  void cancelStopsReading();
  void cancelDropsQueuedRequests();
  void runAfterACancelledOneIsRight();
  void cancelledTraceIsAbandoned();
  void slowConsumerLosesNoToken();
  void fullRingDoesNotBlockDestruction();
  void frameDropsAreCounted();
  void wakeIsCalledOncePerBatch();
  void frameOfferedWhileEventsAreReadWakesAgain();
  void busyUntilTheLastEventIsPolled();
};

void EngineControlTest::cancelledLoadLeavesThePreviousModelUsable() {
  std::atomic<bool> begun{false};
  std::atomic<bool> goOn{false};
  Client client("griffin-tiny");
  const RequestId before = client.engine.run(runOf(someTokens(1, 5), 3));
  client.waitFor(before);
  EngineEvent event;
  while (client.engine.poll(event)) {
  }
  // The first progress of the load brings its thread here, where it waits until the load is cancelled.
  client.engine.setWake([&] {
    begun = true;
    while (!goOn) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  const RequestId load = client.engine.load({goldenFolder("hawk-tiny"), BackendKind::cpu, 1});
  QTRY_VERIFY_WITH_TIMEOUT(begun, 60'000);
  client.engine.cancel(load);
  goOn = true;
  QCOMPARE(client.waitFor(load).kind, EventKind::cancelled);
  QVERIFY(std::any_of(client.events.begin(), client.events.end(), [&](const EngineEvent& seen) {
    return seen.request == load && seen.kind == EventKind::loadProgress && seen.fraction < 1;
  }));
  const RequestId after = client.engine.run(runOf(someTokens(1, 5), 3));
  QCOMPARE(client.waitFor(after).kind, EventKind::finished);
  QVERIFY(client.generated(after) == client.generated(before));
  client.engine.setWake({});
}

void EngineControlTest::cancelStopsARunningReply() {
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

void EngineControlTest::cancelStopsReading() {
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

void EngineControlTest::cancelDropsQueuedRequests() {
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

void EngineControlTest::runAfterACancelledOneIsRight() {
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

void EngineControlTest::cancelledTraceIsAbandoned() {
  Client client("griffin-tiny");
  auto sink = std::make_shared<CountingSink>();
  sink->onToken = [&] { client.engine.cancelAll(); };
  const EngineEvent cancelled = client.waitFor(client.engine.trace(someTokens(1, 5000), {}, sink));
  QCOMPARE(cancelled.kind, EventKind::cancelled);
  QVERIFY(sink->abandoned && !sink->ended && sink->tokens < 5000);
}

void EngineControlTest::slowConsumerLosesNoToken() {
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

void EngineControlTest::fullRingDoesNotBlockDestruction() {
  Client client("griffin-tiny");
  client.engine.run(runOf(someTokens(1, 20000), 1000000));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
}

void EngineControlTest::frameDropsAreCounted() {
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

void EngineControlTest::wakeIsCalledOncePerBatch() {
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

void EngineControlTest::frameOfferedWhileEventsAreReadWakesAgain() {
  Outbox outbox;
  int woken = 0;
  outbox.setWake([&] { ++woken; });
  outbox.push(EngineEvent());
  QCOMPARE(woken, 1);
  TraceFrame frame;
  QVERIFY(!outbox.pollFrame(frame));
  outbox.offer(TraceFrame());  // the consumer has looked for frames and not yet for events
  EngineEvent event;
  QVERIFY(outbox.poll(event));
  QCOMPARE(woken, 1);
  QVERIFY(!outbox.poll(event));
  QCOMPARE(woken, 2);
  QVERIFY(outbox.pollFrame(frame));
  QVERIFY(!outbox.poll(event));
  QCOMPARE(woken, 2);
}

void EngineControlTest::busyUntilTheLastEventIsPolled() {
  Client client("griffin-tiny");
  QVERIFY(!client.engine.busy());
  const RequestId run = client.engine.run(runOf(someTokens(1, 5), 5));
  QVERIFY(client.engine.busy());
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  QVERIFY(client.engine.busy());
  client.waitFor(run);
  QVERIFY(!client.engine.busy());
}

QTEST_GUILESS_MAIN(EngineControlTest)
#include "engine_control_test.moc"
