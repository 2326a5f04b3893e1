#include "sessions/export/trace_writer.h"

#include <fmt/format.h>

#include <QTemporaryDir>
#include <QtTest>
#include <clocale>
#include <fstream>

#include "engine/error.h"
#include "sessions/export/array_container.h"
#include "sessions/export/crc32.h"
#include "tests/sanitized.h"
#include "tests/sessions/archive.h"
#include "tests/sessions/fake_trace.h"

namespace eyrie::sessions {

namespace fs = std::filesystem;
using namespace testing;

class TraceWriterTest : public QObject {
  Q_OBJECT

 private:
  fs::path folder() const { return folder_->path().toStdString(); }
  fs::path at(const std::string& name) const { return folder() / name; }
  int filesInFolder() const { return int(std::distance(fs::directory_iterator(folder()), {})); }
  static bool close(double a, double b, double tolerance) {
    return (std::isnan(a) && std::isnan(b)) || std::abs(a - b) <= tolerance;
  }
  static void compareRow(const Array& array, const engine::TraceColumn& column, std::int64_t t,
                         std::int64_t tokens) {
    const bool global = column.layerIdx == 2 && column.quantity == engine::Quantity::attention;
    const std::int64_t span = column.shape.empty() ? 1 : column.shape.back();
    const std::int64_t kept = global ? std::min(span, tokens) : span;
    const std::int64_t lines = column.size / span;
    for (std::int64_t line = 0; line < lines; ++line) {
      for (std::int64_t k = 0; k < kept; ++k) {
        const double expected = fakeValue(t, column.offset + line * span + (span - kept) + k);
        const double found = array.values.at(std::size_t((t * lines + line) * kept + k));
        const double tolerance = array.dtype == "<f2" ? 1e-3 * std::max(1.0, std::abs(expected)) : 0;
        QVERIFY2(close(found, expected, tolerance),
                 fmt::format("{} token {} line {} column {}: expected {}, found {}", column.name, t, line, k,
                             expected, found)
                     .c_str());
      }
    }
  }
  static void compareOutput(const Archive& archive, std::int64_t tokens) {
    for (std::int64_t t = 0; t < tokens; ++t) {
      const auto record = makeRecord(t);
      QCOMPARE(archive.arrays.at("tokens").values[std::size_t(t)], double(record.token));
      QVERIFY(close(archive.arrays.at("logprob").values[std::size_t(t)], record.logprob, 0));
      const auto next = makeRecord(t + 1);
      const bool last = t + 1 == tokens;
      QVERIFY(close(archive.arrays.at("output.entropy").values[std::size_t(t)],
                    last ? std::nan("") : double(next.entropy), 0));
      for (int k = 0; k < engine::kTopTokens; ++k) {
        const auto i = std::size_t(t * engine::kTopTokens + k);
        const bool present = !last && next.topTokens[k] >= 0;
        QCOMPARE(archive.arrays.at("output.topk_tokens").values[i],
                 present ? double(next.topTokens[k]) : -1.0);
        QVERIFY(close(archive.arrays.at("output.topk_logprobs").values[i],
                      present ? double(next.topLogprobs[k]) : std::nan(""), 0));
      }
    }
  }

  std::unique_ptr<QTemporaryDir> folder_;

 private slots:
  void init() { folder_ = std::make_unique<QTemporaryDir>(); }

