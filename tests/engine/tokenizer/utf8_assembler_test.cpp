#include "engine/tokenizer/utf8_assembler.h"

#include <QtTest/QtTest>

using eyrie::engine::Utf8Assembler;

class Utf8AssemblerTest : public QObject {
  Q_OBJECT
 private slots:
  void charactersComeOutWhole();
  void anySplitGivesTheSameText();
  void invalidBytesBecomeReplacementCharacters_data();
  void invalidBytesBecomeReplacementCharacters();
  void finishResets();
};

void Utf8AssemblerTest::charactersComeOutWhole() {
  Utf8Assembler utf8;
  QCOMPARE(utf8.push("\xF0"), std::string());
  QCOMPARE(utf8.push("\x9F"), std::string());
  QCOMPARE(utf8.push("\xA6"), std::string());
  QCOMPARE(utf8.push("\x85!"), std::string("\U0001F985!"));
  QCOMPARE(utf8.finish(), std::string());
}

void Utf8AssemblerTest::anySplitGivesTheSameText() {
  const std::string text = "a\u00E4\u4E16\U0001F985z";
  for (std::size_t first = 0; first <= text.size(); ++first)
    for (std::size_t second = first; second <= text.size(); ++second) {
      Utf8Assembler utf8;
      std::string out = utf8.push(text.substr(0, first));
      out += utf8.push(text.substr(first, second - first));
      out += utf8.push(text.substr(second));
      QCOMPARE(out + utf8.finish(), text);
    }
}

void Utf8AssemblerTest::invalidBytesBecomeReplacementCharacters_data() {
  QTest::addColumn<QByteArray>("bytes");
  QTest::addColumn<QString>("text");
  const QChar bad(0xFFFD);
  QTest::newRow("lone continuation") << QByteArray("a\x80z") << QString("a%1z").arg(bad);
  QTest::newRow("overlong") << QByteArray("\xC0\xAF") << QString("%1%1").arg(bad);
  QTest::newRow("surrogate") << QByteArray("\xED\xA0\x80") << QString("%1%1%1").arg(bad);
  QTest::newRow("above U+10FFFF") << QByteArray("\xF4\x90\x80\x80") << QString("%1%1%1%1").arg(bad);
  QTest::newRow("cut short, then ASCII") << QByteArray("\xE4\xB8z") << QString("%1z").arg(bad);
  QTest::newRow("cut short at the end") << QByteArray("ok\xF0\x9F\xA6") << QString("ok%1").arg(bad);
  QTest::newRow("FF") << QByteArray("\xFF") << QString(bad);
}

void Utf8AssemblerTest::invalidBytesBecomeReplacementCharacters() {
  QFETCH(QByteArray, bytes);
  QFETCH(QString, text);
  Utf8Assembler utf8;
  std::string out;
  for (const char byte : bytes) out += utf8.push(std::string_view(&byte, 1));
  QCOMPARE(QString::fromStdString(out + utf8.finish()), text);
}

void Utf8AssemblerTest::finishResets() {
  Utf8Assembler utf8;
  utf8.push("\xE4");
  QCOMPARE(utf8.finish(), std::string("\uFFFD"));
  QCOMPARE(utf8.finish(), std::string());
  QCOMPARE(utf8.push("x"), std::string("x"));
}

QTEST_GUILESS_MAIN(Utf8AssemblerTest)
#include "utf8_assembler_test.moc"
