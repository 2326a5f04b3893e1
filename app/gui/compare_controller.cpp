#include "app/gui/compare_controller.h"

#include <QDateTime>
#include <QRandomGenerator>
#include <algorithm>
#include <utility>

#include "app/gui/chat_controller.h"
#include "app/gui/turn_storage.h"
#include "ui/widgets/model_card.h"

namespace eyrie::app {

CompareController::CompareController(SessionService* sessions, QObject* parent)
    : QObject(parent), sessions_(sessions) {
  flush_.setInterval(80);
  connect(&flush_, &QTimer::timeout, this, &CompareController::flush);
}

ui::CompareView* CompareController::makeView(QWidget* parent) {
  view_ = new ui::CompareView({&lanes_[0].conversation, &lanes_[1].conversation},
                              {lanes_[0].bridge.run(), lanes_[1].bridge.run()}, parent);
  connect(view_->composer(), &ui::Composer::submitted, this, [this](const QString& text) { send(text); });
  connect(view_->composer(), &ui::Composer::stopRequested, this, &CompareController::stop);
  for (int i = 0; i < 2; ++i) connectLane(i);
  view_->composer()->setBlocked(tr("The models are being loaded"));
  return view_;
}

void CompareController::complain(const QString& text) {
  view_->notice()->showNotice(ui::NoticeBar::Kind::error, text);
}

void CompareController::connectLane(int index) {
  EngineBridge* bridge = &lanes_[std::size_t(index)].bridge;
  ui::CompareLane* shown = view_->lane(index);
  connect(bridge, &EngineBridge::loadProgress, shown,
          [shown](double f) { shown->modelButton()->setProgress(f); });
  connect(bridge, &EngineBridge::loaded, this, [this, index] { laneLoaded(index); });
  connect(bridge, &EngineBridge::loadFailed, this, &CompareController::complain);
  followRun(index);
}

void CompareController::followRun(int index) {
  Lane& lane = lanes_[std::size_t(index)];
  EngineBridge* bridge = &lane.bridge;
  connect(bridge, &EngineBridge::tokensArrived, this,
          [this, index, &lane](quint64 request, const auto& tokens) {
            if (request == lane.request) takeTokens(index, tokens);
          });
  connect(bridge, &EngineBridge::finished, this,
          [this, index, &lane](quint64 request, const engine::EngineEvent& event) {
            if (request != lane.request) return;
            const bool stopped = event.result.stop == engine::StopReason::cancelled;
            finishLane(index, stopped ? ui::TurnStatus::cancelled : ui::TurnStatus::done, &event);
          });
  connect(bridge, &EngineBridge::failed, this, [this, index, &lane](quint64 request, const QString& text) {
    complain(text);
    if (request == lane.request) finishLane(index, ui::TurnStatus::failed, nullptr);
  });
  connect(bridge, &EngineBridge::cancelled, this, [this, index, &lane](quint64 request) {
    if (request == lane.request) finishLane(index, ui::TurnStatus::cancelled, nullptr);
  });
  connect(bridge, &EngineBridge::scored, this,
          [this, index](quint64 request, const auto& score) { takeScore(index, request, score); });
}

void CompareController::laneLoaded(int index) {
  Lane& lane = lanes_[std::size_t(index)];
  view_->lane(index)->chat()->setModelInfo(lane.bridge.model(), lane.bridge.run()->isHawk);
  view_->divergence()->setNames(
      QString::fromStdString(lanes_[0].bridge.model() ? lanes_[0].bridge.model()->name : ""),
      QString::fromStdString(lanes_[1].bridge.model() ? lanes_[1].bridge.model()->name : ""),
      lanes_[0].bridge.run()->isHawk, lanes_[1].bridge.run()->isHawk);
  // A comparison keeps its two models: with another one a new comparison begins.
  const bool keeps = std::exchange(lane.restoring, false);
  if (!keeps && !isEmpty()) clear();
  if (keeps && wroteLast(lane)) showRestored(index);
  showFacts(index);
  if (hasModels()) view_->composer()->setBlocked({});
}

void CompareController::activate() {
  const char* defaults[] = {"griffin", "hawk"};
  for (int i = 0; i < 2; ++i) {
    if (!lanes_[std::size_t(i)].bridge.model() && !lanes_[std::size_t(i)].bridge.isLoading())
      openModel(i, QString::fromLatin1(defaults[i]));
  }
}

void CompareController::openModel(int lane, const QString& model, const QString& weights) {
  lanes_[std::size_t(lane)].restoring = false;
  lanes_[std::size_t(lane)].bridge.load(model, weights);
}

void CompareController::clear() {
  for (int i = 0; i < 2; ++i) {
    Lane& lane = lanes_[std::size_t(i)];
    if (lane.request == 0) continue;
    lane.bridge.cancel(lane.request);
    finishLane(i, ui::TurnStatus::cancelled, nullptr);
  }
  ++generation_;
  committing_ = false;
  view_->composer()->setBusy(false);
  session_ = {};
  for (Lane& lane : lanes_) {
    lane.conversation.clear();
    lane.bridge.clearTrace();
    lane.reply = 0;
    lane.prompt = {};
    lane.speed = 0;
    lane.scores = {};
    lane.scoring = {};
  }
  view_->divergence()->setMessage(
      tr("Divergence appears here when both have answered: each model is then given the other's words."));
  emit sessionChanged();
}

void CompareController::shutDown() {
  flush();
  for (Lane& lane : lanes_) lane.bridge.shutDown();
}

void CompareController::showFacts(int index) {
  Lane& lane = lanes_[std::size_t(index)];
  if (!lane.bridge.model()) return;
  const engine::ModelSummary& summary = lane.bridge.model()->summary;
  view_->lane(index)->modelButton()->setModel(
      QString::fromStdString(lane.bridge.model()->name),
      ui::shortCount(summary.parameters) + QStringLiteral(" · ") + QString::fromStdString(summary.dtype),
      lane.bridge.run()->isHawk);
  QStringList facts;
  if (lane.speed > 0) {
    facts << tr("%1 tok/s").arg(QLocale().toString(lane.speed, 'f', 0))
          << tr("%1 ms a token").arg(QLocale().toString(1e3 / lane.speed, 'f', 1));
  }
  facts << tr("state %1").arg(ui::shortBytes(summary.stateBytes));
  view_->lane(index)->setFacts(facts.join(QStringLiteral(" · ")));
}

ui::Prompt CompareController::prompt(int lane) const {
  const Lane& at = lanes_[std::size_t(lane)];
  const auto& model = at.bridge.model();
  if (!model || !model->tokenizer) return {};
  return ui::buildPrompt(*model, at.conversation, view_->composer()->systemPrompt(), true);
}

void CompareController::addExchange(Lane& lane, const QString& text, std::int64_t now) {
  ui::Turn question;
  question.parent = lane.conversation.leaf();
  question.text = text;
  question.created = now;
  ui::Turn reply;
  reply.parent = lane.conversation.add(question);
  reply.role = engine::Role::model;
  reply.model = QString::fromStdString(lane.bridge.model()->name);
  reply.fingerprint = lane.bridge.model()->fingerprint;
  reply.status = ui::TurnStatus::writing;
  reply.created = now;
  lane.reply = lane.conversation.add(reply);
  lane.scores = {};
  lane.speed = 0;
}

void CompareController::send(const QString& text) {
  if (isWriting() || !hasModels()) return;
  const std::int64_t now = QDateTime::currentMSecsSinceEpoch();
  for (Lane& lane : lanes_) addExchange(lane, text, now);
  const ui::SamplingChoice choice = view_->composer()->sampling()->choice();
  if (session_.title.empty()) session_.title = titleFrom(text).toStdString();
  session_.model = lanes_[0].bridge.model()->name;
  session_.systemPrompt = view_->composer()->systemPrompt().toStdString();
  session_.sampling = choice.options;
  session_.seedFixed = choice.seedFixed;
  session_.maxTokens = choice.maxTokens;
  committing_ = true;
  view_->composer()->setText({});
  view_->composer()->setBusy(true);
  view_->divergence()->setMessage(tr("Both are writing…"));
  emit writingChanged();
  commitThenStart();
}

void CompareController::commitThenStart() {
  std::array<std::vector<ui::TurnId>, 2> turns;
  std::vector<NewMessage> messages = unstored(lanes_[0].conversation, turns[0]);
  for (NewMessage& entry : unstored(lanes_[1].conversation, turns[1])) {
    if (entry.follows >= 0) entry.follows += int(turns[0].size());
    messages.push_back(std::move(entry));
  }
  const int generation = generation_;
  sessions_->commit(session_, std::move(messages), [=, this](sessions::SessionId id, const auto& ids) {
    if (generation != generation_) return;
    committing_ = false;
    session_.id = id;
    std::size_t at = 0;
    for (std::size_t lane = 0; lane < 2; ++lane) {
      for (const ui::TurnId turn : turns[lane]) lanes_[lane].conversation.setStoreId(turn, ids[at++]);
    }
    emit sessionChanged();
    const ui::SamplingChoice choice = view_->composer()->sampling()->choice();
    const std::uint64_t seed =
        choice.seedFixed ? choice.options.seed : QRandomGenerator::global()->bounded(1u, 1'000'000u);
    view_->composer()->setLastSeed(seed);
    for (int i = 0; i < 2; ++i) startLane(i, seed);
    flush_.start();
  });
}

void CompareController::startLane(int index, std::uint64_t seed) {
  Lane& lane = lanes_[std::size_t(index)];
  const engine::ModelInfo& model = *lane.bridge.model();
  const ui::SamplingChoice choice = view_->composer()->sampling()->choice();
  lane.stream.begin({}, false);
  lane.prompt = prompt(index);
  for (const ui::TurnSpan& span : lane.prompt.spans)
    lane.conversation.setFirstPosition(span.turn, span.textBegin);
  engine::RunRequest request;
  request.context = lane.prompt.tokens;
  request.options.maxTokens = choice.maxTokens;
  request.options.sampling = choice.options;
  request.options.sampling.seed = seed;
  request.options.trace.level = engine::TraceLevel::summary;
  request.options.eosTokens = model.summary.config.eosTokens;
  request.options.endOfTurn = model.chat.turns ? model.chat.endOfTurn : -1;
  lane.request = lane.bridge.start(std::move(request));
}

void CompareController::takeTokens(int index, const std::vector<engine::TokenRecord>& tokens) {
  Lane& lane = lanes_[std::size_t(index)];
  std::vector<engine::TokenRecord> written;
  for (const engine::TokenRecord& record : tokens) {
    if (!record.generated) continue;
    lane.conversation.placeRecord(lane.reply, record);
    written.push_back(record);
  }
  lane.conversation.appendText(lane.reply, lane.stream.take(written, *lane.bridge.model()->tokenizer));
}

void CompareController::flush() {
  for (Lane& lane : lanes_) {
    if (lane.reply != 0) lane.stream.store(*sessions_, lane.conversation.turn(lane.reply).storeId);
  }
}

void CompareController::finishLane(int index, ui::TurnStatus status, const engine::EngineEvent* event) {
  Lane& lane = lanes_[std::size_t(index)];
  lane.request = 0;
  lane.conversation.appendText(lane.reply, lane.stream.finish());
  flush();
  lane.speed = event ? event->result.decodeTokensPerSecond() : 0;
  const std::uint64_t seed = event ? event->result.seed : 0;
  lane.conversation.finish(lane.reply, status, seed, lane.speed);
  sessions_->finishMessage(
      lane.conversation.turn(lane.reply).storeId,
      status == ui::TurnStatus::done ? sessions::MessageStatus::done : sessions::MessageStatus::cancelled,
      seed, lane.speed);
  showFacts(index);
  if (isWriting()) return;
  flush_.stop();
  view_->composer()->setBusy(false);
  emit writingChanged();
  emit storedChanged();
  scoreBoth();
}

void CompareController::stop() {
  for (Lane& lane : lanes_) {
    if (lane.request != 0) lane.bridge.cancel(lane.request);
  }
}

}  // namespace eyrie::app
