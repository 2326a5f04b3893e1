// Each model is given the other's words: how much their predictions differ, token by token.
#include <algorithm>

#include "app/gui/compare_controller.h"
#include "engine/compare.h"

namespace eyrie::app {

namespace {

// Whether a token means the same to both: then each can be given the other's, whatever stood before.
bool cutAlike(const engine::ModelInfo& a, const engine::ModelInfo& b, const QStringList& texts) {
  if (!a.tokenizer || !b.tokenizer || a.summary.config.V != b.summary.config.V) return false;
  if (a.chat.bos != b.chat.bos || a.chat.startOfTurn != b.chat.startOfTurn) return false;
  return std::all_of(texts.begin(), texts.end(), [&](const QString& text) {
    return a.tokenizer->encode(text.toStdString()) == b.tokenizer->encode(text.toStdString());
  });
}

}  // namespace

std::vector<std::int32_t> CompareController::answerOf(int index) const {
  const Lane& lane = lanes_[std::size_t(index)];
  std::vector<std::int32_t> tokens = lane.prompt.tokens;
  for (const engine::TokenRecord& record : lane.conversation.turn(lane.reply).tokens)
    tokens.push_back(record.token);
  return tokens;
}

void CompareController::scoreBoth() {
  if (!hasModels() || lanes_[0].reply == 0 || lanes_[1].reply == 0) return;
  const Lane& a = lanes_[0];
  const Lane& b = lanes_[1];
  if (!cutAlike(*a.bridge.model(), *b.bridge.model(),
                {a.conversation.turn(a.reply).text, b.conversation.turn(b.reply).text})) {
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

// False, and said in the row, when the two cannot be set against each other.
bool CompareController::addDivergence(std::size_t text, std::vector<ui::DivergenceText>& texts) {
  const engine::ModelInfo& writer = *lanes_[text].bridge.model();
  ui::DivergenceText entry;
  entry.title = tr("%1's answer").arg(QString::fromStdString(writer.name));
  entry.writtenByB = text == 1;
  try {
    entry.tokens =
        engine::compareScores(*lanes_[0].scores[text], *lanes_[1].scores[text], answerOf(int(text)));
  } catch (const engine::Error& error) {
    view_->divergence()->setMessage(QString::fromUtf8(error.what()));
    return false;
  }
  std::vector<float> tints;
  for (const engine::TokenDifference& token : entry.tokens) {
    entry.words.push_back(QString::fromStdString(writer.tokenizer->display(token.token)));
    // Orange: the other model finds the word harder; blue: the one that wrote it does. Four nats fill it.
    const float harder = text == 0 ? token.logprobA - token.logprobB : token.logprobB - token.logprobA;
    tints.push_back(std::clamp(harder / 4.0F, -1.0F, 1.0F));
  }
  view_->lane(int(text))->chat()->setReplyTints(std::move(tints));
  texts.push_back(std::move(entry));
  return true;
}

void CompareController::showDivergence() {
  std::vector<ui::DivergenceText> texts;
  for (std::size_t text = 0; text < 2; ++text) {
    if (!addDivergence(text, texts)) return;
  }
  const auto& a = lanes_[0].conversation.turn(lanes_[0].reply).tokens;
  const auto& b = lanes_[1].conversation.turn(lanes_[1].reply).tokens;
  const auto parted = std::mismatch(a.begin(), a.end(), b.begin(), b.end(),
                                    [](const auto& x, const auto& y) { return x.token == y.token; });
  const bool same = parted.first == a.end() && parted.second == b.end();
  view_->divergence()->setTexts(std::move(texts), same ? -1 : int(parted.first - a.begin()));
}

}  // namespace eyrie::app