  void arraysComeBack_data() {
    QTest::addColumn<QString>("name");
    QTest::addColumn<bool>("half");
    QTest::addColumn<qint64>("announced");
    QTest::addColumn<qint64>("delivered");
    QTest::addColumn<qint64>("span");
    for (const char* name : {"t.npz", "t.safetensors"}) {
      for (const bool half : {false, true}) {
        const auto row = [&](const char* what, qint64 announced, qint64 delivered, qint64 span) {
          QTest::addRow("%s %s %s", name, half ? "f16" : "f32", what)
              << QString(name) << half << announced << delivered << span;
        };
        row("whole", 40, 40, 512);
        row("span below T", 40, 40, 9);
        row("cancelled", 4000, 33, 512);
        row("cancelled after the span", 1000, 700, 512);
        row("cancelled late", 3000, 2999, 16);
        row("one token", 1, 1, 512);
        row("no token", 10, 0, 512);
      }
    }
  }
  void arraysComeBack() {
    QFETCH(QString, name);
    QFETCH(bool, half);
    QFETCH(qint64, announced);
    QFETCH(qint64, delivered);
    QFETCH(qint64, span);
    const auto model = fakeModel();
    const auto layout = layoutOf(model, engine::TraceLevel::full, span);
    const fs::path file = at(name.toStdString());
    const auto sink =
        makeTraceWriter(file, optionsFor(file, half ? TracePrecision::f16 : TracePrecision::f32));
    deliver(*sink, model, layout, announced, delivered);
    QVERIFY(!fs::exists(file));
    sink->end();
    QCOMPARE(filesInFolder(), 1);

    const Archive archive = name == "t.npz" ? readNpz(file) : readSafetensors(file);
    compareOutput(archive, delivered);
    std::size_t expected = 5 + (name == "t.npz" || delivered == 0 ? 0 : 1);  // token_strings
    for (const auto& column : layout.columns()) {
      const bool left = half && column.quantity == engine::Quantity::decay;
      QCOMPARE(archive.arrays.contains(column.name), !left);
      if (left) continue;
      ++expected;
      const Array& array = archive.arrays.at(column.name);
      const bool full = column.quantity > engine::Quantity::attentionFirst;
      QCOMPARE(array.dtype, std::string(half && full ? "<f2" : "<f4"));
      std::vector<std::int64_t> shape = {delivered};
      shape.insert(shape.end(), column.shape.begin(), column.shape.end());
      if (column.layerIdx == 2 && full) shape.back() = std::min<std::int64_t>(span, delivered);
      QCOMPARE(array.shape, shape);
      for (std::int64_t t = 0; t < delivered; ++t) compareRow(array, column, t, delivered);
    }
    QCOMPARE(archive.arrays.size(), expected);
    for (const auto& [key, array] : archive.arrays) {
      const std::uint64_t step = name == "t.npz"        ? 64
                                 : array.dtype == "|u1" ? 1
                                 : array.dtype == "<f2" ? 2
                                                        : 4;
      QVERIFY2(array.dataOffset % step == 0, key.c_str());
    }
  }

  void metadataSaysWhereItCameFrom() {
    const auto model = fakeModel();
    for (const char* name : {"m.npz", "m.safetensors", "m.csv", "m.jsonl"}) {
      const fs::path file = at(name);
      TraceFileOptions options = optionsFor(file, TracePrecision::f32);
      options.interventions = engine::parseInterventions("layer 0 state*=.5; mlp = 0 @3-9");
      const auto sink = makeTraceWriter(file, options);
      deliver(*sink, model, layoutOf(model, engine::TraceLevel::summary, 512), 12, 12);
      sink->end();
      nlohmann::json meta;
      if (file.extension() == ".npz") meta = readNpz(file).meta;
      if (file.extension() == ".safetensors") {
        const Archive archive = readSafetensors(file);
        for (const auto& [key, value] : archive.meta.items()) {
          const auto parsed = nlohmann::json::parse(value.get<std::string>(), nullptr, false);
          meta[key] = parsed.is_discarded() ? value : parsed;
        }
      }
      if (file.extension() == ".csv" || file.extension() == ".jsonl") {
        meta = nlohmann::json::parse(readFile(file.string() + ".meta.json"));
      }
      QCOMPARE(meta["model"], "tiny");
      QCOMPARE(meta["fingerprint"], "00ff");
      QCOMPARE(meta["dtype"], "f32");
      QCOMPARE(meta["window"], 3);
      QCOMPARE(meta["window_counting"], "dm");
      QCOMPARE(meta["logits_soft_cap"], 30.0);
      QCOMPARE(meta["tokens"], 12);
      QCOMPARE(meta["seed"], 17);
      QCOMPARE(meta["sampler"]["temperature"], 0.8);
      QCOMPARE(meta["interventions"], (nlohmann::json{"layer 0 state *= 0.5", "mlp off @3-9"}));
      QVERIFY(!meta["program_version"].get<std::string>().empty());
      QCOMPARE(meta["level"], "summary");
      QVERIFY(meta.contains("axis_order") && meta.contains("precision"));
      if (file.extension() == ".npz") {
        QCOMPARE(meta["token_strings"].size(), std::size_t(12));
        QCOMPARE(meta["token_strings"][1], model.tokenizer->display(makeRecord(1).token));
      }
    }
  }

