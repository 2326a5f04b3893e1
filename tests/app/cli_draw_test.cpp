// draw: every view of a trace as a picture that shows something; damaged traces are refused in one line.
#include <QFile>
#include <QImage>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QSet>
#include <QTest>
#include <QtEndian>

#include "tests/app/cli_runner.h"

using namespace eyrie::app::test;

class CliDrawTest : public QObject {
  Q_OBJECT

 private slots:
  void initTestCase();
  void everyViewShowsSomething_data();
  void everyViewShowsSomething();
  void halfPrecisionDrawsTheSameGates();
  void whatIsNotThereIsSaid_data();
  void whatIsNotThereIsSaid();
  void tokensThatAreNoneAreRefused();
  void damagedTraceIsRefused_data();
  void damagedTraceIsRefused();
  void lyingMetadataIsRefused_data();
  void lyingMetadataIsRefused();

 private:
  QString trace(const QString& name, const QString& model, const QStringList& more) const;
  Cli cli_;
};

QString CliDrawTest::trace(const QString& name, const QString& model, const QStringList& more) const {
  const QString folder = goldenFolder(model);
  const CliResult result =
      cli_.run(QStringList{"trace", "--model", folder, "--tokens-file", folder + "/tokens.json",
                           "--max-tokens", "0", "--out", cli_.file(name)} +
               more);
  return result.code == 0 ? cli_.file(name) : QString();
}

void CliDrawTest::initTestCase() {
  QVERIFY(!trace("full.npz", "griffin-tiny", {"--precision", "f32"}).isEmpty());
  QVERIFY(!trace("half.safetensors", "griffin-tiny", {}).isEmpty());
  QVERIFY(!trace("summary.npz", "griffin-tiny", {"--level", "summary"}).isEmpty());
  QVERIFY(!trace("hawk.npz", "hawk-tiny", {}).isEmpty());
  QVERIFY(!trace("table.csv", "griffin-tiny", {}).isEmpty());
}

void CliDrawTest::everyViewShowsSomething_data() {
  QTest::addColumn<QString>("view");
  QTest::addColumn<QString>("ending");
  for (const char* view : {"gates", "attention", "norms", "time", "horizon", "share"}) {
    for (const char* ending : {"png", "svg"}) {
      QTest::addRow("%s.%s", view, ending) << QString(view) << QString(ending);
    }
  }
}

void CliDrawTest::everyViewShowsSomething() {
  QFETCH(QString, view);
  QFETCH(QString, ending);
  const QString name = view + "." + ending;
  const CliResult result =
      cli_.run({"draw", cli_.file("full.npz"), "--view", view, "--out", cli_.file(name)});
  COMPARE_CODE(result, 0);
  QCOMPARE(result.lines().value(0)["file"].toString(), cli_.file(name));
  const QByteArray bytes = cli_.read(name);
  if (ending == "svg") {
    QVERIFY2(bytes.contains("<svg"), bytes.left(200));
    QVERIFY2(bytes.contains("</svg>"), bytes.right(200));
    return;
  }
  const QImage image = QImage::fromData(bytes);
  QVERIFY(image.width() >= 1000);
  QSet<QRgb> colours;
  for (int y = 0; y < image.height(); y += 3) {
    for (int x = 0; x < image.width(); x += 3) colours.insert(image.pixel(x, y));
  }
  QVERIFY2(colours.size() > 20, qPrintable(QString("%1 colours").arg(colours.size())));
}

void CliDrawTest::halfPrecisionDrawsTheSameGates() {
  for (const char* name : {"full.npz", "half.safetensors"}) {
    COMPARE_CODE(cli_.run({"draw", cli_.file(name), "--view", "gates", "--token", "40", "--layer", "3",
                           "--out", cli_.file(QString(name) + ".png")}),
                 0);
  }
  const QImage full = QImage::fromData(cli_.read("full.npz.png"));
  const QImage half = QImage::fromData(cli_.read("half.safetensors.png"));
  QCOMPARE(full.size(), half.size());
  qint64 different = 0;
  for (int y = 0; y < full.height(); ++y) {
    for (int x = 0; x < full.width(); ++x) {
      const QColor a = full.pixelColor(x, y);
      const QColor b = half.pixelColor(x, y);
      const int distance = qAbs(a.red() - b.red()) + qAbs(a.green() - b.green()) + qAbs(a.blue() - b.blue());
      different += distance > 24 ? 1 : 0;
    }
  }
  // Rounding may move a channel by a place in the order, or a digit of a label.
  QVERIFY2(double(different) < 0.02 * full.width() * full.height(), qPrintable(QString::number(different)));
}

void CliDrawTest::whatIsNotThereIsSaid_data() {
  QTest::addColumn<QStringList>("arguments");
  QTest::addColumn<QByteArray>("mentions");
  const auto row = [&](const char* name, const QStringList& arguments, const char* mentions) {
    QTest::newRow(name) << arguments << QByteArray(mentions);
  };
  row("no such trace", {"none.npz", "--view", "gates"}, "none.npz");
  row("a table holds no channels", {cli_.file("table.csv"), "--view", "gates"}, ".safetensors");
  row("summary has no gates", {cli_.file("summary.npz"), "--view", "gates"}, "--level full");
  row("hawk has no attention", {cli_.file("hawk.npz"), "--view", "attention"}, "no attention layer");
  row("token beyond the trace", {cli_.file("full.npz"), "--view", "gates", "--token", "80"}, "0 to 79");
  row("trace is a folder", {cli_.file("."), "--view", "gates"}, "a folder");
  row("trace is a device", {"/dev/zero", "--view", "gates"}, "device");
  row("layer of another kind", {cli_.file("full.npz"), "--view", "gates", "--layer", "2"}, "--layer");
}

