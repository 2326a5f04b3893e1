#include <QTemporaryDir>
#include <QtTest>
#include <algorithm>
#include <ctime>
#include <optional>
#include <thread>

#include "engine/error.h"
#include "sessions/store/session_store.h"
#include "tests/sessions/records.h"

namespace eyrie::sessions {

using testing::makeRecords;
using testing::same;

class StoreTest : public QObject {
  Q_OBJECT

 private:
  std::filesystem::path file() const { return folder_.filePath("deep/er/sessions.db").toStdString(); }
  static Message makeMessage(SessionId session, MessageId parent, engine::Role role, const char* text,
                             MessageStatus status = MessageStatus::done) {
    Message m;
    m.session = session;
    m.parent = parent;
    m.role = role;
    m.text = text;
    m.status = status;
    if (role == engine::Role::model) m.model = "griffin";
    return m;
  }
  SessionId makeSession(SessionStore& store, const char* title) {
    Session s;
    s.title = title;
    return store.createSession(s);
  }
  SessionId makeTalk(SessionStore& store, const char* title, const char* text) {
    const SessionId id = makeSession(store, title);
    store.addMessage(makeMessage(id, 0, engine::Role::user, text));
    return id;
  }
  static std::vector<SessionId> idsOf(const std::vector<SessionSummary>& list) {
    std::vector<SessionId> ids;
    for (const auto& summary : list) ids.push_back(summary.id);
    return ids;
  }
  template <class Work>
  static std::optional<engine::ErrorCode> codeOf(Work&& work) {
    try {
      work();
    } catch (const engine::Error& error) {
      return error.code();
    }
    return std::nullopt;
  }

  QTemporaryDir folder_;

 private slots:
  void init() { QVERIFY(QDir(folder_.path()).removeRecursively() && QDir().mkpath(folder_.path())); }

  void sessionComesBackWithEveryField() {
    Session s;
    s.title = "Ø 中文 \"quoted\"";
    s.systemPrompt = "be brief";
    s.model = "org/name";
    s.sampling = {0.7F, 40, 0.9F, 0.05F, 1.1F, 0xFFFFFFFFFFFFFFFEULL};
    s.seedFixed = true;
    s.maxTokens = 77;
    const SessionId id = SessionStore::open(file())->createSession(s);
    const Session back = SessionStore::open(file())->session(id);
    QCOMPARE(back.id, id);
    QCOMPARE(back.title, s.title);
    QCOMPARE(back.systemPrompt, s.systemPrompt);
    QCOMPARE(back.model, s.model);
    QCOMPARE(back.sampling.temperature, 0.7F);
    QCOMPARE(back.sampling.topK, 40);
    QCOMPARE(back.sampling.topP, 0.9F);
    QCOMPARE(back.sampling.minP, 0.05F);
    QCOMPARE(back.sampling.repetitionPenalty, 1.1F);
    QCOMPARE(back.sampling.seed, s.sampling.seed);
    QVERIFY(back.seedFixed);
    QCOMPARE(back.maxTokens, 77);
    QVERIFY(back.created > 1'500'000'000'000);
  }

  void updateKeepsWhatIsGiven() {
    const auto store = SessionStore::open(file());
    Session s = store->session(makeSession(*store, "before"));
    const MessageId m = store->addMessage(makeMessage(s.id, 0, engine::Role::user, "hello"));
    s.title = "after";
    s.selectedLeaf = m;
    store->updateSession(s);
    QCOMPARE(store->session(s.id).title, std::string("after"));
    QCOMPARE(store->session(s.id).selectedLeaf, m);
    s.selectedLeaf = m + 1;
    QCOMPARE(codeOf([&] { store->updateSession(s); }), engine::ErrorCode::notFound);
  }

