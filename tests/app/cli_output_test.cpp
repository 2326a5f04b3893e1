// What the command line leaves on the disk: whole files, or nothing.
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <QDir>
#include <QFile>
#include <QFileInfo>
#include <QTest>

#include "tests/app/cli_runner.h"

using namespace eyrie::app::test;

namespace {

// score writes all of V logits a token: 40 tokens are more than a few pages.
QStringList scoring() {
  QStringList tokens;
  for (int i = 0; i < 40; ++i) tokens += QString::number(2 + i);
  return {"score", "--model", goldenFolder("griffin-tiny"), "--tokens", tokens.join(",")};
}

QStringList tracing() {
  return {"trace",  "--model", goldenFolder("griffin-tiny"), "--tokens", "2,3,4", "--max-tokens", "40",
          "--seed", "1"};
}

bool isDevice(const QString& path) {
  struct stat info = {};
  return ::stat(path.toLocal8Bit().constData(), &info) == 0 && S_ISCHR(info.st_mode);
}

}  // namespace

class CliOutputTest : public QObject {
  Q_OBJECT

 private slots:
  void init() { cli_ = std::make_unique<Cli>(); }

  void devicesAreWrittenAndNotReplaced();
  void devicesHoldNoArchive_data();
  void devicesHoldNoArchive();
  void linksAreFollowed();
  void foldersAreRefused_data();
  void foldersAreRefused();
  void fullDiskLeavesNothing_data();
  void fullDiskLeavesNothing();
  void fullStandardOutputIsSaid_data();
  void fullStandardOutputIsSaid();
  void longNamesArePossible();
  void terminationIsAsGentleAsCtrlC_data();
  void terminationIsAsGentleAsCtrlC();
  void terminatedModelIsNoModel();

 private:
  // Names of files in the test's folder, hidden ones too.
  QStringList files() const {
    return QDir(cli_->file(".")).entryList(QDir::Files | QDir::Hidden | QDir::System, QDir::Name);
  }
  std::unique_ptr<Cli> cli_;
};

void CliOutputTest::devicesAreWrittenAndNotReplaced() {
  // Through links, so that what goes wrong replaces a link and not this machine's devices.
  QVERIFY(QFile::link("/dev/full", cli_->file("full")));
  QVERIFY(QFile::link("/dev/null", cli_->file("null")));
  for (const char* option : {"--logits", "--state", "--per-token"}) {
    COMPARE_CODE(cli_->run(scoring() + QStringList{option, cli_->file("null")}), 0);
    const CliResult full = cli_->run(scoring() + QStringList{option, cli_->file("full")});
    COMPARE_CODE(full, 1);
    QVERIFY2(full.err.contains("No space left"), full.text());
    QVERIFY2(full.out.isEmpty(), full.text());
  }
  QVERIFY(isDevice(cli_->file("full")) && isDevice(cli_->file("null")));
  QCOMPARE(files(), (QStringList{"full", "null"}));
}

void CliOutputTest::devicesHoldNoArchive_data() {
  QTest::addColumn<QStringList>("arguments");
  QTest::newRow("npz") << tracing() + QStringList{"--out", "device.npz"};
  QTest::newRow("csv") << tracing() + QStringList{"--out", "device.csv"};
}

void CliOutputTest::devicesHoldNoArchive() {
  QFETCH(QStringList, arguments);
  QVERIFY(QFile::link("/dev/null", cli_->file(arguments.last())));
  const CliResult result = cli_->run(arguments);
  COMPARE_CODE(result, 1);
  QVERIFY2(result.err.contains("a device"), result.text());
  QVERIFY(isDevice(cli_->file(arguments.last())));
}

void CliOutputTest::linksAreFollowed() {
  const QString target = cli_->write("target.npy", "old");
  QVERIFY(QFile::link(target, cli_->file("link.npy")));
  COMPARE_CODE(cli_->run(scoring() + QStringList{"--logits", cli_->file("link.npy")}), 0);
  QVERIFY(QFileInfo(cli_->file("link.npy")).isSymLink());
  QVERIFY(cli_->read("target.npy").startsWith("\x93NUMPY"));
  const QString trace = cli_->write("target.npz", "old");
  QVERIFY(QFile::link(trace, cli_->file("link.npz")));
  COMPARE_CODE(cli_->run(tracing() + QStringList{"--out", cli_->file("link.npz")}), 0);
  QVERIFY(QFileInfo(cli_->file("link.npz")).isSymLink());
  QVERIFY(cli_->read("target.npz").startsWith("PK"));
}

void CliOutputTest::foldersAreRefused_data() {
  QTest::addColumn<QStringList>("arguments");
  const auto row = [](const char* name, const QStringList& arguments) { QTest::newRow(name) << arguments; };
  row("logits", scoring() + QStringList{"--logits", "folder.npz"});
  row("state", scoring() + QStringList{"--state", "folder.npz"});
  row("lines", scoring() + QStringList{"--per-token", "folder.npz"});
  row("trace", tracing() + QStringList{"--out", "folder.npz"});
  row("name that ends in a slash", scoring() + QStringList{"--logits", "folder.npz/"});
}

void CliOutputTest::foldersAreRefused() {
  QFETCH(QStringList, arguments);
  QVERIFY(QDir(cli_->file(".")).mkdir("folder.npz"));
  const CliResult result = cli_->run(arguments);
  COMPARE_CODE(result, 1);
  QVERIFY2(result.err.contains("folder.npz") && result.err.contains("a folder"), result.text());
  QCOMPARE(files(), QStringList{});
}

