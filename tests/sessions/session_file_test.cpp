// Portable session files: round trips, and damage of every kind.
#include "sessions/store/session_file.h"

#include <fmt/format.h>

#include <QRegularExpression>
#include <QTemporaryDir>
#include <QtTest>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/error.h"
#include "sessions/store/session_store.h"
#include "tests/sessions/records.h"

namespace eyrie::sessions {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

class SessionFileTest : public QObject {
  Q_OBJECT

 private:
  fs::path at(const char* name) const { return fs::path(folder_.path().toStdString()) / name; }
  static void write(const fs::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }

  static SessionFile sample() {
    SessionFile file;
    file.session.title = "Title 中文";
    file.session.systemPrompt = "be kind";
    file.session.model = "griffin";
    file.session.sampling = {0.7F, 5, 0.9F, 0.1F, 1.3F, 0xFFFFFFFFFFFFFFFFULL};
    file.session.selectedLeaf = 12;
    const auto add = [&](MessageId id, MessageId parent, engine::Role role, const char* text) -> auto& {
      SessionFileMessage entry;
      entry.message.id = id;
      entry.message.parent = parent;
      entry.message.role = role;
      entry.message.text = text;
      entry.message.created = 1700000000000 + id;
      file.messages.push_back(entry);
      return file.messages.back();
    };
    add(3, 0, engine::Role::user, "question \"quoted\"\n\t\\");
    auto& reply = add(7, 3, engine::Role::model, "first answer");
    reply.message.model = "griffin";
    reply.message.fingerprint = "0123abcd";
    reply.message.status = MessageStatus::cancelled;
    reply.message.seed = 99;
    reply.message.tokensPerSecond = 123.456;
    reply.tokens = testing::makeRecords(0, 30);
    reply.tokens[4].logprob = -std::numeric_limits<float>::infinity();
    add(12, 3, engine::Role::model, "second answer").tokens = testing::makeRecords(0, 2);
    file.snapshotLeaf = 12;
    file.snapshot = engine::Snapshot{{1, 2, 300000}, {}, "0123abcd"};
    for (int i = 0; i < 100; ++i) file.snapshot->state.push_back(std::byte(i * 37));
    return file;
  }

  std::optional<std::string> errorOf(const std::string& bytes) {
    try {
      parseSessionFile(bytes, "F.eyrie");
    } catch (const engine::Error& error) {
      return error.what();
    }
    return std::nullopt;
  }

  QTemporaryDir folder_;

 private slots:
  void parseReturnsWhatWasWritten() {
    for (std::size_t bytes = 97; bytes <= 100; ++bytes) {
      SessionFile in = sample();
      in.snapshot->state.resize(bytes);
      const SessionFile out = parseSessionFile(writeSessionFile(in), "F.eyrie");
      QCOMPARE(out.session.title, in.session.title);
      QCOMPARE(out.session.sampling.temperature, in.session.sampling.temperature);
      QCOMPARE(out.session.sampling.seed, in.session.sampling.seed);
      QCOMPARE(out.messages.size(), in.messages.size());
      for (std::size_t i = 0; i < in.messages.size(); ++i) {
        const Message& a = in.messages[i].message;
        const Message& b = out.messages[i].message;
        QCOMPARE(b.id, a.id);
        QCOMPARE(b.parent, a.parent);
        QCOMPARE(b.role, a.role);
        QCOMPARE(b.text, a.text);
        QCOMPARE(b.model, a.model);
        QCOMPARE(b.fingerprint, a.fingerprint);
        QCOMPARE(b.status, a.status);
        QCOMPARE(b.seed, a.seed);
        QCOMPARE(b.tokensPerSecond, a.tokensPerSecond);
        QCOMPARE(b.created, a.created);
        QVERIFY(testing::same(out.messages[i].tokens, in.messages[i].tokens));
      }
      QCOMPARE(out.snapshotLeaf, in.snapshotLeaf);
      QCOMPARE(out.snapshot->tokens, in.snapshot->tokens);
      QCOMPARE(out.snapshot->state, in.snapshot->state);
      QCOMPARE(out.snapshot->fingerprint, in.snapshot->fingerprint);
    }
  }