  void treeOfMessages() {
    const auto store = SessionStore::open(file());
    const SessionId s = makeSession(*store, "tree");
    const MessageId root = store->addMessage(makeMessage(s, 0, engine::Role::user, "question"));
    const MessageId first = store->addMessage(makeMessage(s, root, engine::Role::model, "one"));
    const MessageId second = store->addMessage(makeMessage(s, root, engine::Role::model, "two"));
    const MessageId next = store->addMessage(makeMessage(s, second, engine::Role::user, "more"));
    QCOMPARE(store->session(s).selectedLeaf, next);
    const auto siblings = store->children(s, root);
    QCOMPARE(siblings.size(), std::size_t(2));
    QCOMPARE(siblings[0].id, first);
    QCOMPARE(siblings[1].id, second);
    QCOMPARE(store->children(s, 0).size(), std::size_t(1));
    const auto path = store->path(next);
    QCOMPARE(path.size(), std::size_t(3));
    QCOMPARE(path[0].id, root);
    QCOMPARE(path[1].text, std::string("two"));
    QCOMPARE(path[2].parent, second);
    QCOMPARE(store->messages(s).size(), std::size_t(4));
    const SessionId other = makeSession(*store, "other");
    QCOMPARE(codeOf([&] { store->addMessage(makeMessage(other, root, engine::Role::user, "x")); }),
             engine::ErrorCode::notFound);
    QCOMPARE(codeOf([&] { store->addMessage(makeMessage(999, 0, engine::Role::user, "x")); }),
             engine::ErrorCode::notFound);
    QVERIFY(store->check().empty());
  }

  void streamingAddsTextAndTokens() {
    const auto store = SessionStore::open(file());
    const SessionId s = makeSession(*store, "stream");
    const MessageId m = store->addMessage(makeMessage(s, 0, engine::Role::model, "", MessageStatus::writing));
    store->appendTokens(m, "Half", makeRecords(0, 3));
    store->appendTokens(m, "", {});
    store->appendTokens(m, " a sent", makeRecords(3, 10));
    QCOMPARE(store->message(m).text, std::string("Half a sent"));
    QCOMPARE(store->message(m).status, MessageStatus::writing);
    QCOMPARE(store->message(m).tokens, std::int64_t(10));
    QVERIFY(same(store->tokens(m), makeRecords(0, 10)));
    store->finishMessage(m, MessageStatus::cancelled, 42, 12.5);
    const Message done = SessionStore::open(file())->message(m);
    QCOMPARE(done.text, std::string("Half a sent"));
    QCOMPARE(done.status, MessageStatus::cancelled);
    QCOMPARE(done.seed, std::uint64_t(42));
    QCOMPARE(done.tokensPerSecond, 12.5);
    QVERIFY(same(store->tokens(m), makeRecords(0, 10)));
    QCOMPARE(codeOf([&] { store->appendTokens(m, "more", {}); }), engine::ErrorCode::badArgument);
    store->appendTokens(m, "", makeRecords(10, 11));
    QCOMPARE(store->message(m).tokens, std::int64_t(11));
    QVERIFY(store->check().empty());
  }

  void appendingIsCheapHoweverLongTheMessage() {
    const auto store = SessionStore::open(file());
    const SessionId s = makeSession(*store, "long");
    const MessageId m = store->addMessage(makeMessage(s, 0, engine::Role::model, "", MessageStatus::writing));
    const auto timed = [&](std::int64_t from) {
      const std::clock_t start = std::clock();  // of the processor, whatever else the machine does
      for (std::int64_t i = 0; i < 100; ++i) {
        store->appendTokens(m, std::string(60, 'x'), makeRecords(from + 10 * i, from + 10 * (i + 1)));
      }
      return double(std::clock() - start) * 1e3 / CLOCKS_PER_SEC / 100;
    };
    const double early = timed(0);
    for (std::int64_t i = 0; i < 180; ++i) {
      store->appendTokens(m, std::string(600, 'x'), makeRecords(1000 + 100 * i, 1000 + 100 * (i + 1)));
    }
    const double late = timed(19000);
    qInfo("append of 10 tokens: %.3f ms at the start, %.3f ms after 19,000", early, late);
    QVERIFY2(late < 10 * early + 20, "appending grows with the message");
    QCOMPARE(store->tokens(m).size(), std::size_t(20000));
    store->finishMessage(m, MessageStatus::done, 1, 1);
    QCOMPARE(store->message(m).text.size(), std::size_t(200 * 60 + 180 * 600));
  }

