// Databases that are damaged, newer, foreign, read-only or without space; migrations.
#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <QTemporaryDir>
#include <QtTest>
#include <csignal>
#include <fstream>

#include "engine/error.h"
#include "sessions/store/migrations.h"
#include "sessions/store/session_store.h"
#include "tests/sessions/records.h"

namespace eyrie::sessions {

namespace fs = std::filesystem;

class StoreRecoveryTest : public QObject {
  Q_OBJECT

 private:
  fs::path file() const { return fs::path(folder_->path().toStdString()) / "sessions.db"; }
  static std::string read(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static void write(const fs::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }
  // A store with some content, closed: a plain database file without a WAL.
  SessionId fill() {
    const auto store = SessionStore::open(file());
    Session session;
    session.title = "kept";
    Message message;
    message.session = store->createSession(session);
    message.status = MessageStatus::writing;
    for (int i = 0; i < 20; ++i) {
      const MessageId id = store->addMessage(message);
      store->appendTokens(id, std::string(5000, 'x'), testing::makeRecords(0, 50));
      store->finishMessage(id, MessageStatus::done, 0, 0);
    }
    return message.session;
  }
  static void usable(SessionStore& store) {
    Session session;
    session.title = "new";
    const SessionId id = store.createSession(session);
    QCOMPARE(store.session(id).title, std::string("new"));
  }

  std::unique_ptr<QTemporaryDir> folder_;

 private slots:
  void init() { folder_ = std::make_unique<QTemporaryDir>(); }

  void damagedIsMovedAside_data() {
    QTest::addColumn<QString>("damage");
    for (const char* damage :
         {"garbage", "short garbage", "text", "wrong magic", "cut in half", "cut to the header",
          "zeroed pages", "page of noise", "foreign database", "SQL gone"}) {
      QTest::newRow(damage) << damage;
    }
  }
  void damagedIsMovedAside() {
    QFETCH(QString, damage);
    fill();
    std::string bytes = read(file());
    QVERIFY(bytes.size() > 100'000);
    if (damage == "garbage") bytes = std::string(200'000, '\x5a');
    if (damage == "short garbage") bytes.assign(1, 'x');
    if (damage == "text")
      bytes = "SQLite format 4, or so it says, but there is more text than database in it";
    if (damage == "wrong magic") bytes[3] = '!';
    if (damage == "cut in half") bytes.resize(bytes.size() / 2);
    if (damage == "cut to the header") bytes.resize(100);
    if (damage == "zeroed pages") std::fill(bytes.begin() + 4096, bytes.begin() + 5 * 4096, '\0');
    if (damage == "page of noise") {
      for (std::size_t i = 4096; i < 8192; ++i) bytes[i] = char(i * 2654435761U >> 13);
    }
    if (damage == "SQL gone") std::fill(bytes.begin() + 100, bytes.begin() + 4096, '\0');
    if (damage == "foreign database") {
      fs::remove(file());
      SQLite::Database other(file().string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
      other.exec("CREATE TABLE notes(text)");
    } else {
      write(file(), bytes);
    }
    const std::string before = read(file());
    QVERIFY_EXCEPTION_THROWN(SessionStore::open(file()), engine::Error);

    OpenedStore opened = openOrRecover(file());
    QVERIFY(opened.store && !opened.store->inMemory());
    qInfo("%s", opened.notice.c_str());
    QVERIFY(opened.notice.find("sessions.db.damaged-1") != std::string::npos);
    QCOMPARE(opened.notice.find('\n'), std::string::npos);
    QCOMPARE(read(folder_->path().toStdString() + "/sessions.db.damaged-1"), before);
    usable(*opened.store);
    opened.store.reset();
    QVERIFY(openOrRecover(file()).notice.empty());
  }

  void secondDamageGetsTheNextNumber() {
    write(file(), "garbage one");
    openOrRecover(file());
    write(file(), "garbage two");
    openOrRecover(file());
    QCOMPARE(read(folder_->path().toStdString() + "/sessions.db.damaged-1"), std::string("garbage one"));
    QCOMPARE(read(folder_->path().toStdString() + "/sessions.db.damaged-2"), std::string("garbage two"));
  }

  void newerIsLeftUntouched() {
    fill();
    {
      SQLite::Database db(file().string(), SQLite::OPEN_READWRITE);
      db.exec("PRAGMA journal_mode = DELETE");
      db.exec("PRAGMA user_version = 999");
    }
    const std::string before = read(file());
    OpenedStore opened = openOrRecover(file());
    QVERIFY(opened.store->inMemory());
    QVERIFY2(opened.notice.find("999") != std::string::npos, opened.notice.c_str());
    usable(*opened.store);
    opened.store.reset();
    QCOMPARE(read(file()), before);
    QVERIFY(!fs::exists(file().string() + ".damaged-1"));
  }

  void emptyFileIsANewStore() {
    write(file(), "");
    const OpenedStore opened = openOrRecover(file());
    QCOMPARE(opened.notice, std::string());
    usable(*opened.store);
  }

  void impossibleFolderGoesOnInMemory() {
    write(folder_->path().toStdString() + "/plain", "a file");
    const OpenedStore opened = openOrRecover(folder_->path().toStdString() + "/plain/sessions.db");
    QVERIFY(opened.store->inMemory());
    QVERIFY(opened.notice.find("memory") != std::string::npos);
    usable(*opened.store);
  }

  void folderInPlaceOfTheFileGoesOnInMemory() {
    fs::create_directory(file());
    const OpenedStore opened = openOrRecover(file());
    QVERIFY(opened.store->inMemory());
    usable(*opened.store);
    QVERIFY(fs::is_directory(file()));
  }

  void readOnlyIsShownFromMemory() {
    const SessionId id = fill();
    fs::permissions(file(), fs::perms(0444));
    fs::permissions(folder_->path().toStdString(), fs::perms(0555));
    // Permissions do not bind root: become nobody for the while.
    const bool root = ::geteuid() == 0;
    if (root) QCOMPARE(::seteuid(65534), 0);
    OpenedStore opened = openOrRecover(file());
    if (root) QCOMPARE(::seteuid(0), 0);
    fs::permissions(folder_->path().toStdString(), fs::perms(0755));
    qInfo("%s", opened.notice.c_str());
    QVERIFY(opened.store->inMemory());
    QVERIFY(!opened.notice.empty());
    QCOMPARE(opened.store->messages(id).size(), std::size_t(20));
    usable(*opened.store);
  }

  void fullDiskLaterIsAnErrorAndReadingGoesOn() {
    const SessionId id = fill();
    const auto store = SessionStore::open(file());
    Message message;
    message.session = id;
    message.status = MessageStatus::writing;
    const MessageId writing = store->addMessage(message);
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    QCOMPARE(::getrlimit(RLIMIT_FSIZE, &before), 0);
    rlimit small = before;
    small.rlim_cur = 64 << 10;
    QCOMPARE(::setrlimit(RLIMIT_FSIZE, &small), 0);
    std::string said;
    engine::ErrorCode code{};
    std::int64_t stored = 0;
    try {
      for (int i = 0; i < 1000; ++i) {
        store->appendTokens(writing, std::string(1000, 'y'), testing::makeRecords(stored, stored + 50));
        stored += 50;
      }
    } catch (const engine::Error& error) {
      said = error.what();
      code = error.code();
    }
    const bool readable = store->messages(id).size() == 21 && store->message(writing).tokens == stored;
    QCOMPARE(::setrlimit(RLIMIT_FSIZE, &before), 0);
    qInfo("%s", said.c_str());
    QCOMPARE(code, engine::ErrorCode::ioFailed);
    QVERIFY(said.find("sessions.db") != std::string::npos);
    QVERIFY(readable);
    // With space again everything goes on.
    store->appendTokens(writing, "z", testing::makeRecords(stored, stored + 1));
    store->finishMessage(writing, MessageStatus::done, 0, 0);
    QCOMPARE(store->check(), std::vector<std::string>{});
  }

  void checkNamesWhatIsWrong() {
    const SessionId id = fill();
    {
      SQLite::Database db(file().string(), SQLite::OPEN_READWRITE);
      db.exec("UPDATE message SET tokens = 7 WHERE id = 3");
      db.exec("UPDATE token_batch SET data = x'010800' WHERE message = 4");
      db.exec("UPDATE session SET selected_leaf = 777");
      db.exec("UPDATE message SET parent = 9 WHERE id = 5");
      db.exec("INSERT INTO message_words(message_words, rowid, text) VALUES ('delete', 6, 'xxxx')");
    }
    const auto store = SessionStore::open(file());
    const auto problems = store->check();
    const auto mentions = [&](const std::string& words) {
      return std::any_of(problems.begin(), problems.end(),
                         [&](const auto& p) { return p.find(words) != std::string::npos; });
    };
    for (const auto& problem : problems) qInfo("%s", problem.c_str());
    QVERIFY(mentions("Message 3 should have 7 tokens and has 50"));
    QVERIFY(mentions("Tokens of message 4"));
    QVERIFY(mentions("shows message 777"));
    QVERIFY(mentions("Message 5 answers message 9"));
    QVERIFY(mentions("message_words"));
    QCOMPARE(store->messages(id).size(), std::size_t(20));
    QVERIFY_EXCEPTION_THROWN(store->tokens(4), engine::Error);
  }

  void everyOlderVersionIsMigrated() {
    // A database made with the first n steps must end where a new one does.
    const auto schemaOf = [](SQLite::Database& db) {
      std::string schema;
      SQLite::Statement rows(db, "SELECT ifnull(sql, '') FROM sqlite_master ORDER BY name");
      while (rows.executeStep()) schema.append(rows.getColumn(0).getString()).append(1, '\n');
      return schema;
    };
    SQLite::Database fresh(":memory:", SQLite::OPEN_READWRITE);
    migrate(fresh, ":memory:");
    for (std::size_t n = 0; n <= migrationSteps().size(); ++n) {
      SQLite::Database old(":memory:", SQLite::OPEN_READWRITE);
      migrate(old, ":memory:", {migrationSteps().begin(), migrationSteps().begin() + std::ptrdiff_t(n)});
      migrate(old, ":memory:");
      QCOMPARE(old.execAndGet("PRAGMA user_version").getInt64(), latestVersion());
      QCOMPARE(schemaOf(old), schemaOf(fresh));
    }
  }

  void migrationKeepsDataAndRunsOnce() {
    SQLite::Database db(":memory:", SQLite::OPEN_READWRITE);
    std::vector<std::string_view> steps = {"CREATE TABLE t(a); INSERT INTO t VALUES (1);"};
    migrate(db, "test.db", steps);
    steps.push_back("ALTER TABLE t ADD COLUMN b; UPDATE t SET b = a + 1;");
    migrate(db, "test.db", steps);
    migrate(db, "test.db", steps);
    QCOMPARE(db.execAndGet("SELECT a * 10 + b FROM t").getInt(), 12);
    QCOMPARE(db.execAndGet("PRAGMA user_version").getInt(), 2);
  }

  void failedMigrationChangesNothing() {
    SQLite::Database db(":memory:", SQLite::OPEN_READWRITE);
    std::vector<std::string_view> steps = {"CREATE TABLE t(a);"};
    migrate(db, "test.db", steps);
    steps.push_back("INSERT INTO t VALUES (1); INSERT INTO missing VALUES (1);");
    QVERIFY_EXCEPTION_THROWN(migrate(db, "test.db", steps), SQLite::Exception);
    QCOMPARE(db.execAndGet("SELECT count(*) FROM t").getInt(), 0);
    QCOMPARE(db.execAndGet("PRAGMA user_version").getInt(), 1);
  }

  void defaultPathFollowsXdg() {
    qputenv("XDG_DATA_HOME", "/somewhere/data");
    QCOMPARE(defaultStorePath(), fs::path("/somewhere/data/eyrie/sessions.db"));
    qputenv("XDG_DATA_HOME", "relative");
    qputenv("HOME", "/home/someone");
    QCOMPARE(defaultStorePath(), fs::path("/home/someone/.local/share/eyrie/sessions.db"));
  }
};

}  // namespace eyrie::sessions

QTEST_GUILESS_MAIN(eyrie::sessions::StoreRecoveryTest)
#include "store_recovery_test.moc"
