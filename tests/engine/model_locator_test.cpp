#include "engine/model_locator.h"

#include <QtTest/QtTest>

#include "engine/error.h"
#include "tests/engine/model_files.h"

using namespace eyrie::engine;
namespace fs = std::filesystem;

class ModelLocatorTest : public QObject {
  Q_OBJECT
 private slots:
  void init();
  void foldersAndFilesInsideThemAreFound();
  void builtInsComeFromTheEnvironmentFirst();
  void cacheNamesFollowTheMainRevision();
  void cacheWithoutReferenceTakesTheNewestSnapshot();
  void onlyRecurrentGemmasAreListed();
  void aMissingModelSaysWhereWasLooked();

 private:
  fs::path root() const { return folder_->path().toStdString(); }
  void addSnapshot(const std::string& repository, const std::string& revision, const std::string& type);
  std::unique_ptr<QTemporaryDir> folder_;
};

void ModelLocatorTest::init() {
  folder_ = std::make_unique<QTemporaryDir>();
  qputenv("HF_HUB_CACHE", folder_->filePath("hub").toUtf8());
  qputenv("EYRIE_MODELS", folder_->filePath("built-in").toUtf8());
}

void ModelLocatorTest::addSnapshot(const std::string& repository, const std::string& revision,
                                   const std::string& type) {
  const fs::path hub = root() / "hub" / repository;
  fs::create_directories(hub / "blobs");
  fs::create_directories(hub / "snapshots" / revision);
  test::writeBytes(hub / "blobs" / (revision + "-config"), R"({"model_type": ")" + type + "\"}");
  fs::create_symlink("../../blobs/" + revision + "-config", hub / "snapshots" / revision / "config.json");
}

void ModelLocatorTest::foldersAndFilesInsideThemAreFound() {
  test::writeFolder(root() / "mine", {{"config.json", "{}"}, {"model.safetensors", "x"}});
  for (const char* tail : {"mine", "mine/", "mine/config.json", "mine/model.safetensors"}) {
    const ModelLocation found = locateModel((root() / tail).string());
    QCOMPARE(found.name, std::string("mine"));
    QVERIFY(fs::equivalent(found.folder, root() / "mine"));
    QVERIFY(!found.builtIn);
  }
}

void ModelLocatorTest::builtInsComeFromTheEnvironmentFirst() {
  test::writeFolder(root() / "built-in" / "griffin", {{"config.json", "{}"}});
  test::writeFolder(root() / "built-in" / "notes", {{"README.md", "no model"}});
  const ModelLocation found = locateModel("griffin");
  QVERIFY(found.builtIn);
  QVERIFY(fs::equivalent(found.folder, root() / "built-in" / "griffin"));
  const auto all = builtInModels();
  QCOMPARE(std::count_if(all.begin(), all.end(), [](const auto& model) { return model.name == "griffin"; }),
           1);
  QVERIFY(std::none_of(all.begin(), all.end(), [](const auto& model) { return model.name == "notes"; }));
}

void ModelLocatorTest::cacheNamesFollowTheMainRevision() {
  addSnapshot("models--google--recurrentgemma-2b", "aaaa", "recurrent_gemma");
  addSnapshot("models--google--recurrentgemma-2b", "bbbb", "recurrent_gemma");
  const fs::path hub = root() / "hub" / "models--google--recurrentgemma-2b";
  fs::create_directories(hub / "refs");
  test::writeBytes(hub / "refs" / "main", "aaaa\n");
  const ModelLocation found = locateModel("google/recurrentgemma-2b");
  QCOMPARE(found.name, std::string("google/recurrentgemma-2b"));
  QCOMPARE(found.folder.filename().string(), std::string("aaaa"));
}

void ModelLocatorTest::cacheWithoutReferenceTakesTheNewestSnapshot() {
  addSnapshot("models--a--b", "old", "recurrent_gemma");
  addSnapshot("models--a--b", "new", "recurrent_gemma");
  fs::last_write_time(root() / "hub/models--a--b/snapshots/old",
                      fs::file_time_type::clock::now() - std::chrono::hours(2));
  QCOMPARE(locateModel("a/b").folder.filename().string(), std::string("new"));
}

void ModelLocatorTest::onlyRecurrentGemmasAreListed() {
  addSnapshot("models--a--griffin", "r", "recurrent_gemma");
  addSnapshot("models--a--llama", "r", "llama");
  fs::create_directories(root() / "hub" / "datasets--a--b" / "snapshots");
  const auto models = cachedModels();
  QCOMPARE(models.size(), 1U);
  QCOMPARE(models[0].name, std::string("a/griffin"));
}

void ModelLocatorTest::aMissingModelSaysWhereWasLooked() {
  for (const char* name : {"no-such", "no/such", "../..x", "a/../../etc"}) {
    try {
      locateModel(name);
      QFAIL(name);
    } catch (const Error& error) {
      QVERIFY(error.code() == ErrorCode::notFound);
      QVERIFY2(QString(error.what()).contains("no such model; looked at"), error.what());
    }
  }
  QVERIFY(QString::fromStdString(test::errorOf([] { locateModel("no/such"); })).contains("models--no--such"));
  QVERIFY(QString::fromStdString(test::errorOf([] { locateModel("nosuch"); })).contains("built-in/nosuch"));
  QVERIFY(QString::fromStdString(test::errorOf([] { locateModel(""); })).contains("found an empty name"));
}

QTEST_GUILESS_MAIN(ModelLocatorTest)
#include "model_locator_test.moc"