  void deleteIsUndoneUntilPurged() {
    const auto store = SessionStore::open(file());
    const SessionId keep = makeTalk(*store, "keep", "apple");
    const SessionId drop = makeTalk(*store, "drop", "apple tree");
    const MessageId leaf = store->session(drop).selectedLeaf;
    store->addMessage(makeMessage(drop, leaf, engine::Role::model, "answer"));
    store->deleteSession(drop);
    QCOMPARE(idsOf(store->list()), std::vector<SessionId>{keep});
    QCOMPARE(idsOf(store->search("apple")), std::vector<SessionId>{keep});
    QCOMPARE(codeOf([&] { store->session(drop); }), engine::ErrorCode::notFound);
    store->undeleteSession(drop);
    QCOMPARE(store->list().size(), std::size_t(2));
    QCOMPARE(store->messages(drop).size(), std::size_t(2));
    store->deleteSession(drop);
    store->purgeDeleted();
    QCOMPARE(codeOf([&] { store->undeleteSession(drop); }), engine::ErrorCode::notFound);
    QCOMPARE(codeOf([&] { store->message(leaf); }), engine::ErrorCode::notFound);
    QCOMPARE(store->check(), std::vector<std::string>{});
  }

  void listCountsAndNamesModels() {
    const auto store = SessionStore::open(file());
    const SessionId s = makeTalk(*store, "counts", "hi");
    const MessageId root = store->session(s).selectedLeaf;
    Message reply = makeMessage(s, root, engine::Role::model, "", MessageStatus::writing);
    const MessageId a = store->addMessage(reply);
    store->appendTokens(a, "x", makeRecords(0, 5));
    reply.model = "hawk";
    const MessageId b = store->addMessage(reply);
    store->appendTokens(b, "y", makeRecords(0, 2));
    const auto list = store->list();
    QCOMPARE(list.size(), std::size_t(1));
    QCOMPARE(list[0].messages, std::int64_t(3));
    QCOMPARE(list[0].tokens, std::int64_t(7));
    QCOMPARE(list[0].models, (std::vector<std::string>{"griffin", "hawk"}));
  }

