#include "app/gui/compare_controller.h"

#include <QDateTime>
#include <QRandomGenerator>
#include <algorithm>

#include "app/gui/chat_controller.h"
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

void CompareController::connectLane(int index) {
  Lane& lane = lanes_[std::size_t(index)];
  EngineBridge* bridge = &lane.bridge;
  ui::CompareLane* shown = view_->lane(index);
  connect(bridge, &EngineBridge::loadProgress, shown,
          [shown](double f) { shown->modelButton()->setProgress(f); });
  connect(bridge, &EngineBridge::loaded, this, [this, index] {
    Lane& at = lanes_[std::size_t(index)];
    view_->lane(index)->chat()->setModelInfo(at.bridge.model(), at.bridge.run()->isHawk);
    clear();
    showFacts(index);
    if (hasModels()) view_->composer()->setBlocked({});
    view_->divergence()->setNames(
        QString::fromStdString(lanes_[0].bridge.model() ? lanes_[0].bridge.model()->name : ""),
        QString::fromStdString(lanes_[1].bridge.model() ? lanes_[1].bridge.model()->name : ""),
        lanes_[0].bridge.run()->isHawk, lanes_[1].bridge.run()->isHawk);
  });
  const auto complain = [this](const QString& text) {
    view_->notice()->showNotice(ui::NoticeBar::Kind::error, text);
  };
  connect(bridge, &EngineBridge::loadFailed, this, complain);
  connect(bridge, &EngineBridge::tokensArrived, this, [this, index](quint64 request, const auto& tokens) {
    if (request == lanes_[std::size_t(index)].request) takeTokens(index, tokens);
  });
  connect(bridge, &EngineBridge::finished, this,
          [this, index](quint64 request, const engine::EngineEvent& event) {
            if (request != lanes_[std::size_t(index)].request) return;
            const bool stopped = event.result.stop == engine::StopReason::cancelled;
            finishLane(index, stopped ? ui::TurnStatus::cancelled : ui::TurnStatus::done, &event);
          });
  connect(bridge, &EngineBridge::failed, this, [this, index, complain](quint64 request, const QString& text) {
    complain(text);
    if (request == lanes_[std::size_t(index)].request) finishLane(index, ui::TurnStatus::failed, nullptr);
  });
  connect(bridge, &EngineBridge::cancelled, this, [this, index](quint64 request) {
    if (request == lanes_[std::size_t(index)].request) finishLane(index, ui::TurnStatus::cancelled, nullptr);
  });
  connect(bridge, &EngineBridge::scored, this,
          [this, index](quint64 request, const auto& score) { takeScore(index, request, score); });
}

void CompareController::activate() {
  const char* defaults[] = {"griffin", "hawk"};
  for (int i = 0; i < 2; ++i) {
    if (!lanes_[std::size_t(i)].bridge.model() && !lanes_[std::size_t(i)].bridge.isLoading())
      openModel(i, QString::fromLatin1(defaults[i]));
  }
}

void CompareController::openModel(int lane, const QString& model) {
  lanes_[std::size_t(lane)].bridge.load(model);
}

