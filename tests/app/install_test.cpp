// cmake --install, and then only what it installed: moved elsewhere, with nothing of the build in reach.
#include <QDir>
#include <QFile>
#include <QFileInfo>
#include <QTest>

#include "tests/app/cli_runner.h"

using namespace eyrie::app::test;

class InstallTest : public QObject {
  Q_OBJECT

 private slots:
  void initTestCase();
  void everythingIsThere();
  void versionIsSaid();
  void modelsAreFoundBesideTheProgram();
  void tracesBringTheirReader();
  void programsDoNotNameTheirSource();

 private:
  QString at(const QString& name) const { return folder_.filePath("moved/" + name); }
  CliResult run(const QString& program, const QStringList& arguments) const;
  QTemporaryDir folder_;
};

void InstallTest::initTestCase() {
  QProcess cmake;
  cmake.setProcessChannelMode(QProcess::MergedChannels);
  cmake.start(EYRIE_CMAKE, {"--install", EYRIE_BINARY_DIR, "--prefix", folder_.filePath("installed")});
  QVERIFY(cmake.waitForFinished(120'000));
  QVERIFY2(cmake.exitCode() == 0, cmake.readAll().right(2000));
  QVERIFY(QDir(folder_.path()).rename("installed", "moved"));
}

// As a machine that has neither the source nor any setting.
CliResult InstallTest::run(const QString& program, const QStringList& arguments) const {
  QProcess process;
  QProcessEnvironment environment;
  environment.insert("HOME", folder_.path());
  environment.insert("PATH", "/nonexistent");
  process.setProcessEnvironment(environment);
  process.setWorkingDirectory(folder_.path());
  process.start(at("bin/" + program), arguments);
  CliResult result;
  if (process.waitForFinished(120'000) && process.exitStatus() == QProcess::NormalExit)
    result.code = process.exitCode();
  result.out = process.readAllStandardOutput();
  result.err = process.readAllStandardError();
  return result;
}

void InstallTest::everythingIsThere() {
  QStringList names = {"bin/eyrie-cli", "share/eyrie/open_trace.py", "share/doc/eyrie/LICENSE"};
#ifdef EYRIE_GUI
  names += {"bin/eyrie", "share/applications/eyrie.desktop", "share/icons/hicolor/scalable/apps/eyrie.svg"};
#endif
  for (const QString& name : names) QVERIFY2(QFileInfo(at(name)).size() > 0, qPrintable(name));
  QVERIFY(QFileInfo(at("share/eyrie/open_trace.py")).isExecutable());
  if (!builtInModel().isEmpty()) QVERIFY(QFileInfo::exists(at("share/eyrie/models/ATTRIBUTION.md")));
}

void InstallTest::versionIsSaid() {
  const CliResult cli = run("eyrie-cli", {"--version"});
  COMPARE_CODE(cli, 0);
  QCOMPARE(cli.out, QByteArray("eyrie-cli " EYRIE_VERSION "\n"));
#ifdef EYRIE_GUI
  const CliResult window = run("eyrie", {"--version"});
  COMPARE_CODE(window, 0);
  QCOMPARE(window.out, QByteArray("eyrie " EYRIE_VERSION "\n"));
#endif
}

void InstallTest::modelsAreFoundBesideTheProgram() {
  if (builtInModel().isEmpty()) QSKIP("the tree has no built-in model");
  for (const char* name : {"griffin", "hawk", "mqa"}) {
    const CliResult inspected = run("eyrie-cli", {"inspect", "--model", name, "--json"});
    COMPARE_CODE(inspected, 0);
    const QString folder = inspected.lines().value(0)["folder"].toString();
    QCOMPARE(QFileInfo(folder).canonicalFilePath(),
             QFileInfo(at("share/eyrie/models/") + name).canonicalFilePath());
  }
  const CliResult written = run(
      "eyrie-cli", {"generate", "--model", "griffin", "--prompt", "Once upon a time", "--max-tokens", "8"});
  COMPARE_CODE(written, 0);
  QVERIFY2(written.out.trimmed().size() > 4, written.text());
}

void InstallTest::tracesBringTheirReader() {
  if (builtInModel().isEmpty()) QSKIP("the tree has no built-in model");
  COMPARE_CODE(run("eyrie-cli", {"trace", "--model", "hawk", "--prompt", "A king", "--max-tokens", "2",
                                 "--out", folder_.filePath("a.npz")}),
               0);
  QFile installed(at("share/eyrie/open_trace.py"));
  QFile beside(folder_.filePath("open_trace.py"));
  QVERIFY(installed.open(QIODevice::ReadOnly) && beside.open(QIODevice::ReadOnly));
  QCOMPARE(beside.readAll(), installed.readAll());
}

void InstallTest::programsDoNotNameTheirSource() {
#ifndef NDEBUG
  QSKIP("assertions name their source");
#endif
  if (QFileInfo(EYRIE_BINARY_DIR).dir() != QDir(EYRIE_SOURCE_DIR "/build")) QSKIP("built in another place");
  for (const QString& name : QDir(at("bin")).entryList(QDir::Files)) {
    QFile program(at("bin/" + name));
    QVERIFY(program.open(QIODevice::ReadOnly));
    QVERIFY2(!program.readAll().contains(EYRIE_SOURCE_DIR "/"), qPrintable(name));
  }
}

QTEST_GUILESS_MAIN(InstallTest)
#include "install_test.moc"