  void search_data() {
    QTest::addColumn<QString>("words");
    QTest::addColumn<int>("expected");  // bit n: session n
    QTest::newRow("Spanish typed without accents") << "compresion" << 1;
    QTest::newRow("Spanish typed with accents") << "compresión" << 1;
    QTest::newRow("other case") << "COMPRESIÓN" << 1;
    QTest::newRow("beginning of a word") << "compre" << 1;
    QTest::newRow("middle of a word") << "mpresi" << 1;
    QTest::newRow("Chinese, three characters inside a sentence") << "循环神" << 2;
    QTest::newRow("Chinese, two characters") << "门控" << 2;
    QTest::newRow("Chinese, one character") << "控" << 2;
    QTest::newRow("Chinese that is not there") << "猫" << 0;
    QTest::newRow("two words in different messages") << "gate window" << 4;
    QTest::newRow("a word of the title") << "Zürich" << 4;
    QTest::newRow("the title without its accent") << "zurich" << 4;
    QTest::newRow("title and text") << "zurich gate" << 4;
    QTest::newRow("one word of two is missing") << "gate elephant" << 0;
    QTest::newRow("query syntax is text") << "gate AND NOT" << 0;
    QTest::newRow("quotes are text") << "\"gate" << 4;
    QTest::newRow("stars are text") << "*" << 0;
    QTest::newRow("percent is text") << "%" << 8;
    QTest::newRow("underscore is text") << "_" << 0;
    QTest::newRow("punctuation") << "a[0]" << 8;
    QTest::newRow("column syntax is text") << "text:gate" << 0;
  }
  void search() {
    QFETCH(QString, words);
    QFETCH(int, expected);
    const auto store = SessionStore::open(":memory:");
    const std::vector<SessionId> ids = {
        makeTalk(*store, "uno", "La compresión del estado es exacta."),
        makeTalk(*store, "er", "这个循环神经网络的门控机制很简单。"),
        makeTalk(*store, "Gespräch aus Zürich", "the gate opens"),
        makeTalk(*store, "code", "100 % of a[0] = b"),
    };
    store->addMessage(
        makeMessage(ids[2], store->session(ids[2]).selectedLeaf, engine::Role::model, "through the window"));
    int found = 0;
    for (const auto& summary : store->search(words.toStdString())) {
      const auto at = std::find(ids.begin(), ids.end(), summary.id);
      QVERIFY(at != ids.end());
      found |= 1 << (at - ids.begin());
      QVERIFY2(summary.snippet.find('\x01') != std::string::npos &&
                   summary.snippet.find('\x02') != std::string::npos,
               summary.snippet.c_str());
    }
    QCOMPARE(found, expected);
  }

  void searchFollowsChanges() {
    const auto store = SessionStore::open(":memory:");
    const SessionId s = makeSession(*store, "old title");
    const MessageId m = store->addMessage(makeMessage(s, 0, engine::Role::model, "", MessageStatus::writing));
    store->appendTokens(m, "unfinished elephant", {});
    QVERIFY(store->search("elephant").empty());
    store->finishMessage(m, MessageStatus::done, 0, 0);
    QCOMPARE(store->search("elephant").size(), std::size_t(1));
    QCOMPARE(store->search("elephant")[0].snippet, std::string("unfinished \x01"
                                                               "elephant\x02"));
    Session changed = store->session(s);
    changed.title = "new name";
    store->updateSession(changed);
    QVERIFY(store->search("title").empty());
    QCOMPARE(store->search("name").size(), std::size_t(1));
    QCOMPARE(store->search("  ").size(), std::size_t(1));
    QCOMPARE(store->check(), std::vector<std::string>{});
  }

  void snapshotsComeBackAndOldOnesGo() {
    const auto store = SessionStore::open(file());
    const SessionId s = makeSession(*store, "snapshots");
    std::vector<MessageId> ids;
    for (int i = 0; i < 6; ++i) {
      ids.push_back(store->addMessage(makeMessage(s, i == 0 ? 0 : ids.back(), engine::Role::user, "x")));
      engine::Snapshot snapshot;
      snapshot.tokens = {1, 2, 3 + i};
      snapshot.state.assign(1000, std::byte(i));
      snapshot.fingerprint = "abc";
      store->saveSnapshot(ids.back(), snapshot);
      store->saveSnapshot(ids.back(), snapshot);
    }
    for (int i = 0; i < 3; ++i) QVERIFY(!store->snapshot(ids[std::size_t(i)]));
    for (int i = 3; i < 6; ++i) {
      const auto back = store->snapshot(ids[std::size_t(i)]);
      QVERIFY(back);
      QCOMPARE(back->tokens, (std::vector<std::int32_t>{1, 2, 3 + i}));
      QCOMPARE(back->state, std::vector<std::byte>(1000, std::byte(i)));
      QCOMPARE(back->fingerprint, std::string("abc"));
    }
    engine::Snapshot empty;
    store->saveSnapshot(ids[0], empty);
    QVERIFY(store->snapshot(ids[0]) && store->snapshot(ids[0])->state.empty());
  }

