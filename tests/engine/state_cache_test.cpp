// The small parts under the façade: remembered logs and the ring between two threads.
#include "engine/state_cache.h"

#include <QtTest>
#include <memory>
#include <thread>

#include "engine/spsc_ring.h"
#include "engine/verify/test_models.h"

using namespace eyrie::engine;

namespace {

using Tokens = std::vector<std::int32_t>;

// Logs of one small Griffin, fed in single steps.
class Logs {
 public:
  StateLog of(const Tokens& tokens) {
    StateLog log(model_->config());
    SequenceState state = model_->newState();
    state.watch(&log);
    for (const std::int32_t token : tokens) model_->step(state, token);
    log.keep(state);
    return log;
  }
  // Another token after the first `position` of a log.
  StateLog branch(const StateLog& log, std::int64_t position, std::int32_t token) {
    StateLog fork = log.until(position);
    SequenceState state = log.rewind(*model_, position).state;
    state.watch(&fork);
    model_->step(state, token);
    return fork;
  }

 private:
  std::shared_ptr<Model> model_ = Model::load(verify::randomCheckpoint(verify::tinyConfig("RRA", 3), 5));
};

}  // namespace

class StateCacheTest : public QObject {
  Q_OBJECT

 private slots:
  void findsTheLogThatReachesFurthest();
  void continuationReplacesWhatItContinues();
  void leastRecentlyUsedGoesFirst();
  void bytesAreBoundedAndSharedOnesCountOnce();
  void ringIsFifoAndBounded();
  void ringCarriesEverythingBetweenThreads();
};

void StateCacheTest::findsTheLogThatReachesFurthest() {
  Logs logs;
  StateCache cache(8, 1 << 20);
  cache.remember(logs.of({1, 2, 3, 7, 7, 7}));
  cache.remember(logs.of({1, 9, 9, 9}));
  const Tokens context = {1, 2, 3, 4};
  QCOMPARE(cache.furthest(context, 4).position, std::int64_t{3});
  QVERIFY((cache.furthest(context, 4).log->tokens() == Tokens{1, 2, 3, 7, 7, 7}));
  QCOMPARE(cache.furthest(context, 2).position, std::int64_t{2});
  QCOMPARE(cache.furthest(Tokens{1, 9}, 8).position, std::int64_t{2});
  QVERIFY(cache.furthest(context, 0).log == nullptr);
  QVERIFY(cache.furthest(Tokens{5, 6}, 2).log == nullptr);
  QVERIFY(cache.furthest({}, 0).log == nullptr);
}

void StateCacheTest::continuationReplacesWhatItContinues() {
  Logs logs;
  StateCache cache(8, 1 << 20);
  cache.remember(logs.of({1, 2}));
  cache.remember(logs.of({1, 3}));
  const std::uint64_t two = cache.bytes();
  cache.remember(logs.of({1, 2}));
  QCOMPARE(cache.size(), std::size_t{2});
  QCOMPARE(cache.bytes(), two);
  cache.remember(logs.of({1, 3, 4}));
  QCOMPARE(cache.size(), std::size_t{2});
  QCOMPARE(cache.furthest(Tokens{1, 3, 4}, 3).position, std::int64_t{3});
  cache.clear();
  QCOMPARE(cache.bytes(), std::uint64_t{0});
}

void StateCacheTest::leastRecentlyUsedGoesFirst() {
  Logs logs;
  StateCache cache(2, 1 << 20);
  cache.remember(logs.of({1}));
  cache.remember(logs.of({2}));
  QVERIFY(cache.furthest(Tokens{1, 5}, 1).log != nullptr);  // used again
  cache.remember(logs.of({3}));
  QVERIFY(cache.furthest(Tokens{1, 5}, 1).log != nullptr);
  QVERIFY(cache.furthest(Tokens{2, 5}, 1).log == nullptr);
}

void StateCacheTest::bytesAreBoundedAndSharedOnesCountOnce() {
  Logs logs;
  const Tokens longer(200, 7);
  const StateLog log = logs.of(longer);
  StateCache roomy(8, 1 << 30);
  roomy.remember(log);
  const std::uint64_t alone = roomy.bytes();
  QCOMPARE(alone, log.bytes());
  roomy.remember(logs.branch(log, 190, 9));
  QCOMPARE(roomy.size(), std::size_t{2});
  // The branch shares the key-frames at 64 and 128 and has none of its own yet.
  QCOMPARE(roomy.bytes(), alone + 191 * 12);

  StateCache small(8, 3 * logs.of({1}).bytes());
  small.remember(logs.of({1}));
  small.remember(logs.of({2}));
  small.remember(logs.of({3}));
  QCOMPARE(small.size(), std::size_t{3});
  small.remember(logs.of({4}));
  QCOMPARE(small.size(), std::size_t{3});
  QVERIFY(small.furthest(Tokens{1}, 1).log == nullptr);
  QVERIFY(small.bytes() <= 3 * logs.of({1}).bytes());
  small.remember(log);
  QVERIFY2(small.size() == 3, "a log larger than the limit drives nothing out");
}

void StateCacheTest::ringIsFifoAndBounded() {
  SpscRing<std::unique_ptr<int>> ring(3);
  for (int i = 0; i < 3; ++i) {
    auto value = std::make_unique<int>(i);
    QVERIFY(ring.tryPush(value));
    QVERIFY(value == nullptr);
  }
  auto fourth = std::make_unique<int>(3);
  QVERIFY(!ring.tryPush(fourth));
  QVERIFY2(fourth != nullptr, "what did not fit stays with the producer");
  std::unique_ptr<int> out;
  for (int i = 0; i < 3; ++i) {
    QVERIFY(ring.tryPop(out));
    QCOMPARE(*out, i);
  }
  QVERIFY(!ring.tryPop(out));
}

void StateCacheTest::ringCarriesEverythingBetweenThreads() {
  SpscRing<std::vector<int>> ring(7);
  constexpr int kCount = 20000;
  std::thread producer([&] {
    for (int i = 0; i < kCount; ++i) {
      std::vector<int> value(static_cast<std::size_t>(i % 5 + 1), i);
      while (!ring.tryPush(value)) std::this_thread::yield();
    }
  });
  int next = 0;
  bool right = true;
  while (next < kCount) {
    std::vector<int> value;
    if (!ring.tryPop(value)) {
      std::this_thread::yield();
      continue;
    }
    right = right && value == std::vector<int>(static_cast<std::size_t>(next % 5 + 1), next);
    ++next;
  }
  producer.join();
  QVERIFY(right);
}

QTEST_GUILESS_MAIN(StateCacheTest)
#include "state_cache_test.moc"