void CliOutputTest::fullDiskLeavesNothing_data() {
  QTest::addColumn<QStringList>("arguments");
  const auto row = [](const char* name, const QStringList& arguments) { QTest::newRow(name) << arguments; };
  row("logits", scoring() + QStringList{"--logits", "x.npy", "--per-token", "x.jsonl"});
  row("state", scoring() + QStringList{"--state", "x.safetensors"});
  row("npz", tracing() + QStringList{"--out", "x.npz"});
  row("safetensors", tracing() + QStringList{"--out", "x.safetensors"});
  row("csv", tracing() + QStringList{"--out", "x.csv"});
  row("model", {"make-model", "--preset", "tiny-hawk", "--out", "model"});
}

void CliOutputTest::fullDiskLeavesNothing() {
  QFETCH(QStringList, arguments);
  QProcess process;
  process.setProcessEnvironment(cleanEnvironment(cli_->file(".")));
  process.setWorkingDirectory(cli_->file("."));
  process.setChildProcessModifier([] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit small = {4096, 4096};
    ::setrlimit(RLIMIT_FSIZE, &small);
  });
  process.start(cliPath(), arguments);
  QVERIFY(process.waitForFinished(60'000));
  CliResult result{process.exitCode(), process.readAllStandardOutput(), process.readAllStandardError()};
  COMPARE_CODE(result, 1);
  QVERIFY2(result.err.startsWith("eyrie-cli: ") && result.err.contains("File too large"), result.text());
  QCOMPARE(result.err.count('\n'), 1);
  QCOMPARE(files(), QStringList{});
  QVERIFY(!QFileInfo::exists(cli_->file("model")));
}

void CliOutputTest::fullStandardOutputIsSaid_data() {
  QTest::addColumn<QStringList>("arguments");
  const QString tiny = goldenFolder("griffin-tiny");
  const auto row = [](const char* name, const QStringList& arguments) { QTest::newRow(name) << arguments; };
  row("version", {"--version"});
  row("help", {"trace", "--help"});
  row("text", {"generate", "--model", tiny, "--tokens", "2", "--max-tokens", "2"});
  row("lines", {"generate", "--model", tiny, "--tokens", "2", "--max-tokens", "2", "--json"});
  row("score", scoring());
  row("inspect", {"inspect", "--model", tiny});
}

void CliOutputTest::fullStandardOutputIsSaid() {
  QFETCH(QStringList, arguments);
  QProcess process;
  process.setProcessEnvironment(cleanEnvironment(cli_->file(".")));
  process.setStandardOutputFile("/dev/full");
  process.start(cliPath(), arguments);
  QVERIFY(process.waitForFinished(60'000));
  CliResult result{process.exitCode(), {}, process.readAllStandardError()};
  COMPARE_CODE(result, 1);
  QCOMPARE(result.err, QByteArray("eyrie-cli: writing to standard output failed\n"));
}

void CliOutputTest::longNamesArePossible() {
  const QString name = QString(251, 'n');  // 255 with the ending: the most there is
  COMPARE_CODE(cli_->run(scoring() + QStringList{"--logits", name + ".npy"}), 0);
  COMPARE_CODE(cli_->run(tracing() + QStringList{"--out", name + ".npz"}), 0);
  const CliResult longer = cli_->run(scoring() + QStringList{"--logits", name + "n.npy"});
  COMPARE_CODE(longer, 1);
  QVERIFY2(longer.err.contains("too long"), longer.text());
}

void CliOutputTest::terminationIsAsGentleAsCtrlC_data() {
  QTest::addColumn<int>("number");
  QTest::newRow("INT") << SIGINT;
  QTest::newRow("TERM") << SIGTERM;
  QTest::newRow("HUP") << SIGHUP;
}

void CliOutputTest::terminationIsAsGentleAsCtrlC() {
  QFETCH(int, number);
  QProcess process;
  process.setProcessEnvironment(cleanEnvironment(cli_->file(".")));
  process.setWorkingDirectory(cli_->file("."));
  process.start(cliPath(),
                {"trace", "--model", goldenFolder("griffin-tiny"), "--tokens", "2,3,4", "--max-tokens",
                 "100000000", "--temperature", "0", "--level", "summary", "--out", "x.jsonl"});
  QVERIFY(process.waitForStarted());
  QTRY_VERIFY_WITH_TIMEOUT(!files().isEmpty(), 60'000);  // it writes beside its target
  QCOMPARE(::kill(pid_t(process.processId()), number), 0);
  QVERIFY(process.waitForFinished(60'000));
  CliResult result{process.exitCode(), process.readAllStandardOutput(), process.readAllStandardError()};
  COMPARE_CODE(result, 130);
  QCOMPARE(result.lines().value(0)["stop"].toString(), QString("cancelled"));
  QCOMPARE(files(), (QStringList{"open_trace.py", "x.jsonl", "x.jsonl.meta.json"}));
  QCOMPARE(cli_->read("x.jsonl").count('\n'), result.lines().value(0)["tokens"].toInteger());
}

void CliOutputTest::terminatedModelIsNoModel() {
  QProcess process;
  process.setProcessEnvironment(cleanEnvironment(cli_->file(".")));
  process.setWorkingDirectory(cli_->file("."));
  process.start(cliPath(), {"make-model", "--preset", "griffin-400m", "--out", "model"});
  QVERIFY(process.waitForStarted());
  QTRY_VERIFY_WITH_TIMEOUT(QFileInfo::exists(cli_->file("model")), 60'000);
  QCOMPARE(::kill(pid_t(process.processId()), SIGTERM), 0);
  QVERIFY(process.waitForFinished(60'000));
  QCOMPARE(process.exitCode(), 130);
  QVERIFY(!QFileInfo::exists(cli_->file("model")));
}

QTEST_GUILESS_MAIN(CliOutputTest)
#include "cli_output_test.moc"
