// What asks for a reply or a reading: sending, writing again, continuing, editing, branching, other versions.
#include <QDateTime>
#include <algorithm>

#include "app/gui/chat_controller.h"
#include "app/gui/turn_storage.h"

namespace eyrie::app {

void ChatController::send(const QString& text, ui::ComposeMode mode) {
  if (turn_ != 0 || !bridge_->model()) return;
  ui::Turn question;
  question.parent = conversation_.leaf();
  question.role = mode == ui::ComposeMode::chat ? engine::Role::user : engine::Role::text;
  question.text = text;
  question.created = QDateTime::currentMSecsSinceEpoch();
  const ui::TurnId id = conversation_.add(question);
  if (session_.title.empty()) session_.title = titleFrom(text).toStdString();
  if (mode != ui::ComposeMode::read) return beginReply(conversation_.add(newReply(id)));
  beginReading(id);
}

ui::Turn ChatController::newReply(ui::TurnId parent) const {
  ui::Turn reply;
  reply.parent = parent;
  reply.role = engine::Role::model;
  reply.model = QString::fromStdString(bridge_->model()->name);
  reply.fingerprint = bridge_->model()->fingerprint;
  reply.status = ui::TurnStatus::writing;
  reply.created = QDateTime::currentMSecsSinceEpoch();
  reply.rawContinuation = parent != 0 && conversation_.turn(parent).role == engine::Role::text;
  return reply;
}

void ChatController::beginReply(ui::TurnId reply) {
  reading_ = false;
  turn_ = reply;
  emit writingChanged();
  commitThenRun();
}

void ChatController::beginReading(ui::TurnId text) {
  reading_ = true;
  turn_ = text;
  emit writingChanged();
  commitThenRun();
}

void ChatController::stop() {
  if (turn_ != 0 && request_ != 0) bridge_->cancel(request_);
}

void ChatController::regenerate(ui::TurnId reply) {
  if (turn_ != 0 || !bridge_->model() || !conversation_.contains(reply)) return;
  const ui::Turn& old = conversation_.turn(reply);
  if (old.role != engine::Role::model) return;
  beginReply(conversation_.add(newReply(old.parent)));
}

void ChatController::continueReply(ui::TurnId reply) {
  if (turn_ != 0 || !bridge_->model() || !conversation_.contains(reply)) return;
  const ui::Turn& old = conversation_.turn(reply);
  if (old.role != engine::Role::model) return;
  // What is stored is finished and stays as it was: the longer reply is its sibling.
  ui::Turn longer = newReply(old.parent);
  longer.text = old.text;
  longer.tokens = old.tokens;
  const auto& config = bridge_->model()->summary.config;
  const auto isStop = [&](std::int32_t token) {
    return token == bridge_->model()->chat.endOfTurn ||
           std::find(config.eosTokens.begin(), config.eosTokens.end(), token) != config.eosTokens.end();
  };
  while (!longer.tokens.empty() && isStop(longer.tokens.back().token)) longer.tokens.pop_back();
  beginReply(conversation_.add(std::move(longer)));
}

void ChatController::edit(ui::TurnId question, const QString& text) {
  if (turn_ != 0 || !bridge_->model() || !conversation_.contains(question)) return;
  ui::Turn changed;
  changed.parent = conversation_.turn(question).parent;
  changed.role = conversation_.turn(question).role;
  changed.text = text;
  changed.created = QDateTime::currentMSecsSinceEpoch();
  const bool onlyRead = conversation_.children(question).empty() && changed.role == engine::Role::text;
  const ui::TurnId id = conversation_.add(changed);
  if (!onlyRead) return beginReply(conversation_.add(newReply(id)));
  beginReading(id);
}

void ChatController::branch(ui::TurnId reply, int tokenIndex, std::int32_t token) {
  if (turn_ != 0 || !bridge_->model() || !bridge_->model()->tokenizer || !conversation_.contains(reply))
    return;
  const ui::Turn& old = conversation_.turn(reply);
  if (tokenIndex < 0 || tokenIndex >= int(old.tokens.size())) return;
  ui::Turn other = newReply(old.parent);
  other.tokens.assign(old.tokens.begin(), old.tokens.begin() + tokenIndex + 1);
  engine::TokenRecord& chosen = other.tokens.back();
  chosen.token = token;
  for (int i = 0; i < engine::kTopTokens; ++i) {
    if (chosen.topTokens[i] != token) continue;
    chosen.rank = i;
    chosen.logprob = chosen.topLogprobs[i];
  }
  std::vector<std::int32_t> ids;
  for (const engine::TokenRecord& record : other.tokens) ids.push_back(record.token);
  other.text = QString::fromStdString(bridge_->model()->tokenizer->decode(ids));
  if (other.text.startsWith(QLatin1Char(' ')) && !other.rawContinuation) other.text.remove(0, 1);
  beginReply(conversation_.add(std::move(other)));
}

void ChatController::stepSibling(ui::TurnId id, int delta) {
  if (turn_ != 0 || !conversation_.contains(id)) return;
  conversation_.stepSibling(id, delta);
  session_.selectedLeaf = storedLeaf(conversation_);
  sessions_->updateSession(session_);
  bridge_->showRecords(pathRecords());
}

void ChatController::stepNewestSibling(int delta) {
  const std::vector<ui::TurnId> path = conversation_.path();
  const auto found = std::find_if(path.rbegin(), path.rend(),
                                  [this](ui::TurnId id) { return conversation_.siblings(id).size() > 1; });
  if (found != path.rend()) stepSibling(*found, delta);
}

}  // namespace eyrie::app
