// The checks that doctor runs of a card's ops one by one, their card the emulator: what passes here and fails
// there is the card's, not the check's.
#include "engine/verify/card_ops.h"

#include <QtTest>
#include <cmath>
#include <set>

#include "engine/error.h"
#include "tests/cuda_emulator/scheduler.h"
#include "tests/cuda_emulator/streams.h"

using namespace eyrie;
using namespace eyrie::engine;

class CardOpsTest : public QObject {
  Q_OBJECT

 private slots:
  void init() { emulator::useOrder(emulator::Order::forward); }
  void opsAgreeWithTheReference_data();
  void opsAgreeWithTheReference();
  void everyOpHasATimeAndACost();
  void everyTypeHasACrossover();
  void aLostCardIsAnError();
};

void CardOpsTest::opsAgreeWithTheReference_data() {
  QTest::addColumn<int>("order");
  QTest::newRow("forward") << static_cast<int>(emulator::Order::forward);
  QTest::newRow("backward") << static_cast<int>(emulator::Order::backward);
  QTest::newRow("shuffled") << static_cast<int>(emulator::Order::shuffled);
}

void CardOpsTest::opsAgreeWithTheReference() {
  QFETCH(int, order);
  emulator::useOrder(static_cast<emulator::Order>(order), 3);
  std::size_t failed = 0;
  const auto results = verify::checkCardOps();
  for (const verify::CheckResult& result : results) {
    if (result.passed) continue;
    ++failed;
    qWarning("%s", verify::describeCheck(result).c_str());
  }
  QCOMPARE(failed, std::size_t{0});
  QVERIFY2(results.size() > 80, qPrintable(QString("%1 checks").arg(results.size())));
}

// How fast is nobody's test.
void CardOpsTest::everyOpHasATimeAndACost() {
  std::set<std::string> names;
  for (const verify::CardTime& time : verify::timeCardOps(32)) {
    QVERIFY2(std::isfinite(time.seconds) && time.seconds > 0, time.name.c_str());
    QVERIFY2(time.cost.bytes > 0, time.name.c_str());
    QVERIFY2(names.insert(time.name).second, time.name.c_str());
  }
  QVERIFY(names.size() > 20);
}

void CardOpsTest::everyTypeHasACrossover() {
  const verify::CardCrossover found = verify::measureCrossover(128);
  QVERIFY(QString::fromStdString(found.backend).startsWith("cuda · "));
  for (const kernels::DType dtype : kernels::cuda::MatmulCrossover::kTypes) {
    QVERIFY2(found.measured.rows(dtype) > 1 && found.measured.rows(dtype) <= found.kMostRows + 1,
             kernels::dtypeName(dtype));
  }
}

void CardOpsTest::aLostCardIsAnError() {
  emulator::loseDevice(true);
  ErrorCode code = ErrorCode::cancelled;
  try {
    verify::checkCardOps();
  } catch (const Error& error) {
    code = error.code();
  }
  emulator::loseDevice(false);
  QCOMPARE(code, ErrorCode::deviceFailed);
}

QTEST_GUILESS_MAIN(CardOpsTest)
#include "card_ops_test.moc"
