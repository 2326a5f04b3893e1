// Exporting a trace as one chooses, and reading again what was not recorded.
#include <QCheckBox>
#include <QJsonDocument>
#include <QJsonObject>
#include <QLabel>
#include <QSignalSpy>

#include "tests/app/window_driver.h"
#include "ui/widgets/trace_export_dialog.h"

using namespace eyrie;
using app::MainWindow;

class GuiInspectTest : public QObject {
  Q_OBJECT

 private:
  std::unique_ptr<WindowDriver> driver_;

  static void answer(MainWindow& window, int tokens, std::uint64_t seed, const QString& text) {
    window.chat()->setSampling(WindowDriver::choice(tokens, seed));
    WindowDriver::write(window, text);
    QTRY_VERIFY_WITH_TIMEOUT(window.chat()->sessionId() > 0 && !window.chat()->isWriting(), kPatience);
  }
  static std::int64_t missing(MainWindow& window) {
    return WindowDriver::find<ui::RereadHint>(window, "rereadHint")->missing();
  }
  // The header of a safetensors file.
  static QJsonObject headerOf(const QString& file) {
    QFile input(file);
    if (!input.open(QIODevice::ReadOnly)) return {};
    quint64 length = 0;
    input.read(reinterpret_cast<char*>(&length), 8);
    return QJsonDocument::fromJson(input.read(qint64(length))).object();
  }

 private slots:
  void init() { driver_ = std::make_unique<WindowDriver>(); }
  void cleanup() { driver_.reset(); }

