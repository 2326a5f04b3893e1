// The session in view: a new one, one that is reopened, and the trace that shows it.
#include "app/gui/chat_controller.h"
#include "app/gui/turn_storage.h"

namespace eyrie::app {

// What is being written ends here, and late answers of the store are for nobody.
void ChatController::leave() {
  stop();
  if (turn_ != 0) end(ui::TurnStatus::cancelled, 0, 0);
  ++generation_;
}

void ChatController::newSession() {
  leave();
  const sessions::Session kept = session_;
  session_ = {};
  session_.systemPrompt = kept.systemPrompt;
  setSampling(sampling_);
  conversation_.clear();
  bridge_->clearTrace();
  emit sessionChanged();
}

void ChatController::openSession(sessions::SessionId id) {
  if (id == session_.id && id != 0) return;
  leave();
  sessions_->load(id, [this, generation = generation_](LoadedSession loaded) {
    if (generation != generation_) return;
    loaded.error.isEmpty() ? restore(loaded) : emit failed(loaded.error);
  });
}

void ChatController::openLoaded(LoadedSession loaded) {
  if (loaded.session.id == session_.id) return;
  leave();
  restore(loaded);
}

void ChatController::restore(LoadedSession& loaded) {
  std::map<sessions::MessageId, ui::TurnId> ids;
  std::vector<ui::Turn> turns = turnsOf(loaded, ids);
  session_ = loaded.session;
  sampling_ = {session_.sampling, session_.seedFixed, session_.maxTokens};
  const auto leaf = ids.find(session_.selectedLeaf);
  conversation_.restore(std::move(turns), leaf == ids.end() ? 0 : leaf->second);
  waiting_ = std::move(loaded.snapshots);
  emit sessionChanged();
  emit sessionOpened(QString::fromStdString(session_.model), QString::fromStdString(session_.systemPrompt),
                     sampling_);
  if (!bridge_->isLoading()) afterLoad();
}

// The model of the conversation is there: its states and its records come back.
void ChatController::afterLoad() {
  if (!bridge_->model()) return;
  for (const Snapshot& snapshot : waiting_)
    if (snapshot->fingerprint == bridge_->model()->fingerprint) bridge_->remember(snapshot);
  waiting_.clear();
  bridge_->showRecords(pathRecords());
}

std::vector<engine::TokenRecord> ChatController::pathRecords() {
  return recordsOf(conversation_, prompt(false));
}

std::optional<engine::SamplingOptions> ChatController::sampledWith() const {
  const auto& path = conversation_.path();
  for (auto id = path.rbegin(); id != path.rend(); ++id) {
    const ui::Turn& turn = conversation_.turn(*id);
    if (turn.role != engine::Role::model) continue;
    engine::SamplingOptions options = turn.sampling.value_or(session_.sampling);
    options.seed = turn.seed;
    return options;
  }
  return std::nullopt;
}

void ChatController::renamed(sessions::SessionId id, const QString& title) {
  if (id == session_.id) session_.title = title.toStdString();
}

}  // namespace eyrie::app
