// A text read piece by piece has the tokens of the whole, whatever it looks like.
#include "engine/token_stream.h"

#include <QtTest>
#include <functional>
#include <random>
#include <sstream>

#include "engine/error.h"
#include "tests/engine/model_files.h"

using namespace eyrie::engine;
using namespace eyrie::engine::test;
using Ids = std::vector<std::int32_t>;

namespace {

constexpr std::int32_t kBos = 2;

std::shared_ptr<const Tokenizer> tokenizerNamed(const std::string& name) {
  const std::string source = EYRIE_SOURCE_DIR;
  if (name == "built-in") return Tokenizer::load(source + "/assets/models/griffin/tokenizer.model");
  return Tokenizer::load(source + "/tests/engine/tokenizer/data/" + name + ".model");
}

std::string repeated(const std::string& text, std::size_t bytes) {
  std::string all;
  while (all.size() < bytes) all += text;
  return all;
}

// Words, numbers, quotes and line ends in irregular order.
std::string prose(std::size_t bytes) {
  static const std::vector<std::string> kWords = {
      "The",  " falcon", " remembers", " seven", "ty",   " eggs",       ".",  "\n",
      "\n\n", "  ",      "\t",         "\"",     "it",   "'s",          " a", "1984",
      "3.14", " <b>",    "</b>",       "king",   "\r\n", "\xE2\x80\x94"};
  std::mt19937 random(7);
  std::string all;
  while (all.size() < bytes) all += kWords[random() % kWords.size()];
  return all;
}

std::string noise(std::size_t bytes, unsigned alphabet) {
  std::mt19937 random(alphabet);
  std::string all;
  for (std::size_t i = 0; i < bytes; ++i) all += static_cast<char>(random() % alphabet);
  return all;
}

const std::vector<std::pair<const char*, std::string>>& oddTexts() {
  static const std::vector<std::pair<const char*, std::string>> kTexts = {
      {"empty", ""},
      {"one letter", "x"},
      {"one broken character", "\xE2\x96"},
      {"prose", prose(300'000)},
      {"spaces only", std::string(200'000, ' ')},
      {"line ends only", std::string(200'000, '\n')},
      {"one letter without end", std::string(200'000, 'a')},
      {"one word without end", repeated("falcon", 200'000)},
      {"zero bytes", std::string(70'000, '\0')},
      {"random bytes", noise(200'000, 256)},
      {"random letters", noise(200'000, 128)},
      {"other scripts",
       repeated("\u4E16\u754C\u3002\u043C\u0438\u0440, Gr\u00FC\u00DFe\U0001F985 ", 200'000)},
      {"the space symbol itself", repeated("\u2581a \u2581\u2581b", 200'000)},
      {"markup", repeated("<start_of_turn>model\n<table><bos></table>", 200'000)},
      {"ends within a character", prose(66'000) + "\xF0\x9F\xA6"},
      {"block size", std::string(65'535, 'e') + " the end"},
  };
  return kTexts;
}

Ids streamed(const std::shared_ptr<const Tokenizer>& tokenizer, const std::string& text) {
  TextStream stream(std::make_unique<std::istringstream>(text), "text", tokenizer, kBos);
  Ids ids;
  while (const auto id = stream.next()) ids.push_back(*id);
  if (stream.bytesRead() != text.size()) return {};
  return ids;
}

Ids whole(const Tokenizer& tokenizer, const std::string& text) {
  Ids ids = tokenizer.encode(text);
  ids.insert(ids.begin(), kBos);
  return ids;
}

Ids joined(Ids left, const Ids& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

}  // namespace

class TokenStreamTest : public QObject {
  Q_OBJECT

 private slots:
  void piecesEqualTheWholeText_data();
  void piecesEqualTheWholeText();
  void everyPlaceToCutIsSafe_data();
  void everyPlaceToCutIsSafe();
  void otherPlacesAreNot();
  void aLongTextIsNotHeldWhole();
  void whatCannotBeCutIsReadWholeOrRefused();
  void windowShowsWhatFollows();
};

void TokenStreamTest::piecesEqualTheWholeText_data() {
  QTest::addColumn<QString>("tokenizer");
  QTest::addColumn<int>("text");
  for (const char* tokenizer : {"built-in", "tiny-bpe", "tiny-unigram"}) {
    for (std::size_t i = 0; i < oddTexts().size(); ++i)
      QTest::addRow("%s: %s", tokenizer, oddTexts()[i].first) << QString(tokenizer) << int(i);
  }
}

void TokenStreamTest::piecesEqualTheWholeText() {
  QFETCH(QString, tokenizer);
  QFETCH(int, text);
  const auto used = tokenizerNamed(tokenizer.toStdString());
  const std::string& words = oddTexts()[std::size_t(text)].second;
  const Ids found = streamed(used, words);
  const Ids expected = whole(*used, words);
  const auto differs = std::mismatch(found.begin(), found.end(), expected.begin(), expected.end());
  QVERIFY2(found == expected, qPrintable(QString("%1 tokens, expected %2; the first to differ is %3")
                                             .arg(found.size())
                                             .arg(expected.size())
                                             .arg(differs.first - found.begin())));
}

void TokenStreamTest::everyPlaceToCutIsSafe_data() {
  QTest::addColumn<QString>("tokenizer");
  for (const char* tokenizer : {"built-in", "tiny-bpe"}) QTest::newRow(tokenizer) << QString(tokenizer);
}

void TokenStreamTest::everyPlaceToCutIsSafe() {
  QFETCH(QString, tokenizer);
  const auto used = tokenizerNamed(tokenizer.toStdString());
  const std::string text =
      prose(1200) + noise(300, 256) + noise(300, 128) + "\u4E16\u754C \u2581\u2581 <table>  <bos>";
  const Ids expected = used->encode(text);
  std::size_t places = 0;
  for (std::size_t read = 1; read <= text.size(); ++read) {
    const std::size_t cut = used->lastCut(std::string_view(text).substr(0, read), 0);
    if (cut == 0) continue;
    QVERIFY(cut < read);
    ++places;
    QVERIFY2(joined(used->encode(text.substr(0, cut)), used->encode(text.substr(cut))) == expected,
             qPrintable(QString("cut at %1 with %2 bytes read").arg(cut).arg(read)));
  }
  QVERIFY(places > 100);
}

// The test above can fail: a word falls apart into other pieces when it is cut.
void TokenStreamTest::otherPlacesAreNot() {
  const auto used = tokenizerNamed("built-in");
  const std::string text = "The king remembered his daughter";
  const Ids expected = used->encode(text);
  int broken = 0;
  for (std::size_t cut = 1; cut < text.size(); ++cut)
    broken += joined(used->encode(text.substr(0, cut)), used->encode(text.substr(cut))) != expected ? 1 : 0;
  QVERIFY(broken > 5);
}

void TokenStreamTest::aLongTextIsNotHeldWhole() {
  for (const char* name : {"built-in", "tiny-bpe"}) {
    const std::size_t limit = 1U << 17U;
    TextStream stream(std::make_unique<std::istringstream>(prose(2'000'000)), "text", tokenizerNamed(name),
                      kBos, limit);
    std::size_t tokens = 0;
    while (stream.next()) ++tokens;
    QVERIFY(tokens > 100'000);
  }
}

void TokenStreamTest::whatCannotBeCutIsReadWholeOrRefused() {
  const std::string word(200'000, 'a');
  const auto read = [&](const char* tokenizer, std::size_t limit) {
    return errorOf([&] {
      TextStream stream(std::make_unique<std::istringstream>(word), "a.txt", tokenizerNamed(tokenizer), kBos,
                        limit);
      while (stream.next()) {
      }
    });
  };
  QCOMPARE(read("tiny-unigram", kMaxUncutBytes), std::string());
  const std::string refused = read("tiny-unigram", 100'000);
  QVERIFY2(refused.starts_with("a.txt: expected within 100000 bytes a place"), refused.c_str());
}

void TokenStreamTest::windowShowsWhatFollows() {
  ListStream stream({1, 2, 3, 4, 5, 6});
  TokenWindow window(stream, 3);
  QVERIFY(std::ranges::equal(window.chunk(), Ids{1, 2, 3}));
  QCOMPARE(window.following(), 4);
  window.drop();
  QVERIFY(std::ranges::equal(window.chunk(), Ids{4, 5, 6}));
  QCOMPARE(window.following(), -1);
  window.drop();
  QVERIFY(window.chunk().empty());
  ListStream none({});
  QVERIFY(TokenWindow(none, 3).chunk().empty());
}

QTEST_GUILESS_MAIN(TokenStreamTest)
#include "token_stream_test.moc"