void CompareController::clear() {
  stop();
  session_ = {};
  for (Lane& lane : lanes_) {
    lane.conversation.clear();
    lane.bridge.clearTrace();
    lane.scores = {};
    lane.scoring = {};
  }
  view_->divergence()->setMessage(
      tr("Divergence appears here when both have answered: each model is then given the other's words."));
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

void CompareController::send(const QString& text) {
  if (isWriting() || !hasModels()) return;
  std::vector<sessions::Message> messages;
  sessions::Message question;
  question.role = engine::Role::user;
  question.text = text.toStdString();
  question.created = QDateTime::currentMSecsSinceEpoch();
  const ui::TurnId lastA = lanes_[0].conversation.leaf();
  if (lastA != 0) question.parent = std::max<std::int64_t>(0, lanes_[0].conversation.turn(lastA).storeId);
  messages.push_back(question);
  for (Lane& lane : lanes_) {
    ui::Turn turn;
    turn.parent = lane.conversation.leaf();
    turn.text = text;
    ui::Turn reply;
    reply.parent = lane.conversation.add(turn);
    reply.role = engine::Role::model;
    reply.model = QString::fromStdString(lane.bridge.model()->name);
    reply.fingerprint = lane.bridge.model()->fingerprint;
    reply.status = ui::TurnStatus::writing;
    lane.reply = lane.conversation.add(reply);
    lane.scores = {};
    lane.speed = 0;
    lane.unsaved.clear();
    lane.unsavedText.clear();
  }
  if (session_.title.empty()) session_.title = titleFrom(text).toStdString();
  session_.model = lanes_[0].bridge.model()->name;
  session_.sampling = view_->composer()->sampling()->choice().options;
  committing_ = true;
  view_->composer()->setText({});
  view_->composer()->setBusy(true);
  view_->divergence()->setMessage(tr("Both are writing…"));
  emit writingChanged();
  sessions_->commit(
      session_, messages, [this](sessions::SessionId id, const std::vector<sessions::MessageId>& ids) {
        session_.id = id;
        // Both answers are children of the one question: siblings, each with its model.
        const sessions::MessageId asked = ids.empty() ? 0 : ids.front();
        std::vector<sessions::Message> replies;
        for (Lane& lane : lanes_) {
          sessions::Message reply;
          reply.parent = std::max<std::int64_t>(0, asked);
          reply.role = engine::Role::model;
          reply.model = lane.bridge.model()->name;
          reply.fingerprint = lane.bridge.model()->fingerprint;
          reply.status = sessions::MessageStatus::writing;
          reply.created = QDateTime::currentMSecsSinceEpoch();
          replies.push_back(reply);
        }
        sessions_->commit(
            session_, replies, [this](sessions::SessionId, const std::vector<sessions::MessageId>& made) {
              committing_ = false;
              const ui::SamplingChoice choice = view_->composer()->sampling()->choice();
              const std::uint64_t seed = choice.seedFixed
                                             ? choice.options.seed
                                             : QRandomGenerator::global()->bounded(1u, 1'000'000u);
              view_->composer()->sampling()->setLastSeed(seed);
              for (int i = 0; i < 2; ++i) {
                lanes_[std::size_t(i)].conversation.setStoreId(
                    lanes_[std::size_t(i)].reply, made.size() > std::size_t(i) ? made[std::size_t(i)] : -1);
                startLane(i, seed);
              }
              flush_.start();
            });
      });
}

void CompareController::startLane(int index, std::uint64_t seed) {
  Lane& lane = lanes_[std::size_t(index)];
  const engine::ModelInfo& model = *lane.bridge.model();
  const ui::SamplingChoice choice = view_->composer()->sampling()->choice();
  lane.assembler = {};
  lane.prompt = model.tokenizer ? ui::buildPrompt(model, lane.conversation, {}, true) : ui::Prompt();
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
  QString text;
  for (const engine::TokenRecord& record : tokens) {
    if (!record.generated) continue;
    lane.conversation.placeRecord(lane.reply, record);
    lane.unsaved.push_back(record);
    text += QString::fromStdString(lane.assembler.push(lane.bridge.model()->tokenizer->bytes(record.token)));
  }
  if (lane.conversation.turn(lane.reply).text.isEmpty() && text.startsWith(QLatin1Char(' ')))
    text.remove(0, 1);
  lane.unsavedText += text;
  lane.conversation.appendText(lane.reply, text);
}

void CompareController::flush() {
  for (Lane& lane : lanes_) {
    if (lane.reply == 0 || (lane.unsaved.empty() && lane.unsavedText.isEmpty())) continue;
    sessions_->appendTokens(lane.conversation.turn(lane.reply).storeId, lane.unsavedText,
                            std::move(lane.unsaved));
    lane.unsaved.clear();
    lane.unsavedText.clear();
  }
}

void CompareController::finishLane(int index, ui::TurnStatus status, const engine::EngineEvent* event) {
  Lane& lane = lanes_[std::size_t(index)];
  flush();
  lane.request = 0;
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

std::vector<std::int32_t> CompareController::answerOf(int index) const {
  const Lane& lane = lanes_[std::size_t(index)];
  std::vector<std::int32_t> tokens = lane.prompt.tokens;
  for (const engine::TokenRecord& record : lane.conversation.turn(lane.reply).tokens)
    tokens.push_back(record.token);
  return tokens;
}

void CompareController::scoreBoth() {
  if (!hasModels()) return;
  const auto& a = lanes_[0];
  const auto& b = lanes_[1];
  if (a.bridge.model()->summary.config.V != b.bridge.model()->summary.config.V ||
      a.prompt.tokens != b.prompt.tokens) {
    view_->divergence()->setMessage(tr(
        "These two cut text into different tokens, so their predictions cannot be set against each other."));
    return;
  }
  view_->divergence()->setMessage(tr("Each model reads the other's words…"));
  for (std::size_t text = 0; text < 2; ++text) {
    const std::vector<std::int32_t> tokens = answerOf(int(text));
    if (tokens.size() <= lanes_[text].prompt.tokens.size()) {
      view_->divergence()->setMessage(tr("One of the answers is empty: there is nothing to compare."));
      return;
    }
    for (Lane& lane : lanes_)
      lane.scoring[text] = lane.bridge.score(tokens, std::int64_t(lanes_[text].prompt.tokens.size()));
  }
}

void CompareController::takeScore(int index, quint64 request,
                                  const std::shared_ptr<const engine::ScoreResult>& score) {
  Lane& lane = lanes_[std::size_t(index)];
  for (std::size_t text = 0; text < 2; ++text) {
    if (lane.scoring[text] == request) lane.scores[text] = score;
  }
  for (const Lane& each : lanes_) {
    if (!each.scores[0] || !each.scores[1]) return;
  }
  showDivergence();
}

void CompareController::showDivergence() {
  std::vector<ui::DivergenceText> texts;
  for (std::size_t text = 0; text < 2; ++text) {
    ui::DivergenceText entry;
    entry.title = tr("%1's answer").arg(QString::fromStdString(lanes_[text].bridge.model()->name));
    entry.writtenByB = text == 1;
    const std::vector<std::int32_t> tokens = answerOf(int(text));
    try {
      entry.tokens = engine::compareScores(*lanes_[0].scores[text], *lanes_[1].scores[text], tokens);
    } catch (const engine::Error& error) {
      view_->divergence()->setMessage(QString::fromUtf8(error.what()));
      return;
    }
    std::vector<float> tints;
    for (const engine::TokenDifference& token : entry.tokens) {
      entry.words.push_back(
          QString::fromStdString(lanes_[text].bridge.model()->tokenizer->display(token.token)));
      // Orange: the other model finds the word harder; blue: the one that wrote it does. Four nats fill it.
      const float harder = text == 0 ? token.logprobA - token.logprobB : token.logprobB - token.logprobA;
      tints.push_back(std::clamp(harder / 4.0F, -1.0F, 1.0F));
    }
    view_->lane(int(text))->chat()->setReplyTints(std::move(tints));
    texts.push_back(std::move(entry));
  }
  const auto& a = lanes_[0].conversation.turn(lanes_[0].reply).tokens;
  const auto& b = lanes_[1].conversation.turn(lanes_[1].reply).tokens;
  const auto parted = std::mismatch(a.begin(), a.end(), b.begin(), b.end(),
                                    [](const auto& x, const auto& y) { return x.token == y.token; });
  const bool same = parted.first == a.end() && parted.second == b.end();
  view_->divergence()->setTexts(std::move(texts), same ? -1 : int(parted.first - a.begin()));
}

}  // namespace eyrie::app
