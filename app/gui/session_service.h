// The session store on a thread of its own. Calls return at once; answers come back on the GUI thread. When
// saving fails it is said once and the conversation goes on in memory; what is missing is tried again with
// every write.
#pragma once

#include <QObject>
#include <QString>
#include <QThread>
#include <functional>
#include <memory>
#include <vector>

#include "app/gui/pending_writes.h"
#include "sessions/store/session_store.h"
#include "ui/models/session_list_model.h"

namespace eyrie::app {

struct LoadedSession {
  sessions::Session session;
  std::vector<sessions::Message> messages;                         // the whole tree, by id
  std::vector<std::vector<engine::TokenRecord>> tokens;            // of each message
  std::vector<std::shared_ptr<const engine::Snapshot>> snapshots;  // all that are kept, oldest message first
  QString error;                                                   // not empty: nothing was loaded
};

// A message to store.
struct NewMessage {
  sessions::Message message;
  int follows = -1;  // place of its parent in the same list; -1: message.parent says
  std::vector<engine::TokenRecord> tokens;
};

class SessionService final : public QObject {
  Q_OBJECT
 public:
  explicit SessionService(QObject* parent = nullptr);
  ~SessionService() override;

  void open(const QString& file);
  void refresh(const QString& words = {});
  // Creates the session when it has no id (or one below 0), then commits `messages`, parents first, and
  // answers with the session's id and theirs (negative: only in memory, to be committed again).
  void commit(const sessions::Session& session, std::vector<NewMessage> messages,
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
  void notice(const QString& text);     // said once, at opening
  void problem(const QString& text);    // saving failed, or something asked for did
  void recovered(const QString& text);  // saving works again

 private:
  using Job = std::function<void(sessions::SessionStore&)>;
  void post(Job job, std::function<void(QString)> onError = {});
  void write(Job job);
  void answer(std::function<void()> onGuiThread);
  // On thread_.
  void commitNow(sessions::SessionStore& store, const sessions::Session& session,
                 const std::vector<NewMessage>& messages, sessions::SessionId& id,
                 std::vector<sessions::MessageId>& ids);
  void writeFailed(const std::string& text);

  QThread thread_;
  QObject* worker_;                                // lives on thread_
  std::unique_ptr<sessions::SessionStore> store_;  // touched on thread_ only
  QString file_;
  // On thread_ as well.
  PendingWrites pending_;
  bool failing_ = false;              // said; until a commit works again
  sessions::MessageId memoryId_ = 0;  // counts down for what could not be stored
};

}  // namespace eyrie::app
