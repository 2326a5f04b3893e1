#include "engine/checkpoint/safetensors.h"

#include <QtTest/QtTest>
#include <cstring>

#include "engine/checkpoint/npy.h"
#include "engine/checkpoint/shard_index.h"
#include "engine/error.h"
#include "tests/engine/model_files.h"

using namespace eyrie::engine;

namespace {

std::string fileOf(const std::string& header, std::size_t dataBytes) {
  std::string out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>(header.size() >> (8 * i));
  return out + header + std::string(dataBytes, 'x');
}

SafetensorsFile parsed(const std::string& bytes) {
  return parseSafetensors(std::as_bytes(std::span(bytes)), bytes.size(), "t.safetensors");
}

std::string path(const QTemporaryDir& folder, const char* name) {
  return folder.filePath(name).toStdString();
}

}  // namespace

class SafetensorsTest : public QObject {
  Q_OBJECT
 private slots:
  void writtenFileReadsBack();
  void headerAloneIsEnough();
  void emptyAndScalarTensorsAreFine();
  void everyGoldenFileIsRead();
  void refusesDamagedHeaders_data();
  void refusesDamagedHeaders();
  void streamedFileMustBeComplete();
  void unfinishedFilesLeaveNothing();
  void npyHeaderIsWhatNumpyExpects();
  void npyRowsArriveWhole();
  void indexNamesFilesOfItsFolderOnly_data();
  void indexNamesFilesOfItsFolderOnly();
};

void SafetensorsTest::writtenFileReadsBack() {
  const QTemporaryDir folder;
  const std::vector<float> h = {1.5F, -2.0F, 3.25F, 0.0F, 5.0F, 6.0F};
  const std::vector<std::int32_t> tokens = {2, 17};
  const std::string file = path(folder, "state.safetensors");
  writeSafetensors(
      file,
      {{"layers.0.rg_lru.h", "F32", {2, 3}, 0, 24, h.data()}, {"tokens", "I32", {2}, 0, 8, tokens.data()}},
      {{"position", "80"}});
  const std::string bytes = test::readBytes(file);
  const SafetensorsFile read = parsed(bytes);
  QCOMPARE(read.metadata.at("position"), std::string("80"));
  QCOMPARE(read.tensors.size(), 2U);
  QCOMPARE(read.tensors[0].name, std::string("layers.0.rg_lru.h"));
  QVERIFY((read.tensors[0].shape == std::vector<std::int64_t>{2, 3}));
  QCOMPARE(std::memcmp(read.tensors[0].data, h.data(), 24), 0);
  QCOMPARE(std::memcmp(read.tensors[1].data, tokens.data(), 8), 0);
  QCOMPARE(read.tensors[0].begin % 64, 0U);
}

void SafetensorsTest::headerAloneIsEnough() {
  const std::string header = R"({"a":{"dtype":"F32","shape":[1000000],"data_offsets":[0,4000000]}})";
  const std::string bytes = fileOf(header, 0);
  const SafetensorsFile read =
      parseSafetensors(std::as_bytes(std::span(bytes)), bytes.size() + 4'000'000, "t.safetensors");
  QCOMPARE(read.tensors[0].bytes, 4'000'000U);
  QVERIFY(read.tensors[0].data == nullptr);
}

void SafetensorsTest::emptyAndScalarTensorsAreFine() {
  const SafetensorsFile read = parsed(fileOf(
      R"({"e":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]},"s":{"dtype":"F16","shape":[],"data_offsets":[0,2]}}  )",
      2));
  QCOMPARE(read.tensors.size(), 2U);
  QCOMPARE(parsed(fileOf("{}", 0)).tensors.size(), 0U);
}

void SafetensorsTest::everyGoldenFileIsRead() {
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(EYRIE_SOURCE_DIR "/tests/golden")) {
    if (entry.path().extension() != ".safetensors") continue;
    QVERIFY2(!parsed(test::readBytes(entry)).tensors.empty(), entry.path().c_str());
    ++files;
  }
  QVERIFY(files >= 13);
}

