// What writing a trace leaves on the disk, and what it refuses.
#include <sys/resource.h>

#include <QTemporaryDir>
#include <QtTest>
#include <csignal>
#include <fstream>

#include "engine/error.h"
#include "tests/sessions/archive.h"
#include "tests/sessions/fake_trace.h"

namespace eyrie::sessions {

namespace fs = std::filesystem;
using namespace testing;

class TraceFilesTest : public QObject {
  Q_OBJECT

 private:
  fs::path folder() const { return folder_->path().toStdString(); }
  fs::path at(const std::string& name) const { return folder() / name; }
  int filesInFolder() const { return int(std::distance(fs::directory_iterator(folder()), {})); }
  std::unique_ptr<QTemporaryDir> folder_;

 private slots:
  void init() { folder_ = std::make_unique<QTemporaryDir>(); }

  void formatFollowsTheEnding() {
    QCOMPARE(traceFormatOf("a/b.npz"), TraceFormat::npz);
    QCOMPARE(traceFormatOf("B.SAFETENSORS"), TraceFormat::safetensors);
    QCOMPARE(traceFormatOf("b.csv"), TraceFormat::csv);
    QCOMPARE(traceFormatOf("b.jsonl"), TraceFormat::jsonLines);
    QVERIFY_EXCEPTION_THROWN(traceFormatOf("b.txt"), engine::Error);
    QVERIFY_EXCEPTION_THROWN(traceFormatOf("npz"), engine::Error);
  }

  void abandonLeavesNothing() {
    const auto model = fakeModel();
    const auto layout = layoutOf(model, engine::TraceLevel::full, 512);
    for (const char* name : {"a.npz", "a.safetensors", "a.csv", "a.jsonl"}) {
      auto options = optionsFor(at(name), TracePrecision::f32);
      options.copyReader = true;
      {
        const auto sink = makeTraceWriter(at(name), options);
        deliver(*sink, model, layout, 500, 400);
        sink->abandon();
        QCOMPARE(filesInFolder(), 0);
        sink->abandon();
      }
      {
        const auto dropped = makeTraceWriter(at(name), options);
        deliver(*dropped, model, layout, 500, 400);
      }
      QCOMPARE(filesInFolder(), 0);
    }
  }

  void failureKeepsTheOldFileAndLeavesNothing() {
    const auto model = fakeModel();
    const auto layout = layoutOf(model, engine::TraceLevel::full, 512);
    std::signal(SIGXFSZ, SIG_IGN);
    for (const char* name : {"f.npz", "f.safetensors", "f.csv", "f.jsonl"}) {
      std::ofstream(at(name)) << "the old one";
      rlimit before{};
      QCOMPARE(::getrlimit(RLIMIT_FSIZE, &before), 0);
      rlimit small = before;
      small.rlim_cur = 300 << 10;
      QCOMPARE(::setrlimit(RLIMIT_FSIZE, &small), 0);
      std::string said;
      const auto sink = makeTraceWriter(at(name), optionsFor(at(name), TracePrecision::f32));
      try {
        deliver(*sink, model, layout, 4000, 4000);
        sink->end();
      } catch (const engine::Error& error) {
        said = error.what();
        sink->abandon();
      }
      QCOMPARE(::setrlimit(RLIMIT_FSIZE, &before), 0);
      QVERIFY2(said.find(name) != std::string::npos && said.find("could not be written") != std::string::npos,
               said.c_str());
      QCOMPARE(readFile(at(name)), std::string("the old one"));
      fs::remove(at(name));
      QCOMPARE(filesInFolder(), 0);
    }
  }

  void impossibleTargetIsNamed() {
    const auto model = fakeModel();
    const auto layout = layoutOf(model, engine::TraceLevel::summary, 512);
    for (const char* name : {"none/a.npz", "none/a.csv"}) {
      const auto sink = makeTraceWriter(at(name), optionsFor(at(name), TracePrecision::f32));
      try {
        sink->begin(model, layout, 3);
        QFAIL("began");
      } catch (const engine::Error& error) {
        QCOMPARE(error.code(), engine::ErrorCode::ioFailed);
        QVERIFY2(std::string(error.what()).find("none/a.") != std::string::npos, error.what());
      }
    }
  }

  void readerLiesBesideTheFile() {
    const auto model = fakeModel();
    const auto layout = layoutOf(model, engine::TraceLevel::summary, 512);
    auto options = optionsFor(at("r.npz"), TracePrecision::f32);
    options.copyReader = true;
    for (int i = 0; i < 2; ++i) {
      const auto sink = makeTraceWriter(at("r.npz"), options);
      deliver(*sink, model, layout, 3, 3);
      sink->end();
      QCOMPARE(readFile(at("open_trace.py")), readFile(EYRIE_SOURCE_DIR "/assets/open_trace.py"));
    }
    std::ofstream(at("open_trace.py"), std::ios::trunc) << "# the user's own\n";
    const auto sink = makeTraceWriter(at("r.npz"), options);
    deliver(*sink, model, layout, 3, 3);
    sink->end();
    QCOMPARE(readFile(at("open_trace.py")), std::string("# the user's own\n"));
  }

  void tokensOutOfOrderAreRefused() {
    const auto model = fakeModel();
    const auto layout = layoutOf(model, engine::TraceLevel::summary, 512);
    const auto sink = makeTraceWriter(at("o.npz"), optionsFor(at("o.npz"), TracePrecision::f32));
    QVERIFY_EXCEPTION_THROWN(sink->token(makeRecord(0)), engine::Error);
    QVERIFY_EXCEPTION_THROWN(sink->end(), engine::Error);
    sink->begin(model, layout, 2);
    QVERIFY_EXCEPTION_THROWN(sink->token(makeRecord(1)), engine::Error);
    sink->token(makeRecord(0));
    sink->token(makeRecord(1));
    QVERIFY_EXCEPTION_THROWN(sink->token(makeRecord(2)), engine::Error);
    engine::TraceFrame wrong = fakeFrame(layout, 0);
    wrong.values.pop_back();
    QVERIFY_EXCEPTION_THROWN(sink->frame(wrong), engine::Error);
  }
};

}  // namespace eyrie::sessions

QTEST_GUILESS_MAIN(eyrie::sessions::TraceFilesTest)
#include "trace_files_test.moc"