  void withoutTokenizerThereAreNoStrings() {
    const auto model = fakeModel(false);
    for (const char* name : {"n.npz", "n.safetensors", "n.csv"}) {
      const auto sink = makeTraceWriter(at(name), optionsFor(at(name), TracePrecision::f16));
      deliver(*sink, model, layoutOf(model, engine::TraceLevel::summary, 512), 5, 5);
      sink->end();
    }
    QVERIFY(!readNpz(at("n.npz")).meta.contains("token_strings"));
    QVERIFY(!readSafetensors(at("n.safetensors")).arrays.contains("token_strings"));
    QVERIFY(readFile(at("n.csv")).find(",text,") == std::string::npos);
  }

  void sixtyFourBitZipIsRead() {
    TraceArray array;
    array.name = "a";
    array.type = ArrayType::i32;
    std::vector<TraceArray> arrays = {array, array};
    arrays[1].name = "b";
    const std::vector<std::int32_t> values = {1, -2, 3};
    const auto container = makeNpzContainer(true);
    container->place(arrays, 3, {});
    OutputFile file(at("zip64.npz"));
    for (std::size_t i = 0; i < 2; ++i) {
      const std::string prefix = container->prefix(i, arrays[i], 3);
      arrays[i].crc = crc32(crc32(0, prefix.data(), prefix.size()), values.data(), 12);
      file.writeAt(arrays[i].offset, values.data(), 12);
    }
    container->finish(file, arrays, 3, {{"x", 1}}, {});
    file.commit();
    const Archive back = readNpz(at("zip64.npz"));
    QCOMPARE(back.arrays.at("b").values, (std::vector<double>{1, -2, 3}));
    QCOMPARE(back.meta["x"], 1);
  }

  void jsonLinesComeBack() {
    const auto model = fakeModel();
    const auto layout = layoutOf(model, engine::TraceLevel::full, 512);
    const auto sink = makeTraceWriter(at("t.jsonl"), optionsFor(at("t.jsonl"), TracePrecision::f16));
    deliver(*sink, model, layout, 100, 30);
    engine::TokenRecord next = makeRecord(30);
    sink->prediction(next);
    sink->end();
    std::ifstream in(at("t.jsonl"));
    std::int64_t t = 0;
    for (std::string line; std::getline(in, line); ++t) {
      const auto row = nlohmann::json::parse(line);
      QCOMPARE(row["position"], t);
      QCOMPARE(row["tokens"], makeRecord(t).token);
      QCOMPARE(row["text"], model.tokenizer->display(makeRecord(t).token));
      QCOMPARE(row["logprob"].is_null(), t == 0);
      QCOMPARE(row["output.entropy"].get<float>(), makeRecord(t + 1).entropy);
      QCOMPARE(row["output.topk_tokens_4"], makeRecord(t + 1).topTokens[4]);
      QCOMPARE(row["output.topk_tokens_7"], -1);
      QVERIFY(row["output.topk_logprobs_7"].is_null());
      const auto* norm = layout.find(0, engine::Quantity::stateNorm);
      const auto* quantiles = layout.find(0, engine::Quantity::halfLifeQuantiles);
      QCOMPARE(row["layers.0.state_norm"].get<float>(), fakeValue(t, norm->offset));
      QCOMPARE(row["layers.0.half_life_quantiles_4"].get<float>(), fakeValue(t, quantiles->offset + 4));
      QVERIFY(!row.contains("layers.0.state_0"));
    }
    QCOMPARE(t, std::int64_t(30));
  }

