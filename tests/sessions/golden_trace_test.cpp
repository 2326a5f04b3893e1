// A trace of the reference models, written by the engine's own thread to a file, agrees with the reference
// implementation's arrays: names, shapes, axis order and numbers.
#include <fmt/format.h>

#include <QTemporaryDir>
#include <QtTest>
#include <algorithm>
#include <cmath>
#include <fstream>

#include "engine/engine.h"
#include "sessions/export/trace_writer.h"
#include "tests/sessions/archive.h"

namespace eyrie::sessions {

namespace fs = std::filesystem;
using namespace testing;

class GoldenTraceTest : public QObject {
  Q_OBJECT

 private:
  // The event that ends a request.
  static engine::EngineEvent await(engine::Engine& engine, engine::RequestId request) {
    using enum engine::EventKind;
    engine::EngineEvent event;
    QElapsedTimer timer;
    timer.start();
    while (timer.elapsed() < 120000) {
      if (!engine.poll(event)) {
        QTest::qWait(2);
      } else if (event.request == request && (event.kind == loaded || event.kind == traceWritten ||
                                              event.kind == failed || event.kind == cancelled)) {
        return event;
      }
    }
    event.kind = cancelled;
    return event;
  }

 private slots:
  void traceFileAgreesWithTheReference_data() {
    QTest::addColumn<QString>("set");
    QTest::addColumn<QString>("name");
    for (const char* set : {"griffin-tiny", "hawk-tiny", "mqa-global", "griffin-complex"}) {
      for (const char* name : {"t.npz", "t.safetensors"}) QTest::addRow("%s %s", set, name) << set << name;
    }
  }
  void traceFileAgreesWithTheReference() {
    QFETCH(QString, set);
    QFETCH(QString, name);
    const fs::path golden = fs::path(EYRIE_SOURCE_DIR "/tests/golden") / set.toStdString();
    const Archive reference = readNpz(golden / "trace.npz");
    const auto tokens =
        nlohmann::json::parse(readFile(golden / "tokens.json")).get<std::vector<std::int32_t>>();
    QTemporaryDir folder;
    const fs::path file = fs::path(folder.path().toStdString()) / name.toStdString();

    engine::Engine engine;
    auto event = await(engine, engine.load({golden.string(), engine::BackendKind::automatic, 0}));
    QVERIFY2(event.kind == engine::EventKind::loaded, event.error ? event.error->what() : "no answer");
    TraceFileOptions options;
    options.format = traceFormatOf(file);
    options.precision = TracePrecision::f32;
    const engine::TraceOptions full{engine::TraceLevel::full, {}, std::int64_t(tokens.size()) + 100};
    event = await(engine, engine.trace(tokens, full, makeTraceWriter(file, options)));
    QVERIFY2(event.kind == engine::EventKind::traceWritten, event.error ? event.error->what() : "no answer");

    const Archive written = name == "t.npz" ? readNpz(file) : readSafetensors(file);
    QVERIFY(reference.arrays.size() > 3);
    for (const auto& [key, expected] : reference.arrays) {
      const auto found = written.arrays.find(key);
      QVERIFY2(found != written.arrays.end(), key.c_str());
      QCOMPARE(found->second.shape, expected.shape);
      double largest = 0;
      for (const double value : expected.values) largest = std::max(largest, std::abs(value));
      const bool relative = key.find("log_decay") != std::string::npos;
      for (std::size_t i = 0; i < expected.values.size(); ++i) {
        const double tolerance = relative ? 1e-3 * std::abs(expected.values[i]) : 1e-4 * largest;
        const double error = std::abs(found->second.values[i] - expected.values[i]);
        QVERIFY2(error <= tolerance,
                 fmt::format("{}[{}]: expected {}, found {}, error {}, tolerance {}", key, i,
                             expected.values[i], found->second.values[i], error, tolerance)
                     .c_str());
      }
    }
    // Row t is the prediction after token t: where the next token is among the likeliest, its logprob agrees.
    int checked = 0;
    const auto T = std::int64_t(tokens.size());
    for (std::int64_t t = 0; t + 1 < T; ++t) {
      for (int k = 0; k < engine::kTopTokens; ++k) {
        const auto i = std::size_t(t * engine::kTopTokens + k);
        if (written.arrays.at("output.topk_tokens").values[i] != tokens[std::size_t(t + 1)]) continue;
        ++checked;
        QCOMPARE(written.arrays.at("output.topk_logprobs").values[i],
                 written.arrays.at("logprob").values[std::size_t(t + 1)]);
      }
    }
    qInfo("%d next tokens were among the likeliest", checked);
    QVERIFY(std::isnan(written.arrays.at("logprob").values[0]));
    QVERIFY(!std::isnan(written.arrays.at("output.entropy").values[std::size_t(T - 1)]));
  }
};

}  // namespace eyrie::sessions

QTEST_GUILESS_MAIN(eyrie::sessions::GoldenTraceTest)
#include "golden_trace_test.moc"
