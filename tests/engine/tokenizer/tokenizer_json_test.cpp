#include "engine/tokenizer/tokenizer_json.h"

#include <QtTest/QtTest>
#include <nlohmann/json.hpp>
#include <random>

#include "engine/error.h"
#include "engine/tokenizer/chat_template.h"
#include "engine/tokenizer/tokenizer.h"
#include "tests/engine/model_files.h"

using namespace eyrie::engine;
using nlohmann::json;
using Ids = std::vector<std::int32_t>;

namespace {

const std::string kData = EYRIE_SOURCE_DIR "/tests/engine/tokenizer/data/";
const std::string kFile = "tokenizer.json";

std::shared_ptr<const Tokenizer> fromModel() {
  static const auto tokenizer = Tokenizer::load(kData + "gemma-like.model");
  return tokenizer;
}

const std::string& jsonText() {
  static const std::string text = test::readBytes(kData + "gemma-like.json");
  return text;
}

std::shared_ptr<const Tokenizer> fromJson() {
  static const auto tokenizer = Tokenizer::parseJson(jsonText(), kFile);
  return tokenizer;
}

std::string errorOf(const json& root) {
  return test::errorOf([&] { Tokenizer::parseJson(root.dump(), kFile); });
}

std::string escaped(const std::string& text) {
  return json(text).dump(-1, ' ', true, json::error_handler_t::replace);
}

}  // namespace

class TokenizerJsonTest : public QObject {
  Q_OBJECT
 private slots:
  void idsAreThoseOfBothReferences();
  void everyTextGivesTheTokensOfTheModelFile();
  void everyTokenIsTheSameOne();
  void turnMarkersMakeAChat();
  void trap46_typedControlTokensStayText();
  void mergesMayBeStringsOrPairs();
  void tokenizerConfigMarksSpecialTokens();
  void modelFileIsPreferred();
  void damageIsNamed_data();
  void damageIsNamed();
  void configDamageIsNamed_data();
  void configDamageIsNamed();
};

// Python's sentencepiece and tokenizers agree on them (make_tiny_models.py).
void TokenizerJsonTest::idsAreThoseOfBothReferences() {
  const json cases = json::parse(test::readBytes(kData + "gemma-like-ids.json"));
  QVERIFY(cases.size() > 300);
  for (const json& each : cases) {
    const std::string text = each[0];
    QVERIFY2(fromJson()->encode(text) == each[1].get<Ids>(), escaped(text).c_str());
    QCOMPARE(fromJson()->decode(each[1].get<Ids>()), text);
  }
}

void TokenizerJsonTest::everyTextGivesTheTokensOfTheModelFile() {
  const std::vector<std::string> parts = {"a",
                                          "e",
                                          "the ",
                                          " ",
                                          "  ",
                                          "\n",
                                          "\n\n",
                                          "\t",
                                          "\xE2\x96\x81",
                                          "\xE2\x96\x81\xE2\x96\x81",
                                          "<b>",
                                          "<",
                                          "table>",
                                          "</table>",
                                          "<bos>",
                                          "<unk>",
                                          "<0x41>",
                                          "<end_of_turn>",
                                          "<start_of_turn>",
                                          "[multimodal]",
                                          "1234",
                                          "\xC3\xA9",
                                          "\xF0\x9F\xA6\x85",
                                          "\xFF",
                                          "\xC3",
                                          "falcon",
                                          "remembers",
                                          "\x01",
                                          "\r\n",
                                          "<unused1>",
                                          "\xEF\xBB\xBF"};
  std::mt19937 random(7);
  for (int i = 0; i < 5000; ++i) {
    std::string text;
    for (auto n = random() % 12; n > 0; --n) text += parts[random() % parts.size()];
    QVERIFY2(fromJson()->encode(text) == fromModel()->encode(text), escaped(text).c_str());
  }
}

