#include "app/gui/session_service.h"

#include <spdlog/spdlog.h>

#include <QFile>
#include <QSemaphore>

namespace eyrie::app {

namespace {

std::vector<ui::SessionEntry> entriesOf(const std::vector<sessions::SessionSummary>& summaries) {
  std::vector<ui::SessionEntry> entries;
  for (const sessions::SessionSummary& summary : summaries) {
    ui::SessionEntry entry;
    entry.id = summary.id;
    entry.title = QString::fromStdString(summary.title);
    for (const std::string& model : summary.models) entry.models << QString::fromStdString(model);
    entry.messages = summary.messages;
    entry.tokens = summary.tokens;
    entry.updated = QDateTime::fromMSecsSinceEpoch(summary.updated);
    entry.snippet = QString::fromStdString(summary.snippet);
    entries.push_back(entry);
  }
  return entries;
}

}  // namespace

SessionService::SessionService(QObject* parent) : QObject(parent), worker_(new QObject) {
  thread_.setObjectName(QStringLiteral("sessions"));
  worker_->moveToThread(&thread_);
  connect(&thread_, &QThread::finished, worker_, &QObject::deleteLater);
  thread_.start();
}

SessionService::~SessionService() {
  finish(800);
  thread_.quit();
  if (thread_.wait(200)) return;
  // A disk that hangs must not hang the program; every commit so far is on it.
  spdlog::warn("the session store did not finish in time");
  thread_.terminate();
  thread_.wait(100);
}

bool SessionService::finish(int milliseconds) {
  auto done = std::make_shared<QSemaphore>();
  QMetaObject::invokeMethod(
      worker_, [done] { done->release(); }, Qt::QueuedConnection);
  return done->tryAcquire(1, milliseconds);
}

void SessionService::answer(std::function<void()> onGuiThread) {
  QMetaObject::invokeMethod(this, std::move(onGuiThread), Qt::QueuedConnection);
}

void SessionService::post(Job job, std::function<void(QString)> onError) {
  QMetaObject::invokeMethod(
      worker_,
      [this, job = std::move(job), onError = std::move(onError)] {
        QString text;
        try {
          if (store_) return job(*store_);
          text = tr("No session store is open.");
        } catch (const std::exception& error) {
          text = QString::fromUtf8(error.what());
        }
        spdlog::error("session store: {}", text.toStdString());
        answer([this, text, onError] { onError ? onError(text) : emit problem(text); });
      },
      Qt::QueuedConnection);
}

void SessionService::writeFailed(const std::string& text) {
  spdlog::error("session store: {}", text);
  if (failing_) return;
  failing_ = true;
  const QString said = tr("%1. The conversation goes on in memory and is saved as soon as that works again.")
                           .arg(QString::fromStdString(text));
  answer([this, said] { emit problem(said); });
}

// Nobody waits for the answer of these: what fails is said once, however often it fails.
void SessionService::write(Job job) {
  post([this, job = std::move(job)](sessions::SessionStore& store) {
    try {
      pending_.write(store);
      job(store);
    } catch (const std::exception& error) {
      writeFailed(error.what());
    }
  });
}

void SessionService::open(const QString& file) {
  file_ = file;
  QMetaObject::invokeMethod(
      worker_,
      [this, file] {
        try {
          sessions::OpenedStore opened = sessions::openOrRecover(file.toStdString());
          store_ = std::move(opened.store);
          const QString text = QString::fromStdString(opened.notice);
          if (!text.isEmpty()) answer([this, text] { emit notice(text); });
        } catch (const std::exception& error) {
          const QString text = QString::fromUtf8(error.what());
          answer([this, text] { emit notice(text); });
          store_ = sessions::SessionStore::open(":memory:");
        }
      },
      Qt::QueuedConnection);
  refresh();
}

void SessionService::refresh(const QString& words) {
  post([this, words](sessions::SessionStore& store) {
    const auto entries = entriesOf(words.isEmpty() ? store.list() : store.search(words.toStdString()));
    answer([this, entries] { emit listed(entries); });
  });
}

void SessionService::commitNow(sessions::SessionStore& store, const sessions::Session& session,
                               const std::vector<NewMessage>& messages, sessions::SessionId& id,
                               std::vector<sessions::MessageId>& ids) {
  pending_.write(store);
  const bool isNew = id <= 0;
  if (isNew) id = store.createSession(session);
  for (const NewMessage& entry : messages) {
    sessions::Message message = entry.message;
    message.session = id;
    if (entry.follows >= 0) message.parent = ids[std::size_t(entry.follows)];
    const sessions::MessageId stored = store.addMessage(message);
    ids.push_back(stored);
    if (!entry.tokens.empty()) store.appendTokens(stored, {}, entry.tokens);
  }
  if (isNew || ids.empty()) return;
  sessions::Session now = session;
  now.selectedLeaf = ids.back();
  store.updateSession(now);
}

void SessionService::commit(const sessions::Session& session, std::vector<NewMessage> messages,
                            std::function<void(sessions::SessionId, std::vector<sessions::MessageId>)> then) {
  const std::size_t count = messages.size();
  const auto stored = [this, session, messages = std::move(messages), then](sessions::SessionStore& store) {
    sessions::SessionId id = session.id;
    std::vector<sessions::MessageId> ids;
    try {
      commitNow(store, session, messages, id, ids);
      if (failing_) answer([this] { emit recovered(tr("Saving works again; this conversation is saved.")); });
      failing_ = false;
    } catch (const std::exception& error) {
      writeFailed(error.what());
      if (id == 0) id = --memoryId_;
      while (ids.size() < messages.size()) ids.push_back(--memoryId_);
    }
    answer([then, id, ids] { then(id, ids); });
  };
  // Without a store at all the conversation goes on just the same.
  post(stored, [this, then, count](const QString& text) {
    emit problem(text);
    then(-1, std::vector<sessions::MessageId>(count, -1));
  });
}

void SessionService::appendTokens(sessions::MessageId id, const QString& text,
                                  std::vector<engine::TokenRecord> tokens) {
  if (id <= 0) return;
  post([this, id, text = text.toStdString(), tokens = std::move(tokens)](sessions::SessionStore& store) {
    try {
      pending_.append(id, text, tokens);
      pending_.write(store);
    } catch (const std::exception& error) {
      writeFailed(error.what());
    }
  });
}

void SessionService::finishMessage(sessions::MessageId id, sessions::MessageStatus status, std::uint64_t seed,
                                   double speed) {
  if (id <= 0) return;
  post([=, this](sessions::SessionStore& store) {
    try {
      pending_.finish(id, status, seed, speed);
      pending_.write(store);
    } catch (const std::exception& error) {
      writeFailed(error.what());
    }
  });
}

void SessionService::saveSnapshot(sessions::MessageId leaf,
                                  std::shared_ptr<const engine::Snapshot> snapshot) {
  if (leaf <= 0 || !snapshot) return;
  write([leaf, snapshot](sessions::SessionStore& store) { store.saveSnapshot(leaf, *snapshot); });
}

void SessionService::updateSession(const sessions::Session& session) {
  if (session.id <= 0) return;
  write([session](sessions::SessionStore& store) { store.updateSession(session); });
}

void SessionService::rename(sessions::SessionId id, const QString& title) {
  post([id, title](sessions::SessionStore& store) {
    sessions::Session session = store.session(id);
    session.title = title.toStdString();
    store.updateSession(session);
  });
}

void SessionService::remove(sessions::SessionId id) {
  post([id](sessions::SessionStore& store) { store.deleteSession(id); });
}

void SessionService::undelete(sessions::SessionId id) {
  post([id](sessions::SessionStore& store) { store.undeleteSession(id); });
}

void SessionService::load(sessions::SessionId id, std::function<void(LoadedSession)> then) {
  post(
      [this, id, then](sessions::SessionStore& store) {
        auto loaded = std::make_shared<LoadedSession>();
        loaded->session = store.session(id);
        loaded->messages = store.messages(id);
        for (const sessions::Message& message : loaded->messages) {
          loaded->tokens.push_back(store.tokens(message.id));
          try {
            if (auto snapshot = store.snapshot(message.id))
              loaded->snapshots.push_back(std::make_shared<const engine::Snapshot>(std::move(*snapshot)));
          } catch (const std::exception& error) {
            // A damaged snapshot costs a re-reading, nothing more.
            spdlog::warn("snapshot of session {}: {}", id, error.what());
          }
        }
        answer([then, loaded] { then(std::move(*loaded)); });
      },
      [then](const QString& text) {
        LoadedSession none;
        none.error = text;
        then(std::move(none));
      });
}

void SessionService::exportSession(sessions::SessionId id, const QString& file,
                                   std::function<void(QString)> then) {
  post(
      [=, this](sessions::SessionStore& store) {
        store.exportSession(id, file.toStdString());
        answer([then] { then({}); });
      },
      then);
}

void SessionService::importSession(const QString& file,
                                   std::function<void(sessions::SessionId, QString)> then) {
  post(
      [=, this](sessions::SessionStore& store) {
        const sessions::SessionId id = store.importSession(file.toStdString());
        answer([then, id] { then(id, {}); });
      },
      [then](const QString& text) { then(0, text); });
}

void SessionService::backup(const QString& file, std::function<void(QString)> then) {
  post(
      [=, this](sessions::SessionStore& store) {
        store.backup(file.toStdString());
        answer([then] { then({}); });
      },
      then);
}

void SessionService::wipe(std::function<void(QString)> then) {
  post(
      [=, this](sessions::SessionStore&) {
        pending_.clear();
        store_.reset();
        for (const char* suffix : {"", "-wal", "-shm"}) QFile::remove(file_ + QLatin1String(suffix));
        store_ = std::move(sessions::openOrRecover(file_.toStdString()).store);
        answer([this, then] {
          then({});
          refresh();
        });
      },
      then);
}

}  // namespace eyrie::app