void SafetensorsTest::refusesDamagedHeaders_data() {
  QTest::addColumn<QByteArray>("bytes");
  QTest::addColumn<QString>("expected");
  const auto row = [](const char* name, const std::string& bytes, const char* expected) {
    QTest::newRow(name) << QByteArray(bytes.data(), static_cast<qsizetype>(bytes.size())) << expected;
  };
  const auto entry = [&](const char* name, const std::string& value, std::size_t data, const char* expected) {
    row(name, fileOf("{\"a\":" + value + "}", data), expected);
  };
  row("no bytes", "", "at least 8 bytes, found 0");
  row("seven bytes", "1234567", "at least 8 bytes, found 7");
  row("length 0", std::string(8, '\0'), "found 0");
  row("length 2^60", std::string("\0\0\0\0\0\0\0\x10{}", 10), "found 1152921504606846976");
  row("length 2^64-1", std::string(8, '\xff') + "{}", "found 18446744073709551615");
  row("length past the end", fileOf("{}", 0).substr(0, 9), "found 2");
  row("not JSON", fileOf("{nonsense", 0), "expected JSON");
  row("an array", fileOf("[]", 0), "expected a JSON object");
  row("the same tensor twice",
      fileOf(
          R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
          8),
      "\"a\" appears twice");
  row("nested a thousand deep", fileOf("{\"a\":" + std::string(1000, '[') + std::string(1000, ']') + "}", 0),
      "deep");
  entry("not an object", "3", 0, "tensor a: expected an object, found 3");
  entry("no dtype", R"({"shape":[1],"data_offsets":[0,4]})", 4, "tensor a: \"dtype\" is missing");
  entry("no shape", R"({"dtype":"F32","data_offsets":[0,4]})", 4, "tensor a: \"shape\" is missing");
  entry("no offsets", R"({"dtype":"F32","shape":[1]})", 4, "tensor a: \"data_offsets\" is missing");
  entry("unknown dtype", R"({"dtype":"Q4","shape":[1],"data_offsets":[0,4]})", 4,
        "tensor a: dtype: expected");
  entry("dtype a number", R"({"dtype":32,"shape":[1],"data_offsets":[0,4]})", 4, "tensor a: dtype: expected");
  entry("shape too small", R"({"dtype":"F32","shape":[1],"data_offsets":[0,8]})", 8,
        "expected 4 bytes for F32 [1], found 8");
  entry("shape negative", R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})", 4,
        "shape: expected a whole number, found -1");
  entry("shape a fraction", R"({"dtype":"F32","shape":[1.0],"data_offsets":[0,4]})", 4,
        "shape: expected a whole number");
  entry("shape true", R"({"dtype":"F32","shape":[true],"data_offsets":[0,4]})", 4,
        "shape: expected a whole number");
  entry("shape overflows", R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]})", 4,
        "more than 2^64");
  entry("shape wraps to the right size",
        R"({"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]})", 4, "more than 2^64");
  entry("shape 2^63", R"({"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4]})", 4,
        "less than 2^63");
  entry("rank 9", R"({"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]})", 4, "at most 8");
  entry("offsets reversed", R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})", 4,
        "expected begin <= end");
  entry("offsets outside", R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", 4,
        "expected begin <= end <= 4, found [0, 8]");
  entry("one offset", R"({"dtype":"F32","shape":[1],"data_offsets":[4]})", 4, "expected [begin, end]");
  entry("hole before", R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})", 8, "leaves a hole");
  entry("bytes after", R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})", 8,
        "expected tensors to end with the file");
  entry("a fourth key", R"({"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1})", 4, "found 4 keys");
  row("overlap",
      fileOf(
          R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
          12),
      "tensor b: data_offsets: expected to begin at 8, found 4 (overlaps");
  row("metadata a number", fileOf(R"({"__metadata__":3})", 0), "__metadata__: expected an object");
  row("metadata value a number", fileOf(R"({"__metadata__":{"k":3}})", 0), "__metadata__: k: expected text");
}

