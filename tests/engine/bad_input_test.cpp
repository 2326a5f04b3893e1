// Damaged checkpoints: every one is refused by an Error that names the file and the tensor or key, says what
// was expected and what was found, and takes no memory worth speaking of.
#include <sys/resource.h>

#include <QtTest/QtTest>

#include "engine/checkpoint/checkpoint.h"
#include "engine/error.h"
#include "tests/engine/bad_input_cases.h"
#include "tests/sanitized.h"

using namespace eyrie::engine;
namespace fs = std::filesystem;

namespace {

long peakKilobytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

}  // namespace

class BadInputTest : public QObject {
  Q_OBJECT
 private slots:
  void initTestCase();
  void damagedCheckpointsAreRefusedByName_data();
  void damagedCheckpointsAreRefusedByName();
  void atLeastTwoHundredCases();
  void everyCutOfTheFileIsRefused();
  void memoryStaysBounded();

 private:
  std::vector<test::BadCase> cases_;
  QTemporaryDir folder_;
  long before_ = 0;
};

void BadInputTest::initTestCase() {
  cases_ = test::badCases();
  before_ = peakKilobytes();
}

void BadInputTest::damagedCheckpointsAreRefusedByName_data() {
  QTest::addColumn<int>("index");
  for (std::size_t i = 0; i < cases_.size(); ++i)
    QTest::newRow(cases_[i].name.c_str()) << static_cast<int>(i);
}

void BadInputTest::damagedCheckpointsAreRefusedByName() {
  QFETCH(int, index);
  const test::BadCase& bad = cases_[static_cast<std::size_t>(index)];
  const fs::path path = folder_.filePath("model").toStdString();
  fs::remove_all(path);
  test::ModelFiles files = test::smallModel(bad.sharded);
  bad.damage(files);
  test::writeFolder(path, files);
  const std::string message = test::errorOf([&] { Checkpoint::open(path)->outputHead(); });
  QVERIFY2(!message.empty(), "the damage was not noticed");
  QVERIFY2(message.find('\n') == std::string::npos, message.c_str());
  for (const std::string& part : bad.named)
    QVERIFY2(message.find(part) != std::string::npos, (message + "\n  does not name: " + part).c_str());
}

void BadInputTest::atLeastTwoHundredCases() {
  QVERIFY2(cases_.size() >= 200, qPrintable(QString::number(cases_.size())));
}

void BadInputTest::everyCutOfTheFileIsRefused() {
  const test::ModelFiles files = test::smallModel();
  const fs::path path = folder_.filePath("cut").toStdString();
  test::writeFolder(path, files);
  const auto size = files.at("model.safetensors").size();
  for (std::size_t length = size - 1; length > 0; length -= std::min<std::size_t>(length, 211)) {
    fs::resize_file(path / "model.safetensors", length);
    const std::string message = test::errorOf([&] { Checkpoint::open(path); });
    QVERIFY2(message.find("model.safetensors: ") != std::string::npos, message.c_str());
  }
}

void BadInputTest::memoryStaysBounded() {
  if (eyrie::kSanitized) QSKIP("sanitizers keep memory of their own");
  const long grown = peakKilobytes() - before_;
  QVERIFY2(grown < 128L * 1024, qPrintable(QString("peak grew by %1 kB").arg(grown)));
}

QTEST_GUILESS_MAIN(BadInputTest)
#include "bad_input_test.moc"