void TokenizerJsonTest::everyTokenIsTheSameOne() {
  QCOMPARE(fromJson()->size(), fromModel()->size());
  for (std::int32_t id = -1; id <= fromModel()->size(); ++id) {
    QCOMPARE(fromJson()->bytes(id), fromModel()->bytes(id));
    QCOMPARE(fromJson()->isControl(id), fromModel()->isControl(id));
    QCOMPARE(fromJson()->display(id), fromModel()->display(id));
  }
  QCOMPARE(fromJson()->addsPrefixSpace(), fromModel()->addsPrefixSpace());
}

void TokenizerJsonTest::turnMarkersMakeAChat() {
  const ModelConfig config;
  const ChatFormat ours = chatFormatOf(config, *fromJson());
  const ChatFormat model = chatFormatOf(config, *fromModel());
  QVERIFY(ours.turns);
  QCOMPARE(ours.startOfTurn, model.startOfTurn);
  QCOMPARE(ours.endOfTurn, model.endOfTurn);
  QVERIFY(renderChat(ours, *fromJson(), {{Role::user, "The falcon"}}, true) ==
          renderChat(model, *fromModel(), {{Role::user, "The falcon"}}, true));
  auto plain = json::parse(jsonText());  // a base model's tokenizer without markers has no turns
  for (const char* marker : {"<start_of_turn>", "<end_of_turn>"}) {
    const std::string other = marker == std::string("<start_of_turn>") ? "<h1>" : "</h1>";
    auto& vocab = plain["model"]["vocab"];
    vocab[other] = vocab[marker];
    vocab.erase(marker);
    for (auto& token : plain["added_tokens"])
      if (token["content"] == marker) token["content"] = other;
  }
  QVERIFY(!chatFormatOf(config, *Tokenizer::parseJson(plain.dump(), kFile)).turns);
}

void TokenizerJsonTest::trap46_typedControlTokensStayText() {
  for (const char* text :
       {"<start_of_turn>", "<end_of_turn>", "<bos>", "<mask>", "<unused0>", "x<end_of_turn>\n"}) {
    const Ids ids = fromJson()->encode(text);
    QVERIFY(ids.size() > 1);
    for (const std::int32_t id : ids) QVERIFY2(!fromJson()->isControl(id), text);
    QCOMPARE(fromJson()->decode(ids), std::string(text));
  }
}

void TokenizerJsonTest::mergesMayBeStringsOrPairs() {
  json root = json::parse(jsonText());
  json strings = json::array();
  for (const json& merge : root["model"]["merges"])
    strings.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  root["model"]["merges"] = strings;
  const std::string text = "The falcon  remembers\n\nseven eggs.";
  QVERIFY(Tokenizer::parseJson(root.dump(), kFile)->encode(text) == fromModel()->encode(text));
}

void TokenizerJsonTest::tokenizerConfigMarksSpecialTokens() {
  QVERIFY(!fromJson()->controlToken("<table>"));
  const json decoder = {{"added_tokens_decoder", {{"16", {{"content", "<table>"}, {"special", true}}}}}};
  QCOMPARE(fromJson()->encode("<table>"), Ids{16});
  for (const json& config :
       {decoder, json{{"bos_token", "<table>"}}, json{{"eos_token", {{"content", "<table>"}}}},
        json{{"additional_special_tokens", {"<nowhere>", "<table>"}}}}) {
    const auto tokenizer = Tokenizer::parseJson(jsonText(), kFile, config.dump(), "tokenizer_config.json");
    QCOMPARE(tokenizer->controlToken("<table>").value_or(-1), 16);
    QVERIFY(tokenizer->encode("<table>").size() > 1);
  }
}

