// The session store on a thread of its own. Calls return at once; answers come back on the GUI thread. When
// saving fails it is said once and the conversation goes on in memory.
#pragma once

#include <QObject>
#include <QString>
#include <QThread>
#include <functional>
#include <memory>
#include <vector>

#include "sessions/store/session_store.h"
#include "ui/models/session_list_model.h"

namespace eyrie::app {

struct LoadedSession {
  sessions::Session session;
  std::vector<sessions::Message> messages;               // the whole tree, by id
  std::vector<std::vector<engine::TokenRecord>> tokens;  // of each message
  std::shared_ptr<const engine::Snapshot> snapshot;      // of the selected leaf; may be null
  QString error;                                         // not empty: nothing was loaded
};

class SessionService final : public QObject {
  Q_OBJECT
 public:
  explicit SessionService(QObject* parent = nullptr);
  ~SessionService() override;

  void open(const QString& file);
  void refresh(const QString& words = {});
  // Creates the session when its id is 0, then commits `messages`, each a child of the one before (the first
  // of its own `parent`), and answers with the session's id and theirs (negative: only in memory).
  void commit(const sessions::Session& session, std::vector<sessions::Message> messages,
              std::function<void(sessions::SessionId, std::vector<sessions::MessageId>)> then);
  void appendTokens(sessions::MessageId id, const QString& text, std::vector<engine::TokenRecord> tokens);
  void finishMessage(sessions::MessageId id, sessions::MessageStatus status, std::uint64_t seed,
                     double speed);
  void saveSnapshot(sessions::MessageId leaf, std::shared_ptr<const engine::Snapshot> snapshot);
  void updateSession(const sessions::Session& session);
  void rename(sessions::SessionId id, const QString& title);
  void remove(sessions::SessionId id);
  void undelete(sessions::SessionId id);
  void load(sessions::SessionId id, std::function<void(LoadedSession)> then);
  void exportSession(sessions::SessionId id, const QString& file, std::function<void(QString)> then);
  void importSession(const QString& file, std::function<void(sessions::SessionId, QString)> then);
  void backup(const QString& file, std::function<void(QString)> then);
  // Deletes the store's files and begins an empty one.
  void wipe(std::function<void(QString)> then);
  // Waits until everything handed over is written, at most `milliseconds`.
  bool finish(int milliseconds);
  QString file() const { return file_; }

 signals:
  void listed(const std::vector<eyrie::ui::SessionEntry>& entries);
  void notice(const QString& text);   // said once, at opening
  void problem(const QString& text);  // saving failed

 private:
  using Job = std::function<void(sessions::SessionStore&)>;
  void post(Job job, std::function<void(QString)> onError = {});
  void answer(std::function<void()> onGuiThread);
  void say(const QString& text);

  QThread thread_;
  QObject* worker_;                                // lives on thread_
  std::unique_ptr<sessions::SessionStore> store_;  // touched on thread_ only
  QString file_;
  QString said_;                      // GUI thread
  sessions::MessageId memoryId_ = 0;  // thread_: counts down for what could not be stored
};

}  // namespace eyrie::app