void CliDrawTest::whatIsNotThereIsSaid() {
  QFETCH(QStringList, arguments);
  QFETCH(QByteArray, mentions);
  const CliResult result = cli_.run(QStringList{"draw", "--out", cli_.file("x.png")} + arguments);
  COMPARE_CODE(result, 1);
  QVERIFY2(result.err.contains(mentions), result.text());
  QCOMPARE(result.err.count('\n'), 1);
}

// 2147483647 is none that a float holds, nor any model's.
void CliDrawTest::tokensThatAreNoneAreRefused() {
  QByteArray bytes = cli_.read("half.safetensors");
  const auto headerBytes = qFromLittleEndian<quint64>(bytes.constData());
  const QJsonObject header = QJsonDocument::fromJson(bytes.mid(8, qsizetype(headerBytes))).object();
  const qsizetype at = 8 + qsizetype(headerBytes) + header["tokens"].toObject()["data_offsets"][0].toInt();
  bytes.replace(at, 4, QByteArray("\xff\xff\xff\x7f", 4));
  const QString file = cli_.write("tokens.safetensors", bytes);
  const CliResult result = cli_.run({"draw", file, "--view", "gates", "--out", cli_.file("x.png")});
  COMPARE_CODE(result, 1);
  QVERIFY2(result.err.contains("tokens: expected tokens below 16777216"), result.text());
}

void CliDrawTest::damagedTraceIsRefused_data() {
  QTest::addColumn<QString>("name");
  QTest::addColumn<int>("cut");    // bytes kept of a hundred; 100: all
  QTest::addColumn<int>("place");  // of the byte turned over, in a hundred; -1: none
  for (const QString& name : {QString("full.npz"), QString("half.safetensors")})
    for (const int cut : {0, 1, 50, 99})
      QTest::newRow(qPrintable(QString("%1 cut to %2 %").arg(name).arg(cut))) << name << cut << -1;
  QTest::newRow("half.safetensors with a wrong byte at 0 %") << QString("half.safetensors") << 100 << 0;
  QTest::newRow("full.npz with a wrong byte at 60 %") << QString("full.npz") << 100 << 60;
}

void CliDrawTest::damagedTraceIsRefused() {
  QFETCH(QString, name);
  QFETCH(int, cut);
  QFETCH(int, place);
  QByteArray bytes = cli_.read(name);
  bytes.truncate(bytes.size() * cut / 100);
  if (place >= 0) bytes[bytes.size() * place / 100] = char(~bytes[bytes.size() * place / 100]);
  const QString file = cli_.write("damaged-" + name, bytes);
  const CliResult result = cli_.run({"draw", file, "--view", "gates", "--out", cli_.file("x.png")});
  COMPARE_CODE(result, 1);
  QVERIFY2(result.err.contains("damaged-"), result.text());
  QCOMPARE(result.err.count('\n'), 1);
}

void CliDrawTest::lyingMetadataIsRefused_data() {
  QTest::addColumn<QByteArray>("from");
  QTest::addColumn<QByteArray>("to");  // as long: the file's offsets stay true
  const auto row = [](const char* name, const char* from, const char* to) {
    QTest::newRow(name) << QByteArray(from) << QByteArray(to);
  };
  row("format is another", R"("eyrie-trace")", R"("eyrie-trick")");
  row("layers are no list", R"("layers":"[)", R"("layerz":"[)");
  row("a layer of no kind", "local_attention", "focal_attention");
  row("width of the recurrence is no number", R"("recurrent_width":"80")", R"("recurrent_width":"8x")");
  row("width of the recurrence is another", R"("recurrent_width":"80")", R"("recurrent_width":"90")");
  row("heads are missing", R"("heads":"4")", R"("headz":"4")");
}

void CliDrawTest::lyingMetadataIsRefused() {
  QFETCH(QByteArray, from);
  QFETCH(QByteArray, to);
  QByteArray bytes = cli_.read("half.safetensors");
  QVERIFY2(bytes.contains(from), bytes.mid(8, 3000));
  bytes.replace(from, to);
  const QString file = cli_.write("lying.safetensors", bytes);
  const CliResult result = cli_.run({"draw", file, "--view", "gates", "--out", cli_.file("x.png")});
  COMPARE_CODE(result, 1);
  QVERIFY2(result.err.contains("lying.safetensors"), result.text());
  QVERIFY2(!result.err.contains("json.exception") && !result.err.contains("internal"), result.text());
  QCOMPARE(result.err.count('\n'), 1);
  QVERIFY(!QFile::exists(cli_.file("x.png")));
}

QTEST_GUILESS_MAIN(CliDrawTest)
#include "cli_draw_test.moc"
