// Runs the real eyrie-cli and keeps what it said.
#pragma once

#include <QByteArray>
#include <QJsonObject>
#include <QProcess>
#include <QStringList>
#include <QTemporaryDir>
#include <QVector>

namespace eyrie::app::test {

struct CliResult {
  int code = -1;  // -1: it crashed or did not end
  QByteArray out;
  QByteArray err;

  // Every line of stdout as an object; empty objects where a line is none.
  QVector<QJsonObject> lines() const;
  // For failure messages.
  QByteArray text() const;
};

// An environment without the user's own data, models and caches.
QProcessEnvironment cleanEnvironment(const QString& home);
QString cliPath();
QString goldenFolder(const QString& name);
// Name of a built-in model with a tokenizer; empty where the tree has none yet.
QString builtInModel();

class Cli {
 public:
  CliResult run(const QStringList& arguments, const QByteArray& input = {}) const;
  // A path in a folder that is removed afterwards.
  QString file(const QString& name) const { return folder_.filePath(name); }
  QString write(const QString& name, const QByteArray& bytes) const;
  QByteArray read(const QString& name) const;

 private:
  QTemporaryDir folder_;
};

}  // namespace eyrie::app::test

// Compares exit codes and shows everything that was said when they differ.
#define COMPARE_CODE(result, expected)                                            \
  do {                                                                            \
    const eyrie::app::test::CliResult& compared = (result);                       \
    QVERIFY2(compared.code == (expected),                                         \
             QByteArray("expected exit code " #expected ", ") + compared.text()); \
  } while (false)
