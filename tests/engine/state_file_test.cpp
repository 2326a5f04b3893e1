// State files: exact there and back, and never a state from bytes that contradict themselves.
#include "engine/state_file.h"

#include <QTemporaryDir>
#include <QtTest>
#include <cstring>
#include <functional>
#include <limits>

#include "engine/checkpoint/file_io.h"
#include "engine/checkpoint/safetensors.h"
#include "engine/error.h"
#include "engine/model.h"
#include "engine/verify/test_models.h"
#include "tests/engine/states.h"

using namespace eyrie::engine;
using namespace eyrie::engine::verify;
using namespace eyrie::engine::test;

namespace {

std::shared_ptr<Model> tinyModel(const std::string& pattern) {
  return Model::load(randomCheckpoint(tinyConfig(pattern, 3), 5));
}

SavedState savedAfter(Model& model, std::int64_t tokens) {
  SavedState saved;
  saved.model = "tiny";
  saved.fingerprint = "abc";
  saved.origin = "read";
  saved.text = "καλημέρα \"world\"\n";
  saved.interventions = parseInterventions("layer 0 state *= 0.1; mlp off @3-");
  saved.tokens = TestRandom(1).tokens(tokens, model.config().V);
  saved.config = model.config();
  SequenceState state = model.newState();
  model.prefill(state, saved.tokens, LogitRows::none);
  saved.state = state.download();
  return saved;
}

}  // namespace

class StateFileTest : public QObject {
  Q_OBJECT

  // A file's bytes, written as `saved` with tensors and metadata bent before.
  std::vector<std::byte> bent(
      const SavedState& saved,
      const std::function<void(std::vector<SafetensorsTensor>&, std::map<std::string, std::string>&)>& bend) {
    const std::filesystem::path file = path("good.safetensors");
    writeStateFile(file, saved);
    const MappedFile good(file);
    SafetensorsFile parsed = parseSafetensors(good.bytes(), good.bytes().size(), "good");
    bend(parsed.tensors, parsed.metadata);
    writeSafetensors(path("bent.safetensors"), parsed.tensors, parsed.metadata);
    const std::string bytes = readFile(path("bent.safetensors"), 1 << 20);
    const auto* begin = reinterpret_cast<const std::byte*>(bytes.data());
    return {begin, begin + bytes.size()};
  }
  std::filesystem::path path(const char* name) const { return folder_.filePath(name).toStdString(); }

  QTemporaryDir folder_;

 private slots:
  void everythingComesBack_data();
  void everythingComesBack();
  void textThatNoHeaderHoldsIsLeftOut();
  void complexStatesSaySo();
  void tokensOfAnotherPositionAreNotWritten();
  void contradictionsAreNamed_data();
  void contradictionsAreNamed();
  void damageIsNoState();
  void anotherModelIsNamed();
};

void StateFileTest::everythingComesBack_data() {
  QTest::addColumn<QString>("pattern");
  QTest::addColumn<int>("tokens");
  for (const char* pattern : {"R", "A", "G", "RRA"}) {
    for (const int tokens : {0, 1, 6, 20}) {
      QTest::newRow(qPrintable(QString("%1 after %2 tokens").arg(pattern).arg(tokens)))
          << QString(pattern) << tokens;
    }
  }
}

void StateFileTest::everythingComesBack() {
  QFETCH(QString, pattern);
  QFETCH(int, tokens);
  const auto model = tinyModel(pattern.toStdString());
  const SavedState saved = savedAfter(*model, tokens);
  writeStateFile(path("state.safetensors"), saved);
  const SavedState found = readStateFile(path("state.safetensors"));
  QVERIFY(sameBits(found.state, saved.state));
  QVERIFY(found.tokens == saved.tokens);
  QCOMPARE(found.model, saved.model);
  QCOMPARE(found.fingerprint, saved.fingerprint);
  QCOMPARE(found.origin, saved.origin);
  QCOMPARE(found.text, saved.text);
  QVERIFY(found.interventions == saved.interventions);
  QVERIFY(found.config.blocks == saved.config.blocks);
  checkStateOf(found, "state.safetensors", model->config(), "abc", "tiny");
  QVERIFY(sameBits(model->restoreState(found.state).download(), saved.state));
  // What was read can be written again, as after a mixture.
  writeStateFile(path("again.safetensors"), found);
  QVERIFY(readFile(path("again.safetensors"), 1 << 20) == readFile(path("state.safetensors"), 1 << 20));
}

