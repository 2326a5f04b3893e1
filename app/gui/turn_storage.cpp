#include "app/gui/turn_storage.h"

#include <algorithm>
#include <limits>

namespace eyrie::app {

namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

engine::TokenRecord unknownRecord(std::int64_t position, std::int32_t token) {
  engine::TokenRecord record;
  record.position = position;
  record.token = token;
  record.logprob = kNaN;
  record.entropy = kNaN;
  std::fill(std::begin(record.topTokens), std::end(record.topTokens), -1);
  return record;
}

sessions::MessageStatus statusOf(ui::TurnStatus status) {
  switch (status) {
    case ui::TurnStatus::writing:
      return sessions::MessageStatus::writing;
    case ui::TurnStatus::done:
      return sessions::MessageStatus::done;
    case ui::TurnStatus::interrupted:
      return sessions::MessageStatus::interrupted;
    default:
      return sessions::MessageStatus::cancelled;
  }
}

ui::TurnStatus statusOf(sessions::MessageStatus status) {
  switch (status) {
    case sessions::MessageStatus::done:
      return ui::TurnStatus::done;
    case sessions::MessageStatus::cancelled:
      return ui::TurnStatus::cancelled;
    default:
      return ui::TurnStatus::interrupted;
  }
}

NewMessage messageOf(const ui::Turn& turn) {
  NewMessage entry;
  entry.message.role = turn.role;
  entry.message.text = turn.text.toStdString();
  entry.message.model = turn.model.toStdString();
  entry.message.fingerprint = turn.fingerprint;
  entry.message.status = statusOf(turn.status);
  entry.message.seed = turn.seed;
  entry.message.tokensPerSecond = turn.tokensPerSecond;
  entry.message.created = turn.created;
  // Those of a message being written are handed over as they come.
  if (turn.status != ui::TurnStatus::writing) entry.tokens = turn.tokens;
  return entry;
}

}  // namespace

std::vector<NewMessage> unstored(const ui::Conversation& conversation, std::vector<ui::TurnId>& turns) {
  std::vector<NewMessage> messages;
  for (const ui::TurnId id : conversation.path()) {
    const ui::Turn& turn = conversation.turn(id);
    if (turn.storeId > 0) continue;
    NewMessage entry = messageOf(turn);
    const auto parent = std::find(turns.begin(), turns.end(), turn.parent);
    if (parent != turns.end()) {
      entry.follows = int(parent - turns.begin());
    } else if (turn.parent != 0) {
      entry.message.parent = conversation.turn(turn.parent).storeId;
    }
    messages.push_back(std::move(entry));
    turns.push_back(id);
  }
  return messages;
}

sessions::MessageId storedLeaf(const ui::Conversation& conversation) {
  const auto& path = conversation.path();
  for (auto id = path.rbegin(); id != path.rend(); ++id) {
    if (conversation.turn(*id).storeId > 0) return conversation.turn(*id).storeId;
  }
  return 0;
}

std::vector<ui::Turn> turnsOf(LoadedSession& loaded, std::map<sessions::MessageId, ui::TurnId>& ids) {
  ids[0] = 0;
  std::vector<ui::Turn> turns;
  for (std::size_t i = 0; i < loaded.messages.size(); ++i) {
    const sessions::Message& message = loaded.messages[i];
    ui::Turn turn;
    turn.id = ui::TurnId(i) + 1;
    ids[message.id] = turn.id;
    const auto parent = ids.find(message.parent);
    turn.parent = parent == ids.end() ? 0 : parent->second;
    turn.role = message.role;
    turn.text = QString::fromStdString(message.text);
    turn.model = QString::fromStdString(message.model);
    turn.fingerprint = message.fingerprint;
    turn.status = statusOf(message.status);
    turn.seed = message.seed;
    turn.tokensPerSecond = message.tokensPerSecond;
    turn.created = message.created;
    turn.storeId = message.id;
    turn.tokens = std::move(loaded.tokens[i]);
    turn.rawContinuation = turn.parent != 0 && turn.role == engine::Role::model &&
                           turns[std::size_t(turn.parent) - 1].role == engine::Role::text;
    turns.push_back(std::move(turn));
  }
  return turns;
}

std::vector<engine::TokenRecord> recordsOf(ui::Conversation& conversation, const ui::Prompt& shown) {
  std::vector<engine::TokenRecord> records;
  if (conversation.isEmpty()) return records;
  for (const std::int32_t token : shown.tokens)
    records.push_back(unknownRecord(std::int64_t(records.size()), token));
  for (const ui::TurnSpan& span : shown.spans) {
    conversation.setFirstPosition(span.turn, span.textBegin);
    std::int64_t at = span.textBegin;
    for (const engine::TokenRecord& known : conversation.turn(span.turn).tokens) {
      if (at >= span.textEnd || records[std::size_t(at)].token != known.token) break;
      records[std::size_t(at)] = known;
      records[std::size_t(at)].position = at;
      ++at;
    }
  }
  return records;
}

}  // namespace eyrie::app
