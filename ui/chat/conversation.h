// The conversation in view: a tree of turns of which one path is shown. Siblings are kept when a turn is
// edited or written again. GUI thread only; knows neither the engine thread nor the store.
#pragma once

#include <QObject>
#include <QString>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/sampler.h"
#include "engine/taps.h"
#include "engine/tokenizer/chat_template.h"

namespace eyrie::ui {

using TurnId = std::int64_t;  // of this conversation, from 1; 0: none

enum class TurnStatus { writing, done, cancelled, interrupted, failed };

struct Turn {
  TurnId id = 0;
  TurnId parent = 0;  // 0: a root
  engine::Role role = engine::Role::user;
  QString text;
  QString model;            // who wrote it; empty for you
  std::string fingerprint;  // of that model
  TurnStatus status = TurnStatus::done;
  std::uint64_t seed = 0;
  std::optional<engine::SamplingOptions> sampling;  // it was drawn with; none for one read from the store
  double tokensPerSecond = 0;
  std::int64_t created = 0;                 // Unix milliseconds, UTC
  std::int64_t storeId = 0;                 // the store's name for it; 0: not stored (yet)
  std::int64_t firstPosition = -1;          // of tokens[0] in the run in view; -1: not read by the model
  std::vector<engine::TokenRecord> tokens;  // of the text alone, without the template around it
  bool rawContinuation = false;             // written after plain text, without a turn of its own
};

class Conversation : public QObject {
  Q_OBJECT
 public:
  explicit Conversation(QObject* parent = nullptr) : QObject(parent) {}

  void clear();
  // Adds a child of `turn.parent` and shows the path to it. Returns its id (turn.id is ignored).
  TurnId add(Turn turn);
  // Fills the whole tree at once; `leaf` ends the shown path. Parents come before children, ids are kept.
  void restore(std::vector<Turn> turns, TurnId leaf);

  bool contains(TurnId id) const { return turns_.count(id) != 0; }
  const Turn& turn(TurnId id) const { return turns_.at(id); }
  const std::vector<TurnId>& path() const { return path_; }  // root … leaf
  TurnId leaf() const { return path_.empty() ? 0 : path_.back(); }
  const std::vector<TurnId>& children(TurnId parent) const;
  std::vector<TurnId> siblings(TurnId id) const { return children(turn(id).parent); }
  bool isEmpty() const { return turns_.empty(); }

  void appendText(TurnId id, const QString& delta);
  // Places a record by its position; the turn must know its firstPosition.
  void placeRecord(TurnId id, const engine::TokenRecord& record);
  void setFirstPosition(TurnId id, std::int64_t position);
  void setStoreId(TurnId id, std::int64_t storeId);
  void setSampling(TurnId id, const engine::SamplingOptions& sampling);
  void finish(TurnId id, TurnStatus status, std::uint64_t seed, double tokensPerSecond);
  void setStatus(TurnId id, TurnStatus status);
  // Shows the path to `id`, then on to the children last shown below it.
  void select(TurnId id);
  // Shows the path that ends in `id` (0: nothing), so that the next turn becomes its child.
  void cutAfter(TurnId id);
  // The previous or next sibling of a turn of the path.
  void stepSibling(TurnId id, int delta);

 signals:
  void aboutToReset();
  void wasReset();
  void pathChanged(int firstChanged);  // rows from here on are others
  void textAppended(TurnId id);
  void recordsChanged(TurnId id);
  void turnChanged(TurnId id);  // status, facts

 private:
  void showPath(TurnId leaf);

  std::map<TurnId, Turn> turns_;
  std::map<TurnId, std::vector<TurnId>> children_;
  std::map<TurnId, TurnId> lastShown_;  // parent → child shown last
  std::vector<TurnId> path_;
  TurnId next_ = 1;
};

}  // namespace eyrie::ui
