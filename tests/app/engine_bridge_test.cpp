// The bridge between engine and window when the GUI thread is late: nothing stays unread.
#include "app/gui/engine_bridge.h"

#include <QSignalSpy>
#include <QtTest>
#include <thread>

using namespace eyrie;

namespace {
constexpr int kPatience = 60000;  // ms: only a failure takes so long
}

class EngineBridgeTest : public QObject {
  Q_OBJECT

 private:
  static engine::RunRequest writing(int tokens) {
    engine::RunRequest request;
    request.context = {2, 300, 301, 302};
    request.options.maxTokens = tokens;
    request.options.eosTokens = {};
    request.options.trace.level = engine::TraceLevel::full;
    return request;
  }

 private slots:
  void readsAllThatWaitedWhileTheWindowStoodStill() {
    app::EngineBridge bridge;
    QSignalSpy loaded(&bridge, &app::EngineBridge::loaded);
    bridge.load("griffin");
    QTRY_COMPARE_WITH_TIMEOUT(loaded.size(), 1, kPatience);
    constexpr int kTokens = 600;  // more frames and records than one display frame has time for
    for (int round = 0; round < 5; ++round) {
      QSignalSpy finished(&bridge, &app::EngineBridge::finished);
      bridge.start(writing(kTokens));
      // The GUI thread is away for a while, another one each round, up to the whole run.
      std::this_thread::sleep_for(std::chrono::milliseconds(150 * round));
      QTRY_COMPARE_WITH_TIMEOUT(finished.size(), 1, kPatience);
      const engine::Trace& trace = bridge.run()->trace;
      QCOMPARE(trace.size(), std::int64_t(4 + kTokens));
      for (std::int64_t i = 0; i < trace.size(); ++i) {
        QVERIFY2(trace.token(i).token >= 0, qPrintable(QString("no record at %1").arg(i)));
        QVERIFY2(trace.hasFrame(i) || i + 1 == trace.size(), qPrintable(QString("no frame at %1").arg(i)));
      }
      QCOMPARE(bridge.droppedFrames(), std::uint64_t(0));
      QVERIFY(!bridge.isBusy());
    }
  }
};

QTEST_GUILESS_MAIN(EngineBridgeTest)
#include "engine_bridge_test.moc"