  void twoConnectionsShareAFile() {
    const auto window = SessionStore::open(file());
    const auto cli = SessionStore::open(file());
    const SessionId s = makeSession(*window, "shared");
    const MessageId a =
        window->addMessage(makeMessage(s, 0, engine::Role::model, "", MessageStatus::writing));
    const MessageId b = cli->addMessage(makeMessage(s, 0, engine::Role::model, "", MessageStatus::writing));
    for (int i = 0; i < 50; ++i) {
      window->appendTokens(a, "a", makeRecords(i, i + 1));
      cli->appendTokens(b, "b", makeRecords(i, i + 1));
    }
    // A third one that opens meanwhile leaves alone what the living write.
    QCOMPARE(SessionStore::open(file())->message(a).status, MessageStatus::writing);
    QCOMPARE(SessionStore::open(file())->message(b).status, MessageStatus::writing);
    window->finishMessage(a, MessageStatus::done, 0, 0);
    QCOMPARE(cli->message(a).text, std::string(50, 'a'));
    QCOMPARE(window->message(b).text, std::string(50, 'b'));
    QCOMPARE(window->tokens(b).size(), std::size_t(50));
  }

  void writingByAClosedStoreIsInterrupted() {
    MessageId m = 0;
    {
      const auto store = SessionStore::open(file());
      const SessionId s = makeSession(*store, "gone");
      m = store->addMessage(makeMessage(s, 0, engine::Role::model, "so ", MessageStatus::writing));
      store->appendTokens(m, "far", makeRecords(0, 4));
    }
    const auto store = SessionStore::open(file());
    QCOMPARE(store->message(m).status, MessageStatus::interrupted);
    QCOMPARE(store->message(m).text, std::string("so far"));
    QCOMPARE(store->tokens(m).size(), std::size_t(4));
    QCOMPARE(store->search("far").size(), std::size_t(1));
    QCOMPARE(store->check(), std::vector<std::string>{});
  }

  void threadsWithTheirOwnStoresDoNotCollide() {
    const SessionId s = makeSession(*SessionStore::open(file()), "threads");
    const auto work = [&] {
      const auto store = SessionStore::open(file());
      const MessageId m =
          store->addMessage(makeMessage(s, 0, engine::Role::model, "", MessageStatus::writing));
      for (int i = 0; i < 40; ++i) store->appendTokens(m, "x", makeRecords(i, i + 1));
      store->finishMessage(m, MessageStatus::done, 0, 0);
    };
    std::thread one(work);
    std::thread two(work);
    one.join();
    two.join();
    const auto store = SessionStore::open(file());
    QCOMPARE(store->messages(s).size(), std::size_t(2));
    QCOMPARE(store->list()[0].tokens, std::int64_t(80));
    QCOMPARE(store->check(), std::vector<std::string>{});
  }

  void backupIsAStore() {
    const auto store = SessionStore::open(file());
    const SessionId s = makeTalk(*store, "backed up", "text");
    const std::filesystem::path copy = folder_.filePath("copy.db").toStdString();
    store->backup(copy);
    makeSession(*store, "later");
    store->backup(copy);
    const auto back = SessionStore::open(copy);
    QCOMPARE(back->list().size(), std::size_t(2));
    QCOMPARE(back->messages(s)[0].text, std::string("text"));
    QCOMPARE(back->check(), std::vector<std::string>{});
    QCOMPARE(codeOf([&] { store->backup(folder_.filePath("none/copy.db").toStdString()); }),
             engine::ErrorCode::ioFailed);
  }

  void memoryStoreLeavesNoFile() {
    const auto store = SessionStore::open(":memory:");
    QVERIFY(store->inMemory());
    makeTalk(*store, "gone", "text");
    QVERIFY(!std::filesystem::exists(":memory:") && !std::filesystem::exists(":memory:.writers"));
  }
};

}  // namespace eyrie::sessions

QTEST_GUILESS_MAIN(eyrie::sessions::StoreTest)
#include "store_test.moc"
