#include "app/gui/chat_controller.h"

#include <QRandomGenerator>
#include <algorithm>

#include "app/gui/turn_storage.h"

namespace eyrie::app {

namespace {
constexpr int kFlushMs = 80;  // at most a tenth of a second of tokens is lost when the process dies
constexpr std::int64_t kScorePromptsBelow = 200'000'000;  // parameters: scoring a prompt needs every logit
}  // namespace

QString titleFrom(const QString& text) {
  QString words = text.simplified();
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

// Everything of the path that is not on disk is committed first: what was asked survives whatever comes.
void ChatController::commitThenRun() {
  std::vector<ui::TurnId> turns;
  std::vector<NewMessage> messages = unstored(conversation_, turns);
  if (session_.model.empty() || turns.empty() || session_.id == 0) session_.model = bridge_->model()->name;
  const int generation = generation_;
  emit stateChanged(tr("Reading"));
  sessions_->commit(session_, std::move(messages), [=, this](sessions::SessionId id, const auto& ids) {
    if (generation != generation_) return;
    committed(turns, id, ids);
    if (turn_ != 0) runNow();
  });
}

void ChatController::committed(const std::vector<ui::TurnId>& turns, sessions::SessionId id,
                               const std::vector<sessions::MessageId>& ids) {
  const bool isNew = session_.id != id;
  session_.id = id;
  for (std::size_t i = 0; i < turns.size() && i < ids.size(); ++i) conversation_.setStoreId(turns[i], ids[i]);
  session_.selectedLeaf = storedLeaf(conversation_);
  if (isNew) emit sessionChanged();
  emit storedChanged();
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
  const ui::Turn& turn = conversation_.turn(turn_);
  // A reply that continues another begins with its tokens.
  stream_.begin(reading_ ? std::vector<engine::TokenRecord>() : turn.tokens,
                turn.rawContinuation || !turn.text.isEmpty());
  unsavedPrompt_.clear();
  written_ = 0;
  writing_.invalidate();
  engine::RunRequest request = requestFor(prompt_);
  drawnWith_ = request.options.sampling;
  request_ = bridge_->start(std::move(request));
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
  std::vector<engine::TokenRecord> written;
  for (const engine::TokenRecord& record : tokens) {
    if (!record.generated) {
      takePromptToken(record);
      continue;
    }
    conversation_.placeRecord(turn_, record);
    written.push_back(record);
  }
  if (written.empty()) return;
  if (!writing_.isValid()) {
    writing_.start();
    emit stateChanged(tr("Writing"));
  }
  written_ += std::int64_t(written.size());
  conversation_.appendText(turn_, stream_.take(written, *bridge_->model()->tokenizer));
  if (writing_.elapsed() > 150) emit speedChanged(1e3 * double(written_ - 1) / double(writing_.elapsed()));
}

void ChatController::flush() {
  if (turn_ == 0) return;
  for (auto& [turn, records] : unsavedPrompt_) {
    if (!records.empty()) sessions_->appendTokens(conversation_.turn(turn).storeId, {}, std::move(records));
  }
  unsavedPrompt_.clear();
  if (!reading_) stream_.store(*sessions_, conversation_.turn(turn_).storeId);
}

void ChatController::finish(quint64 request, const engine::EngineEvent& event) {
  if (request != request_ || turn_ == 0) return;
  const bool stopped = event.result.stop == engine::StopReason::cancelled;
  const std::int64_t leaf = conversation_.turn(turn_).storeId;
  if (!reading_) {
    conversation_.appendText(turn_, stream_.finish());
    drawnWith_.seed = event.result.seed;
    conversation_.setSampling(turn_, drawnWith_);
    emit seedUsed(event.result.seed);
  }
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
  session_.selectedLeaf = storedLeaf(conversation_);
  sessions_->updateSession(session_);
  emit stateChanged(tr("Ready"));
  emit writingChanged();
  emit storedChanged();
}

}  // namespace eyrie::app
