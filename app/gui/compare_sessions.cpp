// A stored comparison comes back as one: two conversations, each with the model that wrote it.
#include <algorithm>

#include "app/gui/compare_controller.h"
#include "app/gui/turn_storage.h"

namespace eyrie::app {

namespace {

constexpr std::int64_t kRereadBelow = 200'000'000;  // parameters: reading it again takes a moment

std::vector<const sessions::Message*> rootsOf(const LoadedSession& loaded) {
  std::vector<const sessions::Message*> roots;
  for (const sessions::Message& message : loaded.messages) {
    if (message.parent == 0) roots.push_back(&message);
  }
  return roots;
}

}  // namespace

bool CompareController::isComparison(const LoadedSession& loaded) {
  const auto roots = rootsOf(loaded);
  return roots.size() == 2 && roots[0]->role == engine::Role::user && roots[1]->role == engine::Role::user &&
         roots[0]->text == roots[1]->text && roots[0]->created == roots[1]->created;
}

void CompareController::openLoaded(LoadedSession loaded) {
  clear();
  const auto roots = rootsOf(loaded);
  std::map<sessions::MessageId, ui::TurnId> ids;
  const std::vector<sessions::MessageId> first = {roots[0]->id, roots[1]->id};
  const std::vector<ui::Turn> turns = turnsOf(loaded, ids);
  session_ = loaded.session;
  ui::Composer* composer = view_->composer();
  composer->setSystemPrompt(QString::fromStdString(session_.systemPrompt));
  composer->sampling()->setChoice({session_.sampling, session_.seedFixed, session_.maxTokens});
  emit composer->sampling()->changed();
  for (int i = 0; i < 2; ++i) restoreLane(i, turns, ids[first[std::size_t(i)]]);
  emit sessionChanged();
}

void CompareController::restoreLane(int index, const std::vector<ui::Turn>& turns, ui::TurnId root) {
  Lane& lane = lanes_[std::size_t(index)];
  std::vector<ui::Turn> own;
  for (const ui::Turn& turn : turns) {
    const bool below =
        std::any_of(own.begin(), own.end(), [&](const ui::Turn& other) { return other.id == turn.parent; });
    if (turn.id == root || below) own.push_back(turn);
  }
  const ui::Turn last = own.back();
  lane.conversation.restore(std::move(own), last.id);
  lane.reply = last.role == engine::Role::model ? last.id : 0;
  lane.speed = last.tokensPerSecond;
  const auto& model = lane.bridge.model();
  if (model && model->fingerprint == last.fingerprint) return showRestored(index);
  if (last.model.isEmpty()) return;
  openModel(index, last.model);
  lane.restoring = true;
}

bool CompareController::wroteLast(const Lane& lane) const {
  return lane.reply != 0 && lane.bridge.model() &&
         lane.conversation.turn(lane.reply).fingerprint == lane.bridge.model()->fingerprint;
}

// The lane's own model is there: tokens, norms and, when the other lane is as far, the divergence.
void CompareController::showRestored(int index) {
  Lane& lane = lanes_[std::size_t(index)];
  const engine::ModelInfo& model = *lane.bridge.model();
  if (!model.tokenizer) return;
  lane.prompt = prompt(index);
  lane.bridge.showRecords(recordsOf(lane.conversation, lane.prompt));
  if (model.summary.parameters < kRereadBelow)
    lane.bridge.reread(lane.prompt.tokens, {engine::TraceLevel::summary, {}, 512});
  showFacts(index);
  for (const ui::TurnSpan& span : lane.prompt.spans) {
    if (span.turn == lane.reply) lane.prompt.tokens.resize(std::size_t(span.textBegin));
  }
  if (wroteLast(lanes_[0]) && wroteLast(lanes_[1]) && !lanes_[0].prompt.tokens.empty() &&
      !lanes_[1].prompt.tokens.empty()) {
    scoreBoth();
  }
}

}  // namespace eyrie::app