void SafetensorsTest::refusesDamagedHeaders() {
  QFETCH(QByteArray, bytes);
  QFETCH(QString, expected);
  const QString message = QString::fromStdString(test::errorOf([&] { parsed(bytes.toStdString()); }));
  QVERIFY2(message.startsWith("t.safetensors: ") && message.contains(expected), qPrintable(message));
}

void SafetensorsTest::streamedFileMustBeComplete() {
  const QTemporaryDir folder;
  SafetensorsWriter writer(path(folder, "x.safetensors"), {{"a", "F32", {4}, 0, 16, nullptr}});
  writer.write("01234567", 8);
  QVERIFY_EXCEPTION_THROWN(writer.finish(), Error);
  QVERIFY_EXCEPTION_THROWN(
      SafetensorsWriter(path(folder, "y.safetensors"), {{"a", "F32", {4}, 0, 15, nullptr}}), Error);
}

void SafetensorsTest::unfinishedFilesLeaveNothing() {
  const QTemporaryDir folder;
  test::writeBytes(path(folder, "kept.txt"), "old");
  {
    OutputFile file(path(folder, "kept.txt"));
    const std::string much(1U << 20U, 'y');
    file.write(much.data(), much.size());
    QCOMPARE(test::readBytes(path(folder, "kept.txt")), std::string("old"));
  }
  QCOMPARE(QDir(folder.path()).entryList(QDir::Files), QStringList{"kept.txt"});
  QCOMPARE(test::readBytes(path(folder, "kept.txt")), std::string("old"));
  QVERIFY_EXCEPTION_THROWN(OutputFile(path(folder, "no/such/folder.txt")), Error);
}

void SafetensorsTest::npyHeaderIsWhatNumpyExpects() {
  for (const auto& shape : {std::vector<std::int64_t>{}, {7}, {3, 5}, {2, 3, 4}})
    QCOMPARE(npyHeader("<f4", shape).size() % 64, 0U);
  const QByteArray header = QByteArray::fromStdString(npyHeader("<f4", {3, 5}));
  QVERIFY(header.startsWith("\x93NUMPY\x01"));
  QVERIFY(header.contains("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 5), }"));
  QVERIFY(header.endsWith('\n'));
  QVERIFY(QByteArray::fromStdString(npyHeader("<i4", {7})).contains("'shape': (7,), }"));
  // The golden files were written by NumPy itself.
  const std::string golden = test::readBytes(EYRIE_SOURCE_DIR "/tests/golden/griffin-tiny/logits.npy");
  QVERIFY(golden.starts_with(npyHeader("<f4", {80, 160})));
}

void SafetensorsTest::npyRowsArriveWhole() {
  const QTemporaryDir folder;
  NpyWriter writer(path(folder, "l.npy"), "<f4", {2, 3});
  const float row[] = {1, 2, 3};
  writer.write(row, sizeof row);
  QVERIFY_EXCEPTION_THROWN(writer.finish(), Error);
  writer.write(row, sizeof row);
  writer.finish();
  QCOMPARE(test::readBytes(path(folder, "l.npy")).size(), npyHeader("<f4", {2, 3}).size() + 24);
}

void SafetensorsTest::indexNamesFilesOfItsFolderOnly_data() {
  QTest::addColumn<QString>("name");
  for (const char* name :
       {"../model.safetensors", "/etc/passwd", "sub/model.safetensors", "..", ".", "", "a\\b"})
    QTest::newRow(name) << name;
}

void SafetensorsTest::indexNamesFilesOfItsFolderOnly() {
  QFETCH(QString, name);
  const nlohmann::json index = {{"weight_map", {{"model.norm", name.toStdString()}}}};
  const QString message = QString::fromStdString(
      test::errorOf([&] { parseShardIndex(index.dump(), "model.safetensors.index.json"); }));
  QVERIFY2(message.contains("weight_map: model.norm: expected the name of a file in the same folder"),
           qPrintable(message));
}

QTEST_GUILESS_MAIN(SafetensorsTest)
#include "safetensors_test.moc"
