#include "tests/app/cli_runner.h"

#include <QDir>
#include <QFile>
#include <QJsonDocument>

namespace eyrie::app::test {

QVector<QJsonObject> CliResult::lines() const {
  QVector<QJsonObject> objects;
  for (const QByteArray& line : out.split('\n')) {
    if (!line.isEmpty()) objects.append(QJsonDocument::fromJson(line).object());
  }
  return objects;
}

QByteArray CliResult::text() const {
  return "found " + QByteArray::number(code) + "\n--- stdout\n" + out.left(2000) + "\n--- stderr\n" +
         err.left(2000);
}

QProcessEnvironment cleanEnvironment(const QString& home) {
  QProcessEnvironment environment = QProcessEnvironment::systemEnvironment();
  for (const char* name :
       {"EYRIE_MODELS", "HF_HOME", "HF_HUB_CACHE", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"}) {
    environment.remove(QString::fromLatin1(name));
  }
  environment.insert(QStringLiteral("HOME"), home);
  return environment;
}

QString cliPath() {
  return QStringLiteral(EYRIE_BINARY_DIR "/bin/eyrie-cli");
}

QString goldenFolder(const QString& name) {
  return QStringLiteral(EYRIE_SOURCE_DIR "/tests/golden/") + name;
}

QString builtInModel() {
  const QDir models(QStringLiteral(EYRIE_SOURCE_DIR "/assets/models"));
  const bool whole = models.exists(QStringLiteral("griffin/config.json")) &&
                     models.exists(QStringLiteral("griffin/model.safetensors")) &&
                     models.exists(QStringLiteral("griffin/tokenizer.model"));
  return whole ? QStringLiteral("griffin") : QString();
}

CliResult Cli::run(const QStringList& arguments, const QByteArray& input) const {
  QProcess process;
  process.setProcessEnvironment(cleanEnvironment(folder_.path()));
  process.setWorkingDirectory(folder_.path());
  process.start(cliPath(), arguments);
  process.write(input);
  process.closeWriteChannel();
  constexpr int kLongest = 240'000;
  const bool ended = process.waitForFinished(kLongest);
  CliResult result;
  result.out = process.readAllStandardOutput();
  result.err = process.readAllStandardError();
  if (ended && process.exitStatus() == QProcess::NormalExit) result.code = process.exitCode();
  return result;
}

QString Cli::write(const QString& name, const QByteArray& bytes) const {
  QFile target(file(name));
  if (!target.open(QIODevice::WriteOnly) || target.write(bytes) != bytes.size()) {
    qFatal("%s cannot be written", qPrintable(name));
  }
  return target.fileName();
}

QByteArray Cli::read(const QString& name) const {
  QFile source(file(name));
  return source.open(QIODevice::ReadOnly) ? source.readAll() : QByteArray();
}

}  // namespace eyrie::app::test