void StateFileTest::textThatNoHeaderHoldsIsLeftOut() {
  const auto model = tinyModel("R");
  SavedState saved = savedAfter(*model, 9);
  saved.text.assign(8U << 20U, '\1');  // JSON writes \u0001
  writeStateFile(path("text.safetensors"), saved);
  QVERIFY(readStateFile(path("text.safetensors")).text == saved.text);
  saved.text.assign(17U << 20U, '\1');
  writeStateFile(path("text.safetensors"), saved);
  QVERIFY(readStateFile(path("text.safetensors")).text.empty());
}

void StateFileTest::complexStatesSaySo() {
  const ModelConfig config = tinyConfig("R", 1, RgLru::complex);
  const auto model = Model::load(randomCheckpoint(config, 5));
  SavedState saved = savedAfter(*model, 9);
  QVERIFY(parseStateFile(bent(saved, [](auto&, auto&) {}), "card").config.rgLru == RgLru::complex);
  const auto unsaid = bent(saved, [](auto&, auto& metadata) { metadata.erase("rg_lru"); });
  QVERIFY(parseStateFile(unsaid, "card").config.rgLru == RgLru::real);
  // Half of an odd number are no channels.
  --saved.config.R;
  saved.state.layers[0].h.pop_back();
  saved.state.layers[0].tail.resize(static_cast<std::size_t>((config.K - 1) * saved.config.R));
  QVERIFY_EXCEPTION_THROWN(parseStateFile(bent(saved, [](auto&, auto&) {}), "card"), Error);
}

void StateFileTest::tokensOfAnotherPositionAreNotWritten() {
  const auto model = tinyModel("R");
  const SavedState good = savedAfter(*model, 9);
  for (const std::size_t tokens : {0, 8, 11}) {
    SavedState bad = good;
    bad.tokens.resize(tokens);
    QVERIFY_EXCEPTION_THROWN(writeStateFile(path("never.safetensors"), bad), Error);
    QVERIFY(!std::filesystem::exists(path("never.safetensors")));
  }
}

void StateFileTest::contradictionsAreNamed_data() {
  using Tensors = std::vector<SafetensorsTensor>;
  using Metadata = std::map<std::string, std::string>;
  using Bend = std::function<void(Tensors&, Metadata&)>;
  QTest::addColumn<Bend>("bend");
  QTest::addColumn<QString>("named");
  const auto metadata = [](const char* key, const char* value) -> Bend {
    return [key, value](Tensors&, Metadata& entries) { entries[key] = value; };
  };
  const auto tensor = [](const char* name, const std::function<void(SafetensorsTensor&)>& change) -> Bend {
    return [name, change](Tensors& tensors, Metadata&) {
      for (SafetensorsTensor& each : tensors) {
        if (each.name == name) change(each);
      }
    };
  };
  QTest::newRow("no format") << Bend([](Tensors&, Metadata& entries) { entries.erase("format"); })
                             << "eyrie-state";
  QTest::newRow("another format") << metadata("format", "pt") << "\"pt\"";
  QTest::newRow("a newer version") << metadata("version", "2") << "newer Eyrie";
  QTest::newRow("no fingerprint") << Bend([](Tensors&, Metadata& entries) { entries.erase("fingerprint"); })
                                  << "fingerprint";
  QTest::newRow("an empty model") << metadata("model", "") << "model";
  for (const char* position : {"-1", "", "1e3", "99999999999999999999", "0x9", " 9", "1099511627777"}) {
    QTest::newRow(qPrintable(QString("position '%1'").arg(position)))
        << metadata("position", position) << "position";
  }
  QTest::newRow("a later position") << metadata("position", "10") << "tokens";
  QTest::newRow("an earlier position") << metadata("position", "7") << "tokens";
  QTest::newRow("a rule of nothing") << metadata("interventions", "layer 0 soul off") << "interventions: at";
  QTest::newRow("another recurrence") << metadata("rg_lru", "quaternion") << "rg_lru";
  QTest::newRow("older_keys") << metadata("older_keys", "3") << "layers.2.attention.keys";
  QTest::newRow("no blocks") << metadata("blocks", "") << "blocks";
  QTest::newRow("other blocks") << metadata("blocks", "RRX") << "RRX";
  QTest::newRow("fewer blocks") << metadata("blocks", "RR") << "layers.2.attention.keys";
  QTest::newRow("more blocks") << metadata("blocks", "RRAR") << "layers.3.rg_lru.h";
  QTest::newRow("swapped blocks") << metadata("blocks", "RAR") << "layers.1.attention.keys";
  QTest::newRow("a tensor missing") << Bend([](Tensors& tensors, Metadata&) {
    std::erase_if(tensors, [](const auto& each) { return each.name == "layers.1.rg_lru.h"; });
  }) << "layers.1.rg_lru.h";
  QTest::newRow("another dtype") << tensor("layers.1.rg_lru.h", [](SafetensorsTensor& each) {
    each.dtype = "I32";
  }) << "layers.1.rg_lru.h";
  QTest::newRow("another rank") << tensor("layers.1.rg_lru.h", [](SafetensorsTensor& each) {
    each.shape.push_back(1);
  }) << "layers.1.rg_lru.h";
  QTest::newRow("another width") << tensor("layers.1.rg_lru.h", [](SafetensorsTensor& each) {
    each.shape = {1};
    each.bytes = 4;
  }) << "layers.1.rg_lru.h";
  QTest::newRow("another tail") << tensor("layers.1.conv_1d.tail", [](SafetensorsTensor& each) {
    each.bytes /= static_cast<std::uint64_t>(each.shape[0]);
    each.shape[0] = 1;
  }) << "layers.1.conv_1d.tail";
  QTest::newRow("other heads") << tensor("layers.2.attention.values", [](SafetensorsTensor& each) {
    std::swap(each.shape[1], each.shape[2]);
  }) << "layers.2.attention.values";
  QTest::newRow("one more tensor") << Bend([](Tensors& tensors, Metadata&) {
    tensors.push_back(tensors.back());
    tensors.back().name = "extra";
  }) << "extra";
  static const float notANumber = std::numeric_limits<float>::quiet_NaN();
  static const std::vector<float> bad(1000, notANumber);
  QTest::newRow("not a number") << tensor("layers.0.rg_lru.h", [](SafetensorsTensor& each) {
    each.data = bad.data();
  }) << "layers.0.rg_lru.h: expected numbers, found nan at 0";
  static const std::vector<std::int32_t> negative(9, -5);
  QTest::newRow("a negative token") << tensor("tokens", [](SafetensorsTensor& each) {
    each.data = negative.data();
  }) << "found -5 at 0";
}

