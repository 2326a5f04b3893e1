// The small parts under the façade: remembered states and the ring between two threads.
#include "engine/state_cache.h"

#include <QtTest>
#include <memory>
#include <thread>

#include "engine/spsc_ring.h"

using namespace eyrie::engine;

namespace {

using Tokens = std::vector<std::int32_t>;

class SizedState final : public BackendState {
 public:
  explicit SizedState(std::uint64_t bytes) : bytes_(bytes) {}
  std::unique_ptr<BackendState> clone() const override { return std::make_unique<SizedState>(bytes_); }
  HostState download(std::int64_t) const override { return {}; }
  std::uint64_t bytes() const override { return bytes_; }

 private:
  std::uint64_t bytes_;
};

void remember(StateCache& cache, const Tokens& tokens, std::uint64_t bytes = 100) {
  cache.remember(tokens, {std::make_unique<SizedState>(bytes), static_cast<std::int64_t>(tokens.size())});
}

}  // namespace

class StateCacheTest : public QObject {
  Q_OBJECT

 private slots:
  void findsTheLongestPrefix();
  void sameTokensReplace();
  void leastRecentlyUsedGoesFirst();
  void stateLargerThanTheBudgetIsNotKept();
  void ringIsFifoAndBounded();
  void ringCarriesEverythingBetweenThreads();
};

void StateCacheTest::findsTheLongestPrefix() {
  StateCache cache(8, 1 << 20);
  remember(cache, {1});
  remember(cache, {1, 2, 3});
  remember(cache, {1, 2});
  remember(cache, {1, 9, 9, 9});
  const Tokens context = {1, 2, 3, 4};
  QVERIFY((cache.longest(context, 4)->tokens == Tokens{1, 2, 3}));
  QVERIFY((cache.longest(context, 2)->tokens == Tokens{1, 2}));
  QVERIFY(cache.longest(context, 0) == nullptr);
  QVERIFY(cache.longest(Tokens{5, 6}, 2) == nullptr);
  QVERIFY(cache.longest({}, 0) == nullptr);
}

void StateCacheTest::sameTokensReplace() {
  StateCache cache(8, 1 << 20);
  remember(cache, {1, 2}, 100);
  remember(cache, {1, 2}, 300);
  QCOMPARE(cache.size(), std::size_t{1});
  QCOMPARE(cache.bytes(), std::uint64_t{308});
  cache.clear();
  QCOMPARE(cache.bytes(), std::uint64_t{0});
}

void StateCacheTest::leastRecentlyUsedGoesFirst() {
  StateCache cache(2, 1 << 20);
  remember(cache, {1});
  remember(cache, {2});
  QVERIFY(cache.longest(Tokens{1, 5}, 1) != nullptr);  // used again
  remember(cache, {3});
  QVERIFY(cache.longest(Tokens{1, 5}, 1) != nullptr);
  QVERIFY(cache.longest(Tokens{2, 5}, 1) == nullptr);
}

void StateCacheTest::stateLargerThanTheBudgetIsNotKept() {
  StateCache cache(8, 1000);
  remember(cache, {1}, 500);
  remember(cache, {2}, 400);
  QCOMPARE(cache.size(), std::size_t{2});
  remember(cache, {3}, 450);
  QCOMPARE(cache.size(), std::size_t{2});
  remember(cache, {4}, 5000);
  QCOMPARE(cache.size(), std::size_t{2});
  QVERIFY(cache.longest(Tokens{3}, 1) != nullptr);
  QCOMPARE(cache.bytes(), std::uint64_t{858});
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
