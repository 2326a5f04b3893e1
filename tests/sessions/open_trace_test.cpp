// assets/open_trace.py read what the writers wrote. Needs python3 with numpy (or EYRIE_PYTHON naming one).
#include <fmt/format.h>

#include <QProcess>
#include <QRegularExpression>
#include <QTemporaryDir>
#include <QtTest>

#include "tests/sessions/archive.h"
#include "tests/sessions/fake_trace.h"

namespace eyrie::sessions {

namespace fs = std::filesystem;
using namespace testing;

class OpenTraceTest : public QObject {
  Q_OBJECT

 private:
  struct Run {
    int code = -1;
    QString out;
    QString err;
  };
  Run python(const QStringList& arguments) const {
    QProcess process;
    process.setWorkingDirectory(folder_.path());
    process.start(python_, arguments);
    if (!process.waitForFinished(120000)) return {-1, {}, process.errorString()};
    return {process.exitCode(), QString::fromUtf8(process.readAllStandardOutput()),
            QString::fromUtf8(process.readAllStandardError())};
  }

  QTemporaryDir folder_;
  QString python_;

 private slots:
  void initTestCase() {
    // The first python3 on the path need not be the one that Debian's numpy belongs to.
    for (const QString& candidate :
         {qEnvironmentVariable("EYRIE_PYTHON", "python3"), QString("/usr/bin/python3")}) {
      python_ = candidate;
      if (python({"-c", "import numpy"}).code == 0) break;
      python_.clear();
    }
    if (python_.isEmpty()) QSKIP("python3 with numpy is not installed: open_trace.py not run");
    const auto model = fakeModel();
    const engine::FrameLayout layout(model.summary.config, {engine::TraceLevel::full, {}, 512});
    for (const char* name : {"t.npz", "t.safetensors", "t.csv", "t.jsonl", "half.npz", "half.safetensors"}) {
      const fs::path file = fs::path(folder_.path().toStdString()) / name;
      TraceFileOptions options;
      options.format = traceFormatOf(file);
      options.precision = name[0] == 'h' ? TracePrecision::f16 : TracePrecision::f32;
      options.copyReader = true;
      const auto sink = makeTraceWriter(file, options);
      deliver(*sink, model, layout, 30, 20);
      sink->end();
    }
  }

  void printsEveryArray_data() {
    QTest::addColumn<QString>("name");
    QTest::addColumn<QStringList>("lines");
    const QStringList full = {R"(^tokens +\(20,\) +int32$)", R"(^logprob +\(20,\) +float32$)",
                              R"(^output\.topk_logprobs +\(20, 8\) +float32$)",
                              R"(^layers\.0\.half_life_quantiles +\(20, 5\) +float32$)"};
    QTest::newRow("npz") << "t.npz"
                         << full + QStringList{R"(^layers\.0\.decay +\(20, 5\) +float32$)",
                                               R"(^layers\.1\.attention +\(20, 2, 4\) +float32$)",
                                               R"(^layers\.2\.attention +\(20, 2, 20\) +float32$)"};
    QTest::newRow("safetensors") << "t.safetensors"
                                 << full + QStringList{R"(^layers\.0\.state +\(20, 5\) +float32$)"};
    QTest::newRow("csv") << "t.csv" << full + QStringList{R"(^text +\(20,\) +<U\d+$)"};
    QTest::newRow("jsonl") << "t.jsonl" << full;
    QTest::newRow("npz f16") << "half.npz" << full + QStringList{R"(^layers\.0\.state +\(20, 5\) +float16$)"};
  }
  void printsEveryArray() {
    QFETCH(QString, name);
    QFETCH(QStringList, lines);
    const Run run = python({"open_trace.py", name});
    QVERIFY2(run.code == 0, qPrintable(run.err));
    for (const QString& line : lines) {
      const QRegularExpression form(line, QRegularExpression::MultilineOption);
      QVERIFY2(run.out.contains(form), qPrintable(line + "\n" + run.out));
    }
  }

  void importGivesArraysAliasesAndMetadata() {
    const Run run = python({"-c", R"(
import json, numpy as np
from open_trace import open_trace
whole = open_trace("t.npz")
assert whole.meta["model"] == "tiny" and len(whole.meta["token_strings"]) == 20
assert whole["blocks.0.rglru.hook_a"] is whole["layers.0.decay"]
assert "blocks.0.rglru.hook_h" in whole and whole["blocks.1.attn.hook_pattern"].shape == (20, 2, 4)
for name in ("t.safetensors", "t.csv", "t.jsonl"):
    other = open_trace(name)
    assert other.meta["model"] == "tiny", other.meta
    for key, array in other.items():
        if key in whole:
            assert np.array_equal(np.asarray(array, np.float64), np.asarray(whole[key], np.float64), equal_nan=True), (name, key)
assert open_trace("t.safetensors").meta["token_strings"] == whole.meta["token_strings"]
assert list(open_trace("t.csv")["text"]) == whole.meta["token_strings"]
assert list(open_trace("t.jsonl")["text"]) == whole.meta["token_strings"]
half = open_trace("half.npz")
assert "layers.0.decay" not in list(half)
log_a = np.asarray(half["layers.0.log_decay"], np.float32)
assert np.array_equal(half["blocks.0.rglru.hook_a"], np.exp(log_a))
assert np.allclose(half["layers.0.state"], whole["layers.0.state"], rtol=1e-3, atol=1e-3)
assert np.load("t.npz")["tokens"].dtype == np.int32
print("fine")
)"});
    QVERIFY2(run.code == 0 && run.out == "fine\n", qPrintable(run.err));
  }

  void refusesOtherFilesPolitely() {
    const QList<std::pair<const char*, QByteArray>> files = {
        {"empty.csv", ""},           {"header.csv", "step,token\n"},
        {"long.csv", "a\n1,2\n"},    {"empty.jsonl", "\n"},
        {"list.jsonl", "[1]\n"},     {"cut.jsonl", "{\"a\": 1"},
        {"empty.safetensors", "PK"}, {"empty.npz", ""}};
    for (const auto& [name, bytes] : files) {
      QFile file(folder_.filePath(name));
      QVERIFY(file.open(QIODevice::WriteOnly));
      file.write(bytes);
    }
    for (const char* name : {"open_trace.py", "none.npz", "empty.csv", "header.csv", "long.csv",
                             "empty.jsonl", "list.jsonl", "cut.jsonl", "empty.safetensors", "empty.npz"}) {
      const Run run = python({"open_trace.py", name});
      QVERIFY2(run.code == 1, name);
      QVERIFY2(run.err.startsWith(name), qPrintable(run.err));
    }
  }
};

}  // namespace eyrie::sessions

QTEST_GUILESS_MAIN(eyrie::sessions::OpenTraceTest)
#include "open_trace_test.moc"