  void sessionMovesFromStoreToStore() {
    write(at("a.eyrie"), writeSessionFile(sample()));
    const auto one = SessionStore::open(at("one.db"));
    const auto two = SessionStore::open(at("two.db"));
    const SessionId first = one->importSession(at("a.eyrie"));
    one->exportSession(first, at("b.eyrie"));
    two->createSession({});
    const SessionId second = two->importSession(at("b.eyrie"));
    QVERIFY(second != first);
    const auto a = one->messages(first);
    const auto b = two->messages(second);
    QCOMPARE(a.size(), std::size_t(3));
    QCOMPARE(b.size(), a.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      QCOMPARE(b[i].text, a[i].text);
      QCOMPARE(b[i].role, a[i].role);
      QVERIFY(testing::same(two->tokens(b[i].id), one->tokens(a[i].id)));
    }
    QCOMPARE(b[1].parent, b[0].id);
    QCOMPARE(b[2].parent, b[0].id);
    QCOMPARE(two->session(second).selectedLeaf, b[2].id);
    QCOMPARE(two->session(second).title, std::string("Title 中文"));
    QCOMPARE(two->snapshot(b[2].id)->state, sample().snapshot->state);
    QCOMPARE(two->search("answer").size(), std::size_t(1));
    QCOMPARE(two->check(), std::vector<std::string>{});
    QVERIFY(!fs::exists(at("b.eyrie").string() + ".partial"));
  }

  void messageStillBeingWrittenIsExportedAsInterrupted() {
    const auto store = SessionStore::open(at("writing.db"));
    Message message;
    message.session = store->createSession({});
    message.status = MessageStatus::writing;
    store->appendTokens(store->addMessage(message), "so far", testing::makeRecords(0, 3));
    store->exportSession(message.session, at("writing.eyrie"));
    const SessionId back = store->importSession(at("writing.eyrie"));
    QCOMPARE(store->messages(back)[0].status, MessageStatus::interrupted);
    QCOMPARE(store->messages(back)[0].text, std::string("so far"));
  }

  // Every value of a sound file replaced by values of every other kind, every key dropped, every key added
  // to.
  void changedValuesAreRefusedByName() {
    const Json sound = Json::parse(writeSessionFile(sample()));
    QVERIFY(!errorOf(sound.dump()));
    const std::vector<Json> bad = {nullptr,
                                   -1,
                                   1.5,
                                   1e300,
                                   "text",
                                   true,
                                   Json::array(),
                                   Json::object(),
                                   Json::array({1, 2, 3, 4, 5, 6, 7, 8, 9, 10})};
    int refused = 0;
    int accepted = 0;
    const Json flat = sound.flatten();
    // In the middle of a long column nothing is decided that its ends do not show.
    const QRegularExpression middle("/tokens/[a-z_]+/([4-9]|1[0-9]|2[0-7])(/|$)");
    for (const auto& [path, value] : flat.items()) {
      if (middle.match(QString::fromStdString(path)).hasMatch()) continue;
      const Json::json_pointer pointer(path);
      for (const Json& replacement : bad) {
        if (value == replacement) continue;
        Json changed = sound;
        changed[pointer] = replacement;
        const auto error = errorOf(changed.dump());
        if (!error) {
          // Some values have several sound kinds: another text, an unknown number.
          ++accepted;
          continue;
        }
        ++refused;
        const QString said = QString::fromStdString(*error);
        QVERIFY2(said.startsWith("F.eyrie: ") && said.contains("expected ") && said.contains("found ") &&
                     !said.contains('\n') && !said.contains("json.exception"),
                 qPrintable(said));
      }
    }
    qInfo("%d damaged files refused, %d still sound", refused, accepted);
    QVERIFY(refused > 1000);
    QVERIFY(accepted < refused);
  }

