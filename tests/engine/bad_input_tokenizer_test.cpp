// Damaged and hostile tokenizer.model files: each a clear Error, and whatever is accepted encodes safely.
#include <QtTest/QtTest>
#include <random>

#include "engine/error.h"
#include "engine/tokenizer/spm_proto.h"
#include "engine/tokenizer/tokenizer.h"
#include "tests/engine/model_files.h"

using namespace eyrie::engine;

namespace {

const std::string kData = EYRIE_SOURCE_DIR "/tests/engine/tokenizer/data/";
constexpr const char* kName = "tokenizer.model";

SpmModel model(const char* file = "tiny-bpe.model") {
  return parseSpmModel(test::readBytes(kData + file), kName);
}

// Loads bytes; where they are accepted, encodes a text with every byte value in it.
std::string attempt(const std::string& bytes) {
  return test::errorOf([&] {
    const auto tokenizer = Tokenizer::parse(bytes, kName);
    std::string text = "The \uFB01rst falcon\u2026 ";
    for (int byte = 0; byte < 256; ++byte) text += static_cast<char>(byte);
    const auto ids = tokenizer->encode(text);
    for (const std::int32_t id : ids)
      if (id < 0 || id >= tokenizer->size()) throw std::logic_error("token outside the vocabulary");
    tokenizer->decode(ids);
  });
}

}  // namespace

class BadInputTokenizerTest : public QObject {
  Q_OBJECT
 private slots:
  void damagedModelsAreRefusedByName_data();
  void damagedModelsAreRefusedByName();
  void anyCutIsSafe();
  void anyFlippedByteIsSafe();
  void damagedRulesAreSafe();
  void hugeFilesAreRefused();
};

