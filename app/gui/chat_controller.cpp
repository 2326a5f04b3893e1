#include "app/gui/chat_controller.h"

#include <QDateTime>
#include <QRandomGenerator>
#include <algorithm>

namespace eyrie::app {

namespace {
constexpr int kFlushMs = 80;  // at most a tenth of a second of tokens is lost when the process dies
constexpr std::int64_t kScorePromptsBelow = 200'000'000;  // parameters: scoring a prompt needs every logit
}  // namespace

QString titleFrom(const QString& text) {
  const QString words = text.simplified();
  if (words.size() <= 48) return words;
  const qsizetype cut = words.lastIndexOf(QLatin1Char(' '), 47);
  return words.left(cut > 20 ? cut : 47) + QChar(0x2026);
}

ChatController::ChatController(EngineBridge* bridge, SessionService* sessions, QObject* parent)
    : QObject(parent), bridge_(bridge), sessions_(sessions) {
  flush_.setInterval(kFlushMs);
  connect(&flush_, &QTimer::timeout, this, &ChatController::flush);
  connect(bridge_, &EngineBridge::tokensArrived, this, &ChatController::takeTokens);
  connect(bridge_, &EngineBridge::finished, this, &ChatController::finish);
  connect(bridge_, &EngineBridge::loaded, this, &ChatController::afterLoad);
  connect(bridge_, &EngineBridge::readProgress, this, [this](quint64 request, qint64 done, qint64 total) {
    if (request == request_ && total > 0) emit stateChanged(tr("Reading %1 of %2").arg(done).arg(total));
  });
  connect(bridge_, &EngineBridge::failed, this, [this](quint64 request, const QString& message) {
    if (request != request_ || turn_ == 0) return;
    end(ui::TurnStatus::failed, 0, 0);
    emit failed(message);
  });
  connect(bridge_, &EngineBridge::cancelled, this, [this](quint64 request) {
    if (request == request_ && turn_ != 0) end(ui::TurnStatus::cancelled, 0, 0);
  });
}

void ChatController::setSampling(const ui::SamplingChoice& choice) {
  sampling_ = choice;
  session_.sampling = choice.options;
  session_.seedFixed = choice.seedFixed;
  session_.maxTokens = choice.maxTokens;
  sessions_->updateSession(session_);
}

void ChatController::setSystemPrompt(const QString& prompt) {
  if (prompt.toStdString() == session_.systemPrompt) return;
  session_.systemPrompt = prompt.toStdString();
  sessions_->updateSession(session_);
}

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
  reading_ = true;
  turn_ = id;
  emit writingChanged();
  commitThenRun();
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

sessions::Message ChatController::messageOf(const ui::Turn& turn) const {
  sessions::Message message;
  message.parent = turn.parent != 0 ? std::max<std::int64_t>(0, conversation_.turn(turn.parent).storeId) : 0;
  message.role = turn.role;
  message.text = turn.text.toStdString();
  message.model = turn.model.toStdString();
  message.fingerprint = turn.fingerprint;
  message.status = turn.status == ui::TurnStatus::writing ? sessions::MessageStatus::writing
                                                          : sessions::MessageStatus::done;
  message.created = turn.created;
  return message;
}

// Everything of the path that is not on disk is committed first: what was asked survives whatever comes.
void ChatController::commitThenRun() {
  std::vector<sessions::Message> messages;
  std::vector<ui::TurnId> turns;
  for (const ui::TurnId id : conversation_.path()) {
    if (conversation_.turn(id).storeId != 0) continue;
    turns.push_back(id);
    messages.push_back(messageOf(conversation_.turn(id)));
  }
  if (session_.model.empty() || turns.empty() || session_.id == 0) session_.model = bridge_->model()->name;
  const int generation = generation_;
  emit stateChanged(tr("Reading"));
  sessions_->commit(session_, std::move(messages), [=, this](sessions::SessionId id, const auto& ids) {
    if (generation != generation_) return;
    const bool isNew = session_.id == 0;
    session_.id = id;
    for (std::size_t i = 0; i < turns.size() && i < ids.size(); ++i)
      conversation_.setStoreId(turns[i], ids[i]);
    session_.selectedLeaf = std::max<std::int64_t>(0, conversation_.turn(conversation_.leaf()).storeId);
    if (isNew) emit sessionChanged();
    emit storedChanged();
    if (turn_ != 0) runNow();
  });
}

engine::RunRequest ChatController::requestFor(const ui::Prompt& prompt) {
  const engine::ModelInfo& model = *bridge_->model();
  engine::RunRequest request;
  request.context = prompt.tokens;
  request.options.maxTokens = reading_ ? 0 : sampling_.maxTokens;
  request.options.sampling = sampling_.options;
  if (!sampling_.seedFixed)
    request.options.sampling.seed = QRandomGenerator::global()->bounded(1u, 1'000'000u);
  request.options.trace = trace_;
  request.options.eosTokens = model.summary.config.eosTokens;
  request.options.endOfTurn = model.chat.turns ? model.chat.endOfTurn : -1;
  request.options.scoreContext = reading_ || model.summary.parameters < kScorePromptsBelow;
  request.snapshot = true;
  return request;
}

void ChatController::runNow() {
  if (!bridge_->model() || !bridge_->model()->tokenizer) {
    end(ui::TurnStatus::failed, 0, 0);
    emit failed(
        tr("This model has no tokenizer, so it cannot read text. It takes token lists: eyrie-cli generate "
           "--tokens."));
    return;
  }
  prompt_ = prompt(!reading_);
  for (const ui::TurnSpan& span : prompt_.spans) conversation_.setFirstPosition(span.turn, span.textBegin);
  assembler_ = {};
  unsavedText_.clear();
  // A reply that continues another begins with its tokens.
  unsavedTokens_ = reading_ ? std::vector<engine::TokenRecord>() : conversation_.turn(turn_).tokens;
  unsavedPrompt_.clear();
  written_ = 0;
  writing_.invalidate();
  request_ = bridge_->start(requestFor(prompt_));
  flush_.start();
}

ui::Prompt ChatController::prompt(bool openReply) const {
  const auto& model = bridge_->model();
  if (!model || !model->tokenizer) return {};
  return ui::buildPrompt(*model, conversation_, QString::fromStdString(session_.systemPrompt), openReply);
}

void ChatController::takePromptToken(const engine::TokenRecord& record) {
  for (const ui::TurnSpan& span : prompt_.spans) {
    if (record.position < span.textBegin || record.position >= span.textEnd) continue;
    const ui::Turn& turn = conversation_.turn(span.turn);
    if (turn.role == engine::Role::model) return;  // kept as it was written
    const std::size_t index = std::size_t(record.position - span.textBegin);
    const bool known = index < turn.tokens.size() && turn.tokens[index].token == record.token;
    conversation_.placeRecord(span.turn, record);
    if (!known) unsavedPrompt_[span.turn].push_back(record);
    return;
  }
}

void ChatController::takeTokens(quint64 request, const std::vector<engine::TokenRecord>& tokens) {
  if (request != request_ || turn_ == 0) return;
  QString text;
  for (const engine::TokenRecord& record : tokens) {
    if (!record.generated) {
      takePromptToken(record);
      continue;
    }
    if (!writing_.isValid()) {
      writing_.start();
      emit stateChanged(tr("Writing"));
    }
    ++written_;
    conversation_.placeRecord(turn_, record);
    unsavedTokens_.push_back(record);
    text += QString::fromStdString(assembler_.push(bridge_->model()->tokenizer->bytes(record.token)));
  }
  // A reply begins with a space that only joins it to what it answers.
  if (!text.isEmpty() && conversation_.turn(turn_).text.isEmpty() && text.startsWith(QLatin1Char(' ')) &&
      !conversation_.turn(turn_).rawContinuation) {
    text.remove(0, 1);
  }
  unsavedText_ += text;
  conversation_.appendText(turn_, text);
  if (writing_.isValid() && writing_.elapsed() > 150)
    emit speedChanged(1e3 * double(written_ - 1) / double(writing_.elapsed()));
}

void ChatController::flush() {
  if (turn_ == 0) return;
  for (auto& [turn, records] : unsavedPrompt_) {
    if (!records.empty()) sessions_->appendTokens(conversation_.turn(turn).storeId, {}, std::move(records));
  }
  unsavedPrompt_.clear();
  if (unsavedText_.isEmpty() && unsavedTokens_.empty()) return;
  sessions_->appendTokens(conversation_.turn(turn_).storeId, unsavedText_, std::move(unsavedTokens_));
  unsavedText_.clear();
  unsavedTokens_.clear();
}

void ChatController::finish(quint64 request, const engine::EngineEvent& event) {
  if (request != request_ || turn_ == 0) return;
  const QString rest = QString::fromStdString(assembler_.finish());
  if (!reading_ && !rest.isEmpty()) {
    unsavedText_ += rest;
    conversation_.appendText(turn_, rest);
  }
  const bool stopped = event.result.stop == engine::StopReason::cancelled;
  const std::int64_t leaf = conversation_.turn(turn_).storeId;
  if (!reading_) emit seedUsed(event.result.seed);
  end(stopped ? ui::TurnStatus::cancelled : ui::TurnStatus::done, event.result.seed,
      event.result.decodeTokensPerSecond());
  sessions_->saveSnapshot(leaf, event.snapshot);
}

void ChatController::end(ui::TurnStatus status, std::uint64_t seed, double speed) {
  flush();
  flush_.stop();
  const ui::TurnId turn = turn_;
  turn_ = 0;
  request_ = 0;
  const bool reply = conversation_.turn(turn).role == engine::Role::model;
  conversation_.finish(turn, status, reply ? seed : 0, reply ? speed : 0);
  if (reply) {
    sessions_->finishMessage(
        conversation_.turn(turn).storeId,
        status == ui::TurnStatus::done ? sessions::MessageStatus::done : sessions::MessageStatus::cancelled,
        seed, speed);
  }
  if (speed > 0 && reply) emit speedChanged(speed);
  session_.selectedLeaf = std::max<std::int64_t>(0, conversation_.turn(turn).storeId);
  sessions_->updateSession(session_);
  emit stateChanged(tr("Ready"));
  emit writingChanged();
  emit storedChanged();
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
  reading_ = true;
  turn_ = id;
  emit writingChanged();
  commitThenRun();
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

void ChatController::newSession() {
  stop();
  if (turn_ != 0) end(ui::TurnStatus::cancelled, 0, 0);
  ++generation_;
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
  stop();
  if (turn_ != 0) end(ui::TurnStatus::cancelled, 0, 0);
  const int generation = ++generation_;
  sessions_->load(id, [this, generation](LoadedSession loaded) {
    if (generation != generation_) return;
    loaded.error.isEmpty() ? restore(std::move(loaded)) : emit failed(loaded.error);
  });
}

void ChatController::restore(LoadedSession loaded) {
  std::map<sessions::MessageId, ui::TurnId> ids{{0, 0}};
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
    turn.status = message.status == sessions::MessageStatus::done        ? ui::TurnStatus::done
                  : message.status == sessions::MessageStatus::cancelled ? ui::TurnStatus::cancelled
                                                                         : ui::TurnStatus::interrupted;
    turn.seed = message.seed;
    turn.tokensPerSecond = message.tokensPerSecond;
    turn.created = message.created;
    turn.storeId = message.id;
    turn.tokens = std::move(loaded.tokens[i]);
    turn.rawContinuation = turn.parent != 0 && turn.role == engine::Role::model &&
                           turns[std::size_t(turn.parent) - 1].role == engine::Role::text;
    turns.push_back(std::move(turn));
  }
  session_ = loaded.session;
  sampling_ = {session_.sampling, session_.seedFixed, session_.maxTokens};
  const auto leaf = ids.find(session_.selectedLeaf);
  conversation_.restore(std::move(turns), leaf == ids.end() ? 0 : leaf->second);
  waiting_ = loaded.snapshot;
  emit sessionChanged();
  emit sessionOpened(QString::fromStdString(session_.model), QString::fromStdString(session_.systemPrompt),
                     sampling_);
  if (!bridge_->isLoading()) afterLoad();
}

// The model of the conversation is there: its state and its records come back.
void ChatController::afterLoad() {
  if (!bridge_->model()) return;
  if (waiting_ && waiting_->fingerprint == bridge_->model()->fingerprint) bridge_->remember(waiting_);
  waiting_.reset();
  bridge_->showRecords(pathRecords());
}

std::vector<engine::TokenRecord> ChatController::pathRecords() {
  std::vector<engine::TokenRecord> records;
  if (conversation_.isEmpty()) return records;
  const ui::Prompt shown = prompt(false);
  for (const std::int32_t token : shown.tokens) {
    engine::TokenRecord record;
    record.position = std::int64_t(records.size());
    record.token = token;
    record.logprob = std::numeric_limits<float>::quiet_NaN();
    record.entropy = std::numeric_limits<float>::quiet_NaN();
    std::fill(std::begin(record.topTokens), std::end(record.topTokens), -1);
    records.push_back(record);
  }
  for (const ui::TurnSpan& span : shown.spans) {
    conversation_.setFirstPosition(span.turn, span.textBegin);
    for (const engine::TokenRecord& known : conversation_.turn(span.turn).tokens) {
      const std::int64_t at = span.textBegin + (&known - conversation_.turn(span.turn).tokens.data());
      if (at >= span.textEnd || records[std::size_t(at)].token != known.token) break;
      records[std::size_t(at)] = known;
      records[std::size_t(at)].position = at;
    }
  }
  return records;
}

void ChatController::renamed(sessions::SessionId id, const QString& title) {
  if (id == session_.id) session_.title = title.toStdString();
}

}  // namespace eyrie::app