  void exportHoldsWhatWasChosen() {
    auto window = driver_->open();
    QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->model() != nullptr, kPatience);
    answer(*window, 8, 21, "Hello!");
    QSignalSpy exported(window.get(), &MainWindow::exported);
    ui::TraceExportChoice choice;
    choice.f32 = true;
    choice.layers = {0, 2};
    choice.attention = false;
    const QString full = driver_->file("full.safetensors");
    window->exportTrace(full, choice);
    QTRY_COMPARE_WITH_TIMEOUT(exported.size(), 1, kPatience);
    const QJsonObject arrays = headerOf(full);
    QVERIFY(arrays.contains("layers.0.state"));
    QCOMPARE(arrays["layers.0.state"].toObject()["dtype"].toString(), QString("F32"));
    QVERIFY2(!arrays.contains("layers.1.state"), "layer 1 was not chosen");
    QVERIFY2(!arrays.contains("layers.2.attention"), "no attention weights were asked for");
    QVERIFY(arrays.contains("layers.1.state_norm"));
    choice.full = false;
    choice.f32 = false;
    const QString table = driver_->file("summary.csv");
    window->exportTrace(table, choice);
    QTRY_COMPARE_WITH_TIMEOUT(exported.size(), 2, kPatience);
    QFile meta(table + ".meta.json");
    QVERIFY(meta.open(QIODevice::ReadOnly));
    const QJsonObject facts = QJsonDocument::fromJson(meta.readAll()).object();
    QCOMPARE(facts["seed"].toInt(), 21);
    QCOMPARE(facts["sampler"].toObject()["top_p"].toDouble(), 0.95);
    QCOMPARE(facts["level"].toString(), QString("summary"));
    window->close();
  }

  void exportDialogAsksOnlyWhatMatters() {
    auto window = driver_->open();
    QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->model() != nullptr, kPatience);
    answer(*window, 6, 5, "Hello!");
    bool seen = false;
    WindowDriver::whenOpened("traceExportDialog", [&seen](QDialog* dialog) {
      const auto enabled = [&](const char* name) {
        return WindowDriver::find<QAbstractButton>(*dialog, name)->isEnabled();
      };
      QVERIFY(enabled("levelFull") && enabled("precisionF32") && enabled("exportAttention"));
      const QString facts = WindowDriver::find<QLabel>(*dialog, "exportFacts")->text();
      QVERIFY2(facts.contains("griffin") && facts.contains("seed 5"), qPrintable(facts));
      const QString large = WindowDriver::find<QLabel>(*dialog, "exportSize")->text();
      WindowDriver::click(*dialog, "formatCsv");
      QVERIFY(!enabled("levelFull") && !enabled("precisionF32") && !enabled("exportAttention"));
      QVERIFY(WindowDriver::find<QLabel>(*dialog, "exportSize")->text() != large);
      seen = true;
      dialog->reject();
    });
    WindowDriver::trigger(*window, "exportTrace");
    QVERIFY(seen);
    window->close();
  }

  void choicesBecomeTraceOptions() {
    engine::ModelConfig config;
    config.blocks = {engine::BlockKind::recurrent, engine::BlockKind::recurrent,
                     engine::BlockKind::localAttention};
    ui::TraceExportChoice choice;
    QCOMPARE(ui::traceOptionsFor(choice, config).level, engine::TraceLevel::full);
    QVERIFY(ui::traceOptionsFor(choice, config).layers.empty());
    choice.attention = false;
    QVERIFY((ui::traceOptionsFor(choice, config).layers == std::vector<int>{0, 1}));
    choice.layers = {2};
    QCOMPARE(ui::traceOptionsFor(choice, config).level, engine::TraceLevel::summary);
    choice = {};
    choice.ending = "csv";
    QCOMPARE(ui::traceOptionsFor(choice, config).level, engine::TraceLevel::summary);
  }

  void reopenedConversationIsReadAgainToInspect() {
    std::int64_t session = 0;
    {
      auto window = driver_->open();
      QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->model() != nullptr, kPatience);
      answer(*window, 16, 9, "What is your favourite animal?");
      session = window->chat()->sessionId();
      QTRY_COMPARE_WITH_TIMEOUT(missing(*window), 0, kPatience);
      window->close();
    }
    auto window = driver_->open(session);
    QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->run()->trace.size() > 10, kPatience);
    window->setLayoutPreset(app::Layout::inspect);
    auto* button = WindowDriver::find<QAbstractButton>(*window, "rereadButton");
    QTRY_VERIFY_WITH_TIMEOUT(button->isVisible(), kPatience);
    const QString words = WindowDriver::leaf(*window).text;
    button->click();
    QTRY_COMPARE_WITH_TIMEOUT(missing(*window), 0, kPatience);
    const engine::Trace& trace = window->bridge()->run()->trace;
    for (std::int64_t i = 0; i < trace.size(); ++i)
      QVERIFY2(trace.hasFrame(i), qPrintable(QString::number(i)));
    QTRY_VERIFY_WITH_TIMEOUT(!button->isVisible(), kPatience);
    QCOMPARE(WindowDriver::leaf(*window).text, words);
    window->close();
  }

  void anotherVersionKeepsWhatIsShared() {
    auto window = driver_->open();
    QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->model() != nullptr, kPatience);
    answer(*window, 12, 3, "Hello, how are you?");
    window->chat()->setSampling(WindowDriver::choice(12, 4));
    WindowDriver::trigger(*window, "regenerateLast");
    QTRY_VERIFY_WITH_TIMEOUT(!window->chat()->isWriting(), kPatience);
    QTRY_COMPARE_WITH_TIMEOUT(missing(*window), 0, kPatience);
    window->setLayoutPreset(app::Layout::inspect);
    WindowDriver::trigger(*window, "previousSibling");
    const ui::Turn first = WindowDriver::leaf(*window);
    const engine::Trace& trace = window->bridge()->run()->trace;
    QCOMPARE(trace.token(first.firstPosition).token, first.tokens.front().token);
    QVERIFY2(trace.hasFrame(first.firstPosition - 1), "the question is the same: its frames stay");
    QVERIFY(missing(*window) > 0);
    auto* bar = WindowDriver::find<QAbstractButton>(*window, "rereadBarButton");
    QTRY_VERIFY_WITH_TIMEOUT(bar->isVisible(), kPatience);
    bar->click();
    QTRY_COMPARE_WITH_TIMEOUT(missing(*window), 0, kPatience);
    // Which version was shown last is remembered.
    const std::int64_t session = window->chat()->sessionId();
    window->close();
    window.reset();
    window = driver_->open(session);
    QTRY_COMPARE_WITH_TIMEOUT(window->chat()->conversation()->path().size(), std::size_t(2), kPatience);
    QCOMPARE(WindowDriver::leaf(*window).text, first.text);
    window->close();
  }

  void readingAgainCanBeCancelled() {
    auto window = driver_->open();
    QTRY_VERIFY_WITH_TIMEOUT(window->bridge()->model() != nullptr, kPatience);
    WindowDriver::click(*window, "modeRead");
    WindowDriver::write(*window, QString("The fox went over the hill and far away. ").repeated(150));
    QTRY_VERIFY_WITH_TIMEOUT(window->chat()->sessionId() > 0 && !window->chat()->isWriting(), kPatience);
    const std::int64_t session = window->chat()->sessionId();
    window->chat()->newSession();
    window->chat()->openSession(session);
    QTRY_VERIFY_WITH_TIMEOUT(missing(*window) > 1000, kPatience);
    auto* hint = WindowDriver::find<ui::RereadHint>(*window, "rereadHint");
    QSignalSpy ended(window->bridge(), &app::EngineBridge::cancelled);
    emit hint->rereadRequested();
    emit hint->cancelRequested();
    QTRY_COMPARE_WITH_TIMEOUT(ended.size(), 1, kPatience);
    QVERIFY(missing(*window) > 0);
    window->close();
  }
};

int main(int argc, char** argv) {
  QCoreApplication::setAttribute(Qt::AA_ShareOpenGLContexts);
  QApplication application(argc, argv);
  GuiInspectTest test;
  return QTest::qExec(&test, argc, argv);
}
#include "gui_inspect_test.moc"
