#include "kernels/thread_pool.h"

#include <sys/resource.h>
#include <unistd.h>

#include <QTest>
#include <atomic>
#include <chrono>
#include <fstream>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>
#include <tuple>
#include <vector>

#include "tests/sanitized.h"

using eyrie::kernels::ThreadPool;

namespace {

using Parts = std::set<std::tuple<std::int64_t, std::int64_t, int>>;

Parts partsOf(ThreadPool& pool, std::int64_t n, std::int64_t grain) {
  Parts parts;
  std::mutex mutex;
  pool.parallelFor(n, grain, [&](std::int64_t begin, std::int64_t end, int part) {
    const std::lock_guard lock(mutex);
    parts.emplace(begin, end, part);
  });
  return parts;
}

}  // namespace

class ThreadPoolTest : public QObject {
  Q_OBJECT

 private slots:
  void partsCoverEveryIndexOnce();
  void splitDependsOnlyOnSizeAndGrain();
  void smallWorkStaysOnTheCaller();
  void manyShortJobsInARow();
  void wakesAfterSleeping();
  void usesSeveralThreads();
  void ranksSizeAsAsked();
  void fewerThreadsWhereTheSystemGivesNoMore();
};

void ThreadPoolTest::partsCoverEveryIndexOnce() {
  for (const int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    for (const std::int64_t n : {0, 1, 2, 3, 5, 16, 17, 100, 1001}) {
      for (const std::int64_t grain : {0, 1, 3, 16, 2000}) {
        std::int64_t expectedBegin = 0;
        for (const auto& [begin, end, part] : partsOf(pool, n, grain)) {
          QCOMPARE(begin, expectedBegin);
          QVERIFY(end > begin && part >= 0 && part < pool.maxParts());
          QVERIFY(end == n || grain < 1 || (end - begin) % grain == 0);
          expectedBegin = end;
        }
        QCOMPARE(expectedBegin, n);
      }
    }
  }
}

void ThreadPoolTest::splitDependsOnlyOnSizeAndGrain() {
  ThreadPool first(3);
  ThreadPool second(3);
  const Parts expected = partsOf(first, 1000, 8);
  for (int i = 0; i < 100; ++i) QVERIFY(partsOf(second, 1000, 8) == expected);
}

void ThreadPoolTest::smallWorkStaysOnTheCaller() {
  ThreadPool pool(4);
  std::thread::id worker;
  pool.parallelFor(10, 10, [&](std::int64_t, std::int64_t, int) { worker = std::this_thread::get_id(); });
  QVERIFY(worker == std::this_thread::get_id());
}

void ThreadPoolTest::manyShortJobsInARow() {
  ThreadPool pool(3);
  std::vector<std::int64_t> counts(300, 0);
  for (int round = 0; round < 5000; ++round) {
    pool.parallelFor(300, 1, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t i = begin; i < end; ++i) ++counts[static_cast<std::size_t>(i)];
    });
  }
  for (const std::int64_t count : counts) QCOMPARE(count, 5000);
}

void ThreadPoolTest::wakesAfterSleeping() {
  ThreadPool pool(3);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::atomic<std::int64_t> sum = 0;
    pool.parallelFor(1000, 1, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t i = begin; i < end; ++i) sum += i;
    });
    QCOMPARE(sum.load(), std::int64_t{499500});
  }
}

// Two parts that wait for each other end only where two threads run them.
void ThreadPoolTest::usesSeveralThreads() {
  ThreadPool pool(2);
  std::atomic<int> arrived = 0;
  pool.parallelFor(2, 1, [&](std::int64_t, std::int64_t, int) {
    ++arrived;
    while (arrived.load() < 2) std::this_thread::yield();
  });
  QCOMPARE(arrived.load(), 2);
}

void ThreadPoolTest::ranksSizeAsAsked() {
  QCOMPARE(ThreadPool(1).size(), 1);
  QCOMPARE(ThreadPool(5).size(), 5);
  QVERIFY(ThreadPool(0).size() >= 1);
}

// Every thread's stack takes megabytes of address space.
void ThreadPoolTest::fewerThreadsWhereTheSystemGivesNoMore() {
  if (eyrie::kSanitized) QSKIP("a sanitizer needs address space of its own");
  std::uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  QVERIFY(pages > 0);
  rlimit before{};
  QCOMPARE(getrlimit(RLIMIT_AS, &before), 0);
  rlimit tight = before;
  tight.rlim_cur = pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)) + (std::uint64_t{64} << 20);
  QCOMPARE(setrlimit(RLIMIT_AS, &tight), 0);
  ThreadPool pool(1000);
  QCOMPARE(setrlimit(RLIMIT_AS, &before), 0);
  QVERIFY2(pool.size() < 1000, qPrintable(QString::number(pool.size())));
  std::atomic<std::int64_t> sum = 0;
  pool.parallelFor(1000, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) sum += i;
  });
  QCOMPARE(sum.load(), std::int64_t{499500});
}

QTEST_APPLESS_MAIN(ThreadPoolTest)
#include "thread_pool_test.moc"
