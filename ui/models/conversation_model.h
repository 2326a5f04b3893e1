// The shown path of a conversation as a list: one row a turn. GUI thread only.
#pragma once

#include <QAbstractListModel>

#include "ui/chat/conversation.h"

namespace eyrie::ui {

class ConversationModel final : public QAbstractListModel {
  Q_OBJECT
 public:
  enum Role {
    TurnIdRole = Qt::UserRole + 1,
    SpeakerRole,   // "You", the model's name
    TextRole,      // all of it
    StatusRole,    // int of TurnStatus
    SiblingRole,   // 1-based place among its siblings
    SiblingsRole,  // how many
    TokensRole     // records have changed
  };

  explicit ConversationModel(Conversation* conversation, QObject* parent = nullptr);

  const Conversation& conversation() const { return *conversation_; }
  TurnId turnAt(int row) const;
  int rowOf(TurnId id) const;  // -1: not on the path

  int rowCount(const QModelIndex& parent = {}) const final;
  QVariant data(const QModelIndex& index, int role) const final;
  QHash<int, QByteArray> roleNames() const final;

 private:
  void follow(int firstChanged);
  void changed(TurnId id, const QList<int>& roles);

  Conversation* conversation_;
  std::vector<TurnId> rows_;
};

}  // namespace eyrie::ui