void StateFileTest::contradictionsAreNamed() {
  using Bend = std::function<void(std::vector<SafetensorsTensor>&, std::map<std::string, std::string>&)>;
  QFETCH(Bend, bend);
  QFETCH(QString, named);
  const auto model = tinyModel("RRA");
  const std::vector<std::byte> bytes = bent(savedAfter(*model, 9), bend);
  try {
    parseStateFile(bytes, "card");
    QFAIL("accepted");
  } catch (const Error& error) {
    QCOMPARE(error.code(), ErrorCode::badFile);
    const QString said = error.what();
    QVERIFY2(said.startsWith("card: ") && said.contains(named), error.what());
  }
}

void StateFileTest::damageIsNoState() {
  const auto model = tinyModel("RRA");
  const std::vector<std::byte> good = bent(savedAfter(*model, 9), [](auto&, auto&) {});
  QVERIFY(sameBits(parseStateFile(good, "card").state, savedAfter(*model, 9).state));
  for (std::size_t length = 0; length < good.size(); length += 7) {
    QVERIFY_EXCEPTION_THROWN(parseStateFile(std::span(good).first(length), "card"), Error);
  }
  // A flipped byte of the header is refused or leaves a state of sound shapes.
  for (std::size_t at = 0; at < std::min<std::size_t>(good.size(), 1500); ++at) {
    std::vector<std::byte> flipped = good;
    flipped[at] ^= std::byte{0x11};
    try {
      const SavedState found = parseStateFile(flipped, "card");
      checkState(found.state, found.config);
    } catch (const Error& error) {
      QCOMPARE(error.code(), ErrorCode::badFile);
    }
  }
}

void StateFileTest::anotherModelIsNamed() {
  const auto model = tinyModel("RRA");
  SavedState saved = savedAfter(*model, 9);
  const auto refusal = [&](const ModelConfig& config, const std::string& fingerprint) -> std::string {
    try {
      checkStateOf(saved, "card", config, fingerprint, "other");
    } catch (const Error& error) {
      return error.code() == ErrorCode::stateMismatch ? error.what() : "another code";
    }
    return {};
  };
  QCOMPARE(refusal(model->config(), "abc"), std::string());
  const std::string wrong = refusal(model->config(), "xyz");
  for (const char* word : {"card: ", "abc", "tiny", "xyz", "other"}) {
    QVERIFY2(wrong.find(word) != std::string::npos, wrong.c_str());
  }
  QVERIFY2(refusal(tinyConfig("R", 3), "abc").starts_with("card: "), "a forged fingerprint");
  saved.tokens[4] = 40000;
  QVERIFY(refusal(model->config(), "abc").find("found 40000 at 4") != std::string::npos);
}

QTEST_GUILESS_MAIN(StateFileTest)
#include "state_file_test.moc"