void BadInputTokenizerTest::damagedModelsAreRefusedByName_data() {
  QTest::addColumn<QByteArray>("bytes");
  QTest::addColumn<QString>("expected");
  const auto row = [](const char* name, const std::string& bytes, const char* expected) {
    QTest::newRow(name) << QByteArray(bytes.data(), static_cast<qsizetype>(bytes.size())) << expected;
  };
  const auto edited = [&](const char* name, const std::function<void(SpmModel&)>& edit,
                          const char* expected) {
    SpmModel bent = model();
    edit(bent);
    row(name, serialiseSpmModel(bent), expected);
  };
  row("not a model", "hello, this is text", "tokenizer: expected a SentencePiece model");
  row("JSON", "{\"model\": {}}", "expected a SentencePiece model");
  row("a length of 2^63", std::string("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10),
      "bytes announced where");
  row("an endless number", std::string(11, '\xff'), "a number that does not end");
  row("a group", std::string("\x0b\x0c", 2), "wire type 3");
  row("pieces as a number", std::string("\x08\x01", 2), "field 1 with the wrong wire type");
  edited(
      "no pieces", [](SpmModel& m) { m.pieces.clear(); }, "pieces of type unknown");
  edited(
      "no unknown piece", [](SpmModel& m) { m.pieces[3].type = PieceType::control; },
      "0 pieces of type unknown");
  edited(
      "two unknown pieces", [](SpmModel& m) { m.pieces[2].type = PieceType::unknown; },
      "2 pieces of type unknown");
  edited(
      "the same piece twice", [](SpmModel& m) { m.pieces[7].text = m.pieces[6].text; }, "twice");
  edited(
      "a control and a text piece alike", [](SpmModel& m) { m.pieces.back().text = std::string("<bos>"); },
      "\"<bos>\" twice");
  edited(
      "an empty piece", [](SpmModel& m) { m.pieces[300].text.clear(); }, "piece 300: expected");
  edited(
      "a zero byte", [](SpmModel& m) { m.pieces[300].text = std::string("a\0b", 3); }, "a zero byte");
  edited(
      "invalid UTF-8", [](SpmModel& m) { m.pieces[300].text = std::string("\xC3"); },
      "text that is not UTF-8");
  edited(
      "a very long piece", [](SpmModel& m) { m.pieces[300].text = std::string(5000, 'a'); },
      "a piece of 5000 bytes");
  edited(
      "an infinite score", [](SpmModel& m) { m.pieces[300].score = INFINITY; },
      "piece 300: expected a SentencePiece model, found the score inf");
  edited(
      "a NaN score", [](SpmModel& m) { m.pieces[300].score = NAN; }, "the score nan");
  edited(
      "an unknown type", [](SpmModel& m) { m.pieces[300].type = static_cast<PieceType>(9); },
      "the piece type 9");
  edited(
      "type 0", [](SpmModel& m) { m.pieces[300].type = static_cast<PieceType>(0); }, "the piece type 0");
  edited(
      "model type 3 (words)", [](SpmModel& m) { m.modelType = 3; }, "model_type 3");
  edited(
      "model type 99", [](SpmModel& m) { m.modelType = 99; }, "model_type 99");
  edited(
      "byte pieces without fallback", [](SpmModel& m) { m.byteFallback = false; },
      "the byte piece \"<0x00>\"");
  edited(
      "a missing byte", [](SpmModel& m) { m.pieces[100].type = PieceType::normal; },
      "without all 256 byte pieces");
  edited(
      "a byte piece that is none", [](SpmModel& m) { m.pieces[300].type = PieceType::byte; },
      "the byte piece");
  edited(
      "trap 46: a control piece of one letter",
      [](SpmModel& m) {
        m.pieces.push_back({"%", 0, PieceType::control});
      },
      "the control token \"%\" of one character");
  edited(
      "65 nested user-defined pieces",
      [](SpmModel& m) {
        for (std::size_t i = 1; i <= 66; ++i)
          m.pieces.push_back({std::string(i, '#'), 0, PieceType::userDefined});
      },
      "too many pieces that begin with each other");
  edited(
      "only control pieces",
      [](SpmModel& m) {
        m.byteFallback = false;
        m.pieces.resize(4);
      },
      "none that stands for text");
  for (const auto& [name, blob] :
       {std::pair<const char*, std::string>{"rules too short", "abc"},
        {"rules with a table larger than themselves", std::string("\xff\xff\xff\x7f", 4) + "xxxx"},
        {"rules with a table of 3 bytes", std::string("\x03\0\0\0", 4) + "xxxxxxxx"},
        {"rules that point outside", std::string("\x04\0\0\0\xff\xff\xff\x7f", 8) + std::string(1, '\0')},
        {"rules without end", std::string("\x04\0\0\0\0\0\0\0abc", 11)}})
    edited(
        name, [blob = blob](SpmModel& m) { m.charsMap = blob; },
        "normalizer_spec: expected a SentencePiece model, found a damaged precompiled_charsmap");
}

void BadInputTokenizerTest::damagedModelsAreRefusedByName() {
  QFETCH(QByteArray, bytes);
  QFETCH(QString, expected);
  const QString message = QString::fromStdString(attempt(bytes.toStdString()));
  QVERIFY2(message.startsWith("tokenizer.model: ") && message.contains(expected), qPrintable(message));
}

void BadInputTokenizerTest::anyCutIsSafe() {
  for (const char* file : {"tiny-bpe.model", "tiny-unigram.model"}) {
    const std::string whole = test::readBytes(kData + file);
    for (std::size_t length = 0; length < whole.size(); length += length < 64 ? 1 : 17) {
      const std::string message = attempt(whole.substr(0, length));
      QVERIFY2(message.empty() || message.starts_with("tokenizer.model: "), message.c_str());
    }
  }
}

void BadInputTokenizerTest::anyFlippedByteIsSafe() {
  std::mt19937 random(46);
  for (const char* file : {"tiny-bpe.model", "tiny-unigram.model"}) {
    const std::string whole = test::readBytes(kData + file);
    for (int round = 0; round < 1500; ++round) {
      std::string bent = whole;
      for (unsigned flips = random() % 3 + 1; flips > 0; --flips)
        bent[random() % bent.size()] = static_cast<char>(random());
      const std::string message = attempt(bent);
      QVERIFY2(message.empty() || message.starts_with("tokenizer.model: "), message.c_str());
    }
  }
}

// Flips inside the compiled rules alone: the double array is walked by SentencePiece without any check.
void BadInputTokenizerTest::damagedRulesAreSafe() {
  const SpmModel whole = model("tiny-unigram.model");
  QVERIFY(whole.charsMap.size() > 100);
  std::mt19937 random(47);
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    SpmModel bent = whole;
    bent.charsMap[random() % bent.charsMap.size()] = static_cast<char>(random());
    const std::string message = attempt(serialiseSpmModel(bent));
    QVERIFY2(message.empty() || message.starts_with("tokenizer.model: "), message.c_str());
    refused += message.empty() ? 0 : 1;
  }
  QVERIFY(refused > 0);
}

void BadInputTokenizerTest::hugeFilesAreRefused() {
  const QTemporaryDir folder;
  const std::filesystem::path file = folder.filePath("tokenizer.model").toStdString();
  test::writeBytes(file, "x");
  std::filesystem::resize_file(file, std::uintmax_t{1} << 40U);  // sparse
  const QString message = QString::fromStdString(test::errorOf([&] { Tokenizer::load(file); }));
  QVERIFY2(message.contains("expected at most 67108864 bytes, found 1099511627776"), qPrintable(message));
}

QTEST_GUILESS_MAIN(BadInputTokenizerTest)
#include "bad_input_tokenizer_test.moc"