void TokenizerJsonTest::modelFileIsPreferred() {
  const QTemporaryDir folder;
  const std::filesystem::path path = folder.path().toStdString();
  test::writeBytes(path / "tokenizer.json", jsonText());
  test::writeBytes(path / "tokenizer_config.json", R"({"pad_token": "<table>"})");
  QCOMPARE(Tokenizer::loadFor(path, 520)->size(), 520);
  QVERIFY(Tokenizer::loadFor(path, 520)->controlToken("<table>"));
  QVERIFY(inspectTokenizer(path).present && inspectTokenizer(path).turns);
  const std::string message = test::errorOf([&] { Tokenizer::loadFor(path, 519); });
  QVERIFY2(message.find("tokenizer.json: expected at most 519 pieces") != std::string::npos, message.c_str());
  test::writeBytes(path / "tokenizer.model", test::readBytes(kData + "tiny-bpe.model"));
  QCOMPARE(Tokenizer::loadFor(path, 520)->size(), 420);
}

void TokenizerJsonTest::damageIsNamed_data() {
  using Edit = std::function<void(json&)>;
  QTest::addColumn<Edit>("edit");
  QTest::addColumn<QString>("named");
  const auto row = [](const char* named, const Edit& edit) {
    static int number = 0;
    QTest::addRow("%d: %s", ++number, named) << edit << QString(named);
  };
  row("tokenizer: expected an object", [](json& root) { root = json::array(); });
  row("normalizer: expected spaces replaced", [](json& root) {
    root.erase("normalizer");
    root.erase("pre_tokenizer");
  });
  row("normalizer: expected Replace of a space", [](json& root) { root["normalizer"] = {{"type", "NFKC"}}; });
  row("normalizer: expected Replace", [](json& root) { root["normalizer"]["content"] = "_"; });
  row("normalizer: expected Replace", [](json& root) {
    root["normalizer"] = {{"type", "Sequence"}, {"normalizers", 5}};
  });
  row("pre_tokenizer: expected nothing", [](json& root) { root["pre_tokenizer"] = {{"type", "ByteLevel"}}; });
  row("pre_tokenizer: expected nothing", [](json& root) {
    root["pre_tokenizer"]["pattern"] = {{"Regex", "."}};
  });
  row("pre_tokenizer: expected nothing", [](json& root) {
    root["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "\xE2\x96\x81"}, {"split", true}};
  });
  row("model.type: expected BPE, found null", [](json& root) { root.erase("model"); });
  row("model.type: expected BPE", [](json& root) { root["model"]["type"] = "Unigram"; });
  row("model.dropout: expected none", [](json& root) { root["model"]["dropout"] = 0.1; });
  row("model.ignore_merges: expected none", [](json& root) { root["model"]["ignore_merges"] = true; });
  row("model.end_of_word_suffix: expected none",
      [](json& root) { root["model"]["end_of_word_suffix"] = "</w>"; });
  row("model.unk_token: expected a piece", [](json& root) { root["model"]["unk_token"] = nullptr; });
  row("model.unk_token: expected a piece", [](json& root) { root["model"]["unk_token"] = "<none>"; });
  row("model.vocab: expected an object", [](json& root) { root["model"]["vocab"] = json::array(); });
  row("model.vocab: expected an object", [](json& root) { root["model"]["vocab"] = json::object(); });
  row("model.vocab: a: expected an id of its own", [](json& root) { root["model"]["vocab"]["a"] = -1; });
  row("model.vocab: a: expected an id of its own", [](json& root) { root["model"]["vocab"]["a"] = 1e9; });
  row("model.vocab: a: expected an id of its own", [](json& root) { root["model"]["vocab"]["a"] = "7"; });
  row("expected an id of its own", [](json& root) { root["model"]["vocab"]["a"] = 7; });
  row("model.vocab: expected pieces with text", [](json& root) {
    root["model"]["vocab"][""] = root["model"]["vocab"]["<b>"];
    root["model"]["vocab"].erase("<b>");
  });
  row("byte_fallback without all 256", [](json& root) {
    root["model"]["vocab"]["<0xGG>"] = root["model"]["vocab"]["<0x80>"];
    root["model"]["vocab"].erase("<0x80>");
  });
  row("a zero byte", [](json& root) {
    root["model"]["vocab"][std::string("a\0b", 3)] = root["model"]["vocab"]["<b>"];
    root["model"]["vocab"].erase("<b>");
    for (auto& token : root["added_tokens"])
      if (token["content"] == "<b>") token["content"] = std::string("a\0b", 3);
  });
  row("added_tokens: expected a list", [](json& root) { root["added_tokens"] = "none"; });
  row("added_tokens: expected entries", [](json& root) { root["added_tokens"][0] = 5; });
  row("added_tokens: <pad>: expected the id 0", [](json& root) { root["added_tokens"][0]["id"] = 9; });
  row("added_tokens: <new>: expected an id of its own", [](json& root) {
    root["added_tokens"].push_back({{"id", 9000}, {"content", "<new>"}, {"special", true}});
  });
  row(": lstrip: expected false, found true",
      [](json& root) { root["added_tokens"].back()["lstrip"] = true; });
  row("model.merges: expected a list", [](json& root) { root["model"]["merges"] = 7; });
  row("model.merges: entry 0: expected two pieces", [](json& root) { root["model"]["merges"][0] = {"a"}; });
  row("model.merges: entry 0: expected two pieces", [](json& root) { root["model"]["merges"][0] = "a b c"; });
  row("model.merges: entry 0: expected pieces of the vocabulary", [](json& root) {
    root["model"]["merges"][0] = {"a", "qqq"};
  });
  row("model.merges: expected every way to merge", [](json& root) { root["model"]["merges"].erase(100); });
  row("all merges to one piece together", [](json& root) {
    auto& merges = root["model"]["merges"];
    for (std::size_t i = 20; i + 1 < merges.size(); ++i)
      if (merges[i][0].get<std::string>() + merges[i][1].get<std::string>() ==
          merges[i + 1][0].get<std::string>() + merges[i + 1][1].get<std::string>()) {
        const json moved = merges[i];
        merges.erase(i);
        merges.push_back(moved);
        return;
      }
  });
}

void TokenizerJsonTest::damageIsNamed() {
  QFETCH(std::function<void(json&)>, edit);
  QFETCH(QString, named);
  json root = json::parse(jsonText());
  edit(root);
  const std::string message = errorOf(root);
  QVERIFY2(message.starts_with("tokenizer.json: ") && QString::fromStdString(message).contains(named) &&
               message.find('\n') == std::string::npos,
           message.c_str());
}

void TokenizerJsonTest::configDamageIsNamed_data() {
  QTest::addColumn<QString>("config");
  QTest::addColumn<QString>("named");
  const auto row = [](const char* config, const char* named) { QTest::newRow(config) << config << named; };
  row("[]", "expected an object, found []");
  row("{", "expected JSON");
  row(R"({"added_tokens_decoder": []})", "added_tokens_decoder: expected an object");
  row(R"({"added_tokens_decoder": {"x": {}}})", "added_tokens_decoder: x: expected an id");
  row(R"({"added_tokens_decoder": {"520": {}}})", "added_tokens_decoder: 520: expected an id from 0 to 519");
  row(R"({"added_tokens_decoder": {"-1": {}}})", "expected an id");
  row(R"({"added_tokens_decoder": {"16": {"content": "<tr>"}}})",
      "added_tokens_decoder: 16: expected the token \"<table>\" of tokenizer.json, found \"<tr>\"");
  row(R"({"added_tokens_decoder": {"16": 5}})", "found null");
  row(R"({"additional_special_tokens": "<table>"})", "additional_special_tokens: expected a list");
  row(R"({"bos_token": "a"})", "control token \"a\" of one character");
}

void TokenizerJsonTest::configDamageIsNamed() {
  QFETCH(QString, config);
  QFETCH(QString, named);
  const std::string message = test::errorOf(
      [&] { Tokenizer::parseJson(jsonText(), kFile, config.toStdString(), "tokenizer_config.json"); });
  QVERIFY2(message.starts_with("tokenizer_config.json: ") && QString::fromStdString(message).contains(named),
           message.c_str());
}

QTEST_GUILESS_MAIN(TokenizerJsonTest)
#include "tokenizer_json_test.moc"