  void namedDamage_data() {
    QTest::addColumn<QByteArray>("bytes");
    QTest::addColumn<QString>("expected");
    const Json sound = Json::parse(writeSessionFile(sample()));
    const auto row = [&](const char* name, const char* expected, const std::function<void(Json&)>& change) {
      Json changed = sound;
      change(changed);
      QTest::newRow(name) << QByteArray::fromStdString(changed.dump()) << QString::fromUtf8(expected);
    };
    row("newer version", "F.eyrie: version: expected version 1, found 2", [](Json& j) { j["version"] = 2; });
    row("version as text", "version: expected version 1, found \"1\"", [](Json& j) { j["version"] = "1"; });
    row("no version", "expected a version (1), found none", [](Json& j) { j.erase("version"); });
    row("other format", "expected a session of Eyrie", [](Json& j) { j["format"] = "chat"; });
    row("no messages", "messages: expected a value, found nothing", [](Json& j) { j.erase("messages"); });
    row("unknown key", "session: expected only known keys, found \"extra\"",
        [](Json& j) { j["session"]["extra"] = 1; });
    row("unknown role", "messages[1].role: expected one of system, user, model, text, found \"assistant\"",
        [](Json& j) { j["messages"][1]["role"] = "assistant"; });
    row("writing in a file",
        "messages[0].status: expected one of done, cancelled, interrupted, found \"writing\"",
        [](Json& j) { j["messages"][0]["status"] = "writing"; });
    row("parent that is not there", "messages[2].parent: expected 0 or the id of an earlier message, found 5",
        [](Json& j) { j["messages"][2]["parent"] = 5; });
    row("its own parent", "messages[2].parent: expected 0 or the id of an earlier message, found 12",
        [](Json& j) { j["messages"][2]["parent"] = 12; });
    row("circle", "messages[0].parent: expected 0 or the id of an earlier message, found 12",
        [](Json& j) { j["messages"][0]["parent"] = 12; });
    row("id twice", "messages[2].id: expected an id that no other message has, found 7",
        [](Json& j) { j["messages"][2]["id"] = 7; });
    row("leaf that is not there", "session.selected_leaf: expected 0 or the id of a message, found 4",
        [](Json& j) { j["session"]["selected_leaf"] = 4; });
    row("snapshot of nothing", "snapshot.message: expected the id of a message, found 1",
        [](Json& j) { j["snapshot"]["message"] = 1; });
    row("not base64", "snapshot.state: expected base64, found another character at place 1",
        [](Json& j) { j["snapshot"]["state"] = "A!AA"; });
    row("cut base64", "snapshot.state: expected base64 (whole groups of four), found 5 characters",
        [](Json& j) { j["snapshot"]["state"] = "AAAAA"; });
    row("padding inside", "snapshot.state: expected base64",
        [](Json& j) { j["snapshot"]["state"] = "AA==AAAA"; });
    row("columns of different length",
        "messages[1].tokens.rank: expected 30 entries as in token, found an array of 29",
        [](Json& j) { j["messages"][1]["tokens"]["rank"].erase(0); });
    row("token out of range",
        "messages[1].tokens.token[3]: expected a whole number from 0 to 2147483647, found",
        [](Json& j) { j["messages"][1]["tokens"]["token"][3] = 4294967296; });
    row("nine alternatives", "messages[1].tokens.top_tokens[2]: expected at most 8 entries",
        [](Json& j) { j["messages"][1]["tokens"]["top_tokens"][2] = {1, 2, 3, 4, 5, 6, 7, 8, 9}; });
    row("negative seed", "messages[0].seed: expected a whole number from 0",
        [](Json& j) { j["messages"][0]["seed"] = -5; });
    row("temperature below 0", "session.sampling.temperature: expected a number from 0",
        [](Json& j) { j["session"]["sampling"]["temperature"] = -0.1; });
    row("title of 2 MB", "session.title: expected at most 1048576 bytes, found a string of 2000000 bytes",
        [](Json& j) { j["session"]["title"] = std::string(2000000, 'x'); });
    const std::string text = sound.dump();
    const auto raw = [](const char* name, const char* expected, const std::string& bytes) {
      QTest::newRow(name) << QByteArray::fromStdString(bytes) << QString::fromUtf8(expected);
    };
    std::string wrongUtf8 = text;
    wrongUtf8[wrongUtf8.find("question")] = '\xC3';
    raw("text that is not UTF-8", "expected JSON in UTF-8", wrongUtf8);
    raw("lone surrogate", "expected JSON in UTF-8", R"({"format":"eyrie-session","version":1,"x":"\ud800"})");
    raw("key twice", "expected every key once, found \"version\" twice",
        R"({"format":"eyrie-session","version":1,"version":1})");
    raw("number too large", "expected JSON, found a number that is too large",
        R"({"format":"eyrie-session","version":1e999})");
    raw("deep nesting", "expected at most 8 levels", std::string(100000, '['));
    raw("many values", "expected at most", "");  // made in the test: 48 MB
    raw("nothing", "byte 1: expected JSON in UTF-8, found the end of the file", "");
    raw("a list", "expected an object, found an array of 0", "[]");
    raw("null", "expected an object, found null", "null");
    raw("zeros", "expected JSON", std::string(1000, '\0'));
    raw("a ZIP", "expected JSON", "PK\x03\x04 and more");
    raw("two documents", "expected JSON", text + text);
  }
  void namedDamage() {
    QFETCH(QByteArray, bytes);
    QFETCH(QString, expected);
    std::string input = bytes.toStdString();
    if (QByteArray(QTest::currentDataTag()) == "many values") {
      input = "[0";
      for (int i = 0; i < 24'000'100; ++i) input += ",0";
      input += "]";
    }
    const auto error = errorOf(input);
    QVERIFY2(error, "accepted");
    QVERIFY2(QString::fromStdString(*error).contains(expected), error->c_str());
  }

