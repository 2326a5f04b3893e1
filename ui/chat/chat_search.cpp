#include "ui/chat/chat_search.h"

#include <QEvent>
#include <QHBoxLayout>
#include <QKeyEvent>
#include <QLabel>
#include <QLineEdit>
#include <QScrollBar>
#include <QToolButton>

#include "ui/chat/chat_view.h"
#include "ui/theme/theme.h"

namespace eyrie::ui {

ChatSearch::ChatSearch(ChatView* view)
    : QFrame(view), view_(view), input_(new QLineEdit(this)), count_(new QLabel(this)) {
  setObjectName(QStringLiteral("findBar"));
  setProperty("role", QStringLiteral("panel"));
  setAccessibleName(tr("Find in the conversation"));
  input_->setObjectName(QStringLiteral("findInput"));
  input_->setAccessibleName(tr("Find"));
  input_->setPlaceholderText(tr("Find in the conversation"));
  input_->setFixedWidth(200);
  input_->installEventFilter(this);
  count_->setObjectName(QStringLiteral("findCount"));
  count_->setProperty("role", QStringLiteral("secondary"));
  count_->setMinimumWidth(64);
  count_->setAlignment(Qt::AlignCenter);
  auto* row = new QHBoxLayout(this);
  row->setContentsMargins(8, 6, 6, 6);
  row->setSpacing(2);
  row->addWidget(input_);
  row->addWidget(count_);
  const auto button = [&](const char* name, const char* icon, const QString& text) {
    auto* made = new QToolButton(this);
    made->setObjectName(QLatin1String(name));
    made->setIcon(themeIcon(QLatin1String(icon)));
    made->setIconSize({14, 14});
    made->setToolTip(text);
    made->setAccessibleName(text);
    row->addWidget(made);
    return made;
  };
  previous_ = button("findPreviousButton", "up", tr("Previous (Shift+F3)"));
  next_ = button("findNextButton", "down", tr("Next (F3)"));
  auto* close = button("findClose", "close", tr("Close (Esc)"));
  connect(previous_, &QToolButton::clicked, this, [this] { step(-1); });
  connect(next_, &QToolButton::clicked, this, [this] { step(1); });
  connect(close, &QToolButton::clicked, this, &QWidget::hide);
  connect(input_, &QLineEdit::textChanged, this, &ChatSearch::search);
  view_->installEventFilter(this);
  hide();
}

void ChatSearch::open() {
  const bool was = isVisible();
  show();
  place();
  raise();
  input_->setFocus();
  input_->selectAll();
  if (!was) search();
}

void ChatSearch::place() {
  adjustSize();
  move(view_->viewport()->width() - width() - 12, 8);
}

void ChatSearch::search() {
  match_ = -1;
  message_ = nullptr;
  for (MessageWidget* message : view_->messages()) {
    message->body()->setSearch(isHidden() ? QString() : input_->text());
    message->body()->setCurrentMatch(-1);
    connect(message->body(), &MessageBody::matchesChanged, this, &ChatSearch::showCount,
            Qt::UniqueConnection);
  }
  if (!isHidden() && count() > 0) choose(firstInView());
  showCount();
}

void ChatSearch::refresh() {
  if (isHidden()) return;
  for (MessageWidget* message : view_->messages()) {
    connect(message->body(), &MessageBody::matchesChanged, this, &ChatSearch::showCount,
            Qt::UniqueConnection);
    message->body()->setSearch(input_->text());
  }
  showCount();
}

int ChatSearch::count() const {
  int all = 0;
  for (const MessageWidget* message : view_->messages()) all += message->body()->matchCount();
  return all;
}

int ChatSearch::current() const {
  int before = 0;
  for (const MessageWidget* message : view_->messages()) {
    if (message == message_) return match_ < 0 ? -1 : before + match_;
    before += message->body()->matchCount();
  }
  return -1;
}

std::pair<MessageWidget*, int> ChatSearch::placeOf(int index) const {
  for (MessageWidget* message : view_->messages()) {
    if (index < message->body()->matchCount()) return {message, index};
    index -= message->body()->matchCount();
  }
  return {nullptr, -1};
}

int ChatSearch::firstInView() const {
  int index = 0;
  const int top = view_->verticalScrollBar()->value();
  for (const MessageWidget* message : view_->messages()) {
    for (int i = 0; i < message->body()->matchCount(); ++i, ++index) {
      const QPoint at = message->body()->mapTo(view_->widget(), message->body()->matchRect(i).bottomLeft());
      if (at.y() >= top) return index;
    }
  }
  return 0;
}

void ChatSearch::choose(int index) {
  if (message_) message_->body()->setCurrentMatch(-1);
  const auto [message, match] = placeOf(index);
  message_ = message;
  match_ = match;
  if (!message) return;
  message->body()->setCurrentMatch(match);
  const QRect rect = message->body()->matchRect(match);
  const QPoint at = message->body()->mapTo(view_->widget(), rect.center());
  view_->ensureVisible(at.x(), at.y(), 0, 80);
  showCount();
}

void ChatSearch::step(int delta) {
  if (!isVisible()) return open();
  const int all = count();
  if (all > 0) choose((std::max(current(), delta < 0 ? 0 : -1) + delta + all) % all);
}

void ChatSearch::showCount() {
  const int all = count();
  count_->setText(input_->text().isEmpty() ? QString()
                  : all == 0               ? tr("not found")
                                           : tr("%1 of %2").arg(std::max(0, current()) + 1).arg(all));
  for (QToolButton* button : {previous_, next_}) button->setEnabled(all > 0);
}

bool ChatSearch::eventFilter(QObject* watched, QEvent* event) {
  if (watched == view_ && event->type() == QEvent::Resize && isVisible()) place();
  if (watched != input_) return QFrame::eventFilter(watched, event);
  const bool key = event->type() == QEvent::KeyPress || event->type() == QEvent::ShortcutOverride;
  if (!key) return QFrame::eventFilter(watched, event);
  const auto* pressed = static_cast<QKeyEvent*>(event);
  const bool enter = pressed->key() == Qt::Key_Return || pressed->key() == Qt::Key_Enter;
  if (pressed->key() != Qt::Key_Escape && !enter) return QFrame::eventFilter(watched, event);
  event->accept();  // Escape closes the bar here; it does not stop the reply
  if (event->type() == QEvent::ShortcutOverride) return true;
  if (enter)
    step(pressed->modifiers() & Qt::ShiftModifier ? -1 : 1);
  else
    hide();
  return true;
}

void ChatSearch::hideEvent(QHideEvent* event) {
  QFrame::hideEvent(event);
  if (isHidden()) search();  // else only the page is away
}

}  // namespace eyrie::ui
