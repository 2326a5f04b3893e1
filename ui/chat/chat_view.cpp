#include "ui/chat/chat_view.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>
#include <QScrollBar>
#include <cmath>

#include "ui/chat/chat_search.h"
#include "ui/chat/token_popover.h"
#include "ui/theme/theme.h"

namespace eyrie::ui {

ChatView::ChatView(ConversationModel* model, QWidget* parent)
    : QScrollArea(parent),
      model_(model),
      content_(new QWidget),
      column_(new QWidget(content_)),
      list_(new QVBoxLayout(column_)),
      empty_(new QWidget(content_)),
      emptyTitle_(new QLabel(empty_)),
      emptyText_(new QLabel(empty_)),
      exampleList_(new QVBoxLayout),
      newest_(new QPushButton(tr("Jump to newest"), this)) {
  setObjectName(QStringLiteral("chatView"));
  setAccessibleName(tr("Conversation"));
  setWidgetResizable(true);
  setFrameShape(QFrame::NoFrame);
  setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  auto* outer = new QVBoxLayout(content_);
  outer->setContentsMargins(metrics::kPageMargin, metrics::kPageMargin - 4, metrics::kPageMargin, 8);
  auto* centred = new QHBoxLayout;
  centred->addStretch(1);
  centred->addWidget(column_, 1000);
  centred->addStretch(1);
  outer->addLayout(centred);
  auto* emptyRow = new QHBoxLayout;
  emptyRow->addStretch(1);
  emptyRow->addWidget(empty_, 1000);
  emptyRow->addStretch(1);
  outer->addLayout(emptyRow);
  outer->addStretch(1);
  list_->setContentsMargins(0, 0, 0, 0);
  list_->setSpacing(metrics::kMessageGap);
  auto* emptyColumn = new QVBoxLayout(empty_);
  empty_->setMaximumWidth(520);
  emptyColumn->addSpacing(48);
  emptyTitle_->setFont(themeFont(TextRole::title));
  emptyText_->setWordWrap(true);
  emptyText_->setProperty("role", QStringLiteral("dim"));
  emptyColumn->addWidget(emptyTitle_);
  emptyColumn->addWidget(emptyText_);
  emptyColumn->addSpacing(8);
  exampleList_->setSpacing(metrics::kGroup);
  emptyColumn->addLayout(exampleList_);
  setWidget(content_);
  newest_->setObjectName(QStringLiteral("jumpToNewest"));
  newest_->setIcon(themeIcon(QStringLiteral("down")));
  newest_->hide();
  connect(newest_, &QPushButton::clicked, this, &ChatView::jumpToNewest);
  connect(verticalScrollBar(), &QScrollBar::rangeChanged, this, [this](int, int maximum) {
    if (following_) verticalScrollBar()->setValue(maximum);
  });
  connect(verticalScrollBar(), &QScrollBar::valueChanged, this, [this](int value) {
    following_ = value >= verticalScrollBar()->maximum() - 8;
    newest_->setVisible(!following_);
    if (popover_) popover_->hide();
    placeOverlays();
  });
  connect(model_, &QAbstractItemModel::rowsInserted, this,
          [this](const QModelIndex&, int first, int last) { insertRows(first, last); });
  connect(model_, &QAbstractItemModel::rowsRemoved, this,
          [this](const QModelIndex&, int first, int last) { removeRows(first, last); });
  connect(model_, &QAbstractItemModel::modelReset, this, &ChatView::rebuild);
  connect(model_, &QAbstractItemModel::dataChanged, this,
          [this](const QModelIndex& from, const QModelIndex& to) {
            for (int row = from.row(); row <= to.row(); ++row) refresh(row);
          });
  rebuild();
}

void ChatView::setModelInfo(std::shared_ptr<const engine::ModelInfo> info, bool isHawk) {
  info_ = std::move(info);
  isHawk_ = isHawk;
  for (int row = 0; row < int(messages_.size()); ++row) refresh(row);
}

void ChatView::setTokenView(bool tokens) {
  if (tokens == tokens_) return;
  tokens_ = tokens;
  if (popover_) popover_->hide();
  for (int row = 0; row < int(messages_.size()); ++row) refresh(row);
  showSelection();
}

void ChatView::setSelection(Selection* selection) {
  selection_ = selection;
  connect(selection, &Selection::changed, this, &ChatView::showSelection);
  connect(selection, &Selection::hoverChanged, this, &ChatView::showSelection);
}

void ChatView::setColumnWidth(int width) {
  column_->setMaximumWidth(width);
}

void ChatView::setExamples(const QString& title, const QString& text, const QStringList& prompts) {
  emptyTitle_->setText(title);
  emptyText_->setText(text);
  while (QLayoutItem* item = exampleList_->takeAt(0)) {
    delete item->widget();
    delete item;
  }
  for (const QString& prompt : prompts) {
    QString shown = prompt.simplified();
    if (shown.size() > 64) shown = shown.left(62) + QChar(0x2026);
    auto* button = new QPushButton(shown, empty_);
    button->setObjectName(QStringLiteral("examplePrompt"));
    button->setToolTip(prompt);
    button->setStyleSheet(QStringLiteral("text-align: left; padding: 8px 12px;"));
    button->setMinimumHeight(36);
    connect(button, &QPushButton::clicked, this, [this, prompt] { emit exampleChosen(prompt); });
    exampleList_->addWidget(button);
  }
  updateEmpty();
}

void ChatView::setReplyTints(std::vector<float> tints) {
  tints_ = std::move(tints);
  if (!messages_.empty()) messages_.back()->body()->setTints(tints_);
}

void ChatView::rebuild() {
  if (popover_) popover_->hide();
  for (MessageWidget* message : messages_) delete message;
  messages_.clear();
  if (model_->rowCount() > 0) insertRows(0, model_->rowCount() - 1);
  updateEmpty();
  following_ = true;
  newest_->hide();
  if (search_) search_->refresh();
}

ChatSearch* ChatView::search() {
  if (!search_) search_ = new ChatSearch(this);
  return search_;
}

MessageWidget* ChatView::makeMessage(TurnId id) {
  auto* message = new MessageWidget(id, column_);
  connect(message, &MessageWidget::copyRequested, this, &ChatView::copyRequested);
  connect(message, &MessageWidget::regenerateRequested, this, &ChatView::regenerateRequested);
  connect(message, &MessageWidget::continueRequested, this, &ChatView::continueRequested);
  connect(message, &MessageWidget::editFinished, this, &ChatView::editFinished);
  connect(message, &MessageWidget::siblingRequested, this, &ChatView::siblingRequested);
  connect(message->body(), &MessageBody::tokenHovered, this,
          [this, message](int index) { hoverToken(message, index); });
  connect(message->body(), &MessageBody::tokenClicked, this, [this, id](int index) {
    const Turn& turn = model_->conversation().turn(id);
    if (selection_ && turn.firstPosition >= 0) selection_->selectToken(turn.firstPosition + index);
  });
  return message;
}

void ChatView::insertRows(int first, int last) {
  for (int row = first; row <= last; ++row) {
    MessageWidget* message = makeMessage(model_->turnAt(row));
    messages_.insert(messages_.begin() + row, message);
    list_->insertWidget(row, message);
  }
  for (int row = std::max(0, first - 1); row <= last; ++row) refresh(row);
  updateEmpty();
  jumpToNewest();
  if (search_) search_->refresh();
}

void ChatView::removeRows(int first, int last) {
  if (popover_) popover_->hide();
  for (int row = first; row <= last; ++row) {
    MessageWidget* message = messages_[std::size_t(row)];
    list_->removeWidget(message);
    message->hide();
    message->deleteLater();  // it may be the sender of what removes it
  }
  messages_.erase(messages_.begin() + first, messages_.begin() + last + 1);
  if (!messages_.empty()) refresh(int(messages_.size()) - 1);
  updateEmpty();
  if (search_) search_->refresh();
}

void ChatView::refresh(int row) {
  if (row >= int(messages_.size())) return;
  const QModelIndex index = model_->index(row);
  MessageLook look;
  look.tokens = tokens_;
  look.isHawk = isHawk_;
  look.isLast = row == int(messages_.size()) - 1;
  look.actions = actions_;
  const Turn& turn = model_->conversation().turn(model_->turnAt(row));
  if (info_ && (turn.fingerprint.empty() || turn.fingerprint == info_->fingerprint))
    look.tokenizer = info_->tokenizer;
  messages_[std::size_t(row)]->show(turn, index.data(ConversationModel::SiblingRole).toInt(),
                                    index.data(ConversationModel::SiblingsRole).toInt(), look);
}

void ChatView::hoverToken(MessageWidget* message, int index) {
  hoveredMessage_ = message;
  const Turn& turn = model_->conversation().turn(message->id());
  if (index < 0 || index >= int(turn.tokens.size()) || !info_ || !info_->tokenizer) {
    message->body()->setHoveredToken(-1);
    if (selection_) selection_->hoverToken(-1);
    if (popover_) popover_->hideSoon();
    return;
  }
  const engine::TokenRecord& record = turn.tokens[std::size_t(index)];
  TokenFacts facts;
  facts.position = record.position;
  facts.text = QString::fromStdString(info_->tokenizer->display(record.token));
  facts.bits = float(-record.logprob / M_LN2);
  facts.rank = record.rank;
  facts.canBranch = actions_ && turn.role == engine::Role::model && turn.status != TurnStatus::writing;
  for (int i = 0; i < engine::kTopTokens && facts.alternatives.size() < 6; ++i) {
    if (record.topTokens[i] < 0 || std::isnan(record.logprob)) break;
    facts.alternatives.push_back({record.topTokens[i],
                                  QString::fromStdString(info_->tokenizer->display(record.topTokens[i])),
                                  std::exp(record.topLogprobs[i]), record.topTokens[i] == record.token});
  }
  if (selection_ && turn.firstPosition >= 0) selection_->hoverToken(turn.firstPosition + index);
  if (!popover_) {
    popover_ = new TokenPopover(window());
    connect(popover_, &TokenPopover::branchRequested, this, [this](qint64 position, qint32 token) {
      if (!hoveredMessage_) return;
      const Turn& at = model_->conversation().turn(hoveredMessage_->id());
      for (std::size_t i = 0; i < at.tokens.size(); ++i) {
        if (at.tokens[i].position == position) return emit branchRequested(at.id, int(i), token);
      }
    });
  }
  const QRect rect = message->body()->tokenRect(index);
  message->body()->setHoveredToken(index);
  popover_->showFacts(facts, QRect(message->body()->mapTo(window(), rect.topLeft()), rect.size()));
}

void ChatView::showSelection() {
  if (!selection_) return;
  for (MessageWidget* message : messages_) {
    const Turn& turn = model_->conversation().turn(message->id());
    const std::int64_t count = std::int64_t(turn.tokens.size());
    const auto indexOf = [&](std::int64_t position) {
      const std::int64_t index = turn.firstPosition < 0 ? -1 : position - turn.firstPosition;
      return position >= 0 && index >= 0 && index < count ? int(index) : -1;
    };
    message->body()->setSelectedToken(tokens_ ? indexOf(selection_->token()) : -1);
    message->body()->setHoveredToken(tokens_ ? indexOf(selection_->hovered()) : -1);
  }
}

void ChatView::editLastQuestion() {
  for (auto message = messages_.rbegin(); message != messages_.rend(); ++message) {
    if (model_->conversation().turn((*message)->id()).role == engine::Role::model) continue;
    ensureWidgetVisible(*message);
    (*message)->beginEdit();
    return;
  }
}

void ChatView::jumpToNewest() {
  following_ = true;
  newest_->hide();
  verticalScrollBar()->setValue(verticalScrollBar()->maximum());
}

void ChatView::placeOverlays() {
  newest_->adjustSize();
  newest_->move((width() - newest_->width()) / 2, height() - newest_->height() - 8);
}

void ChatView::resizeEvent(QResizeEvent* event) {
  QScrollArea::resizeEvent(event);
  placeOverlays();
}

void ChatView::updateEmpty() {
  const bool isEmpty = messages_.empty();
  empty_->setVisible(isEmpty);
  column_->setVisible(!isEmpty);
}

}  // namespace eyrie::ui