  void csvFollowsRfc4180() {
    const auto model = fakeModel();
    const auto layout = layoutOf(model, engine::TraceLevel::summary, 512);
    const char* before = std::setlocale(LC_ALL, nullptr);
    std::setlocale(LC_ALL, "de_DE.UTF-8");
    const auto sink = makeTraceWriter(at("t.csv"), optionsFor(at("t.csv"), TracePrecision::f32));
    deliver(*sink, model, layout, 4, 4);
    sink->end();
    std::setlocale(LC_ALL, before);
    const std::string text = readFile(at("t.csv"));
    std::vector<std::vector<std::string>> rows(1, {""});
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const char c = text[i];
      if (quoted && c == '"' && text[i + 1] == '"')
        rows.back().back() += text[i++];
      else if (c == '"')
        quoted = !quoted;
      else if (!quoted && c == ',')
        rows.back().emplace_back();
      else if (!quoted && c == '\r')
        QCOMPARE(text[i + 1], '\n');
      else if (!quoted && c == '\n')
        rows.push_back({""});
      else
        rows.back().back() += c;
    }
    rows.pop_back();
    QCOMPARE(rows.size(), std::size_t(5));
    for (const auto& row : rows) QCOMPARE(row.size(), rows[0].size());
    QCOMPARE(rows[0][0], std::string("position"));
    QCOMPARE(rows[0][2], std::string("text"));
    QCOMPARE(rows[2][2], model.tokenizer->display(makeRecord(1).token));
    QCOMPARE(rows[1][4], std::string());
    QCOMPARE(std::stof(rows[2][4]), makeRecord(1).logprob);
    const auto column = std::find(rows[0].begin(), rows[0].end(), "layers.0.state_norm") - rows[0].begin();
    QCOMPARE(std::stof(rows[4][std::size_t(column)]),
             fakeValue(3, layout.find(0, engine::Quantity::stateNorm)->offset));
  }

  void missingFramesAreNotNumbers() {
    const auto model = fakeModel();
    const auto layout = layoutOf(model, engine::TraceLevel::summary, 512);
    for (const char* name : {"g.npz", "g.jsonl"}) {
      const auto sink = makeTraceWriter(at(name), optionsFor(at(name), TracePrecision::f32));
      sink->begin(model, layout, 5);
      for (std::int64_t p = 0; p < 5; ++p) {
        sink->token(makeRecord(p));
        if (p == 1 || p == 3) sink->frame(fakeFrame(layout, p));
      }
      sink->end();
    }
    const auto values = readNpz(at("g.npz")).arrays.at("layers.0.state_norm").values;
    QVERIFY(std::isnan(values[0]) && !std::isnan(values[1]) && std::isnan(values[2]) &&
            !std::isnan(values[3]) && std::isnan(values[4]));
    std::ifstream in(at("g.jsonl"));
    for (std::int64_t t = 0; t < 5; ++t) {
      std::string line;
      std::getline(in, line);
      QCOMPARE(nlohmann::json::parse(line)["layers.0.state_norm"].is_null(), t != 1 && t != 3);
    }
  }

  void longTracesTakeBoundedMemory() {
    engine::ModelInfo model = fakeModel();
    auto& config = model.summary.config;
    config.R = 320;
    config.L = 6;
    config.W = 128;
    using enum engine::BlockKind;
    config.blocks = {recurrent, recurrent, localAttention, recurrent, recurrent, localAttention};
    const auto layout = layoutOf(model, engine::TraceLevel::full, 512);
    // The peak since the process began says nothing after other tests: start it anew.
    std::ofstream("/proc/self/clear_refs") << "5";
    const auto peak = [] {
      std::ifstream status("/proc/self/status");
      for (std::string line; std::getline(status, line);) {
        if (line.compare(0, 6, "VmHWM:") == 0) return std::stol(line.substr(6));  // KiB
      }
      return -1L;
    };
    const auto before = peak();
    QVERIFY(before > 0);
    QElapsedTimer timer;
    timer.start();
    const auto sink = makeTraceWriter(at("long.npz"), optionsFor(at("long.npz"), TracePrecision::f16));
    const std::int64_t tokens = kSanitized ? 2000 : 20000;
    deliver(*sink, model, layout, tokens, tokens, 64);
    sink->end();
    const auto bytes = fs::file_size(at("long.npz"));
    qInfo("%d tokens: %.0f MB in %.1f s, %.1f MB more memory", int(tokens), double(bytes) / 1e6,
          double(timer.elapsed()) / 1e3, double(peak() - before) / 1e3);
    QVERIFY(bytes > std::uintmax_t(tokens) * 10'000);
    QVERIFY(kSanitized || peak() - before < 64 << 10);
  }
};

}  // namespace eyrie::sessions

QTEST_GUILESS_MAIN(eyrie::sessions::TraceWriterTest)
#include "trace_writer_test.moc"