  void cutAnywhereIsRefusedAndImportsNothing() {
    const std::string text = writeSessionFile(sample());
    const auto store = SessionStore::open(at("cut.db"));
    int cuts = 0;
    for (std::size_t size = 0; size + 2 < text.size(); size += 1 + text.size() / 150) {
      write(at("cut.eyrie"), text.substr(0, size));
      QVERIFY_EXCEPTION_THROWN(store->importSession(at("cut.eyrie")), engine::Error);
      ++cuts;
    }
    QVERIFY(cuts > 100);
    // Any byte changed: refused, or a sound session; never half of one.
    for (std::size_t i = 0; i < text.size(); i += 1 + text.size() / 300) {
      std::string changed = text;
      changed[i] = char(changed[i] ^ 0x15);
      write(at("cut.eyrie"), changed);
      const std::size_t before = store->list().size();
      try {
        const SessionId id = store->importSession(at("cut.eyrie"));
        QCOMPARE(store->messages(id).size(), std::size_t(3));
      } catch (const engine::Error&) {
        QCOMPARE(store->list().size(), before);
      }
    }
    QCOMPARE(store->check(), std::vector<std::string>{});
  }

  void missingFileAndFolderAreNamed() {
    const auto store = SessionStore::open(":memory:");
    QVERIFY_EXCEPTION_THROWN(store->importSession(at("none.eyrie")), engine::Error);
    QVERIFY_EXCEPTION_THROWN(store->importSession(folder_.path().toStdString()), engine::Error);
    QVERIFY_EXCEPTION_THROWN(store->exportSession(5, at("x.eyrie")), engine::Error);
    QVERIFY(!fs::exists(at("x.eyrie")));
    const SessionId id = store->createSession({});
    QVERIFY_EXCEPTION_THROWN(store->exportSession(id, at("no/such/x.eyrie")), engine::Error);
  }
};

}  // namespace eyrie::sessions

QTEST_GUILESS_MAIN(eyrie::sessions::SessionFileTest)
#include "session_file_test.moc"
