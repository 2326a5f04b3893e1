#include "ui/models/conversation_model.h"

#include <algorithm>

namespace eyrie::ui {

ConversationModel::ConversationModel(Conversation* conversation, QObject* parent)
    : QAbstractListModel(parent), conversation_(conversation), rows_(conversation->path()) {
  connect(conversation_, &Conversation::aboutToReset, this, [this] { beginResetModel(); });
  connect(conversation_, &Conversation::wasReset, this, [this] {
    rows_ = conversation_->path();
    endResetModel();
  });
  connect(conversation_, &Conversation::pathChanged, this, &ConversationModel::follow);
  connect(conversation_, &Conversation::textAppended, this, [this](TurnId id) { changed(id, {TextRole}); });
  connect(conversation_, &Conversation::recordsChanged, this,
          [this](TurnId id) { changed(id, {TokensRole}); });
  connect(conversation_, &Conversation::turnChanged, this, [this](TurnId id) { changed(id, {StatusRole}); });
}

TurnId ConversationModel::turnAt(int row) const {
  return row >= 0 && row < int(rows_.size()) ? rows_[std::size_t(row)] : 0;
}

int ConversationModel::rowOf(TurnId id) const {
  const auto found = std::find(rows_.rbegin(), rows_.rend(), id);  // what changes is near the end
  return found == rows_.rend() ? -1 : int(rows_.rend() - found) - 1;
}

void ConversationModel::follow(int firstChanged) {
  const std::vector<TurnId>& path = conversation_->path();
  if (firstChanged < int(rows_.size())) {
    beginRemoveRows({}, firstChanged, int(rows_.size()) - 1);
    rows_.resize(std::size_t(firstChanged));
    endRemoveRows();
  }
  if (path.size() > rows_.size()) {
    beginInsertRows({}, int(rows_.size()), int(path.size()) - 1);
    rows_ = path;
    endInsertRows();
  }
}

void ConversationModel::changed(TurnId id, const QList<int>& roles) {
  const int row = rowOf(id);
  if (row >= 0) emit dataChanged(index(row), index(row), roles);
}

int ConversationModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : int(rows_.size());
}

QVariant ConversationModel::data(const QModelIndex& index, int role) const {
  if (!checkIndex(index, CheckIndexOption::IndexIsValid)) return {};
  const Turn& turn = conversation_->turn(rows_[std::size_t(index.row())]);
  const auto speaker = [&turn] {
    if (turn.role == engine::Role::model) return turn.model.isEmpty() ? tr("Model") : turn.model;
    return turn.role == engine::Role::text ? tr("Text") : tr("You");
  };
  switch (role) {
    case Qt::DisplayRole:
    case TextRole:
      return turn.text;
    case Qt::AccessibleTextRole:
      return tr("%1: %2").arg(speaker(), turn.text);
    case TurnIdRole:
      return qlonglong(turn.id);
    case SpeakerRole:
      return speaker();
    case StatusRole:
      return int(turn.status);
    case TokensRole:
      return int(turn.tokens.size());
    case SiblingsRole:
      return int(conversation_->children(turn.parent).size());
    case SiblingRole: {
      const std::vector<TurnId>& all = conversation_->children(turn.parent);
      return int(std::find(all.begin(), all.end(), turn.id) - all.begin()) + 1;
    }
    default:
      return {};
  }
}

QHash<int, QByteArray> ConversationModel::roleNames() const {
  return {{TurnIdRole, "turnId"},   {SpeakerRole, "speaker"},   {TextRole, "text"},    {StatusRole, "status"},
          {SiblingRole, "sibling"}, {SiblingsRole, "siblings"}, {TokensRole, "tokens"}};
}

}  // namespace eyrie::ui
