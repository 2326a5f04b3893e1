#include "ui/chat/message_widget.h"

#include <QEvent>
#include <QHBoxLayout>
#include <QKeyEvent>
#include <QLabel>
#include <QLocale>
#include <QPlainTextEdit>
#include <QToolButton>

#include "ui/theme/theme.h"

namespace eyrie::ui {

MessageWidget::MessageWidget(TurnId id, QWidget* parent)
    : QFrame(parent),
      id_(id),
      header_(new QHBoxLayout),
      dot_(new QLabel(this)),
      name_(new QLabel(this)),
      details_(new QLabel(this)),
      body_(new MessageBody(this)) {
  setObjectName(QStringLiteral("message"));
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(metrics::kStep);
  header_->setSpacing(metrics::kGroup);
  header_->setContentsMargins(0, 0, 0, 0);
  dot_->setFixedSize(8, 8);
  name_->setProperty("role", QStringLiteral("dim"));
  name_->setFont(themeFont(TextRole::secondary));
  details_->setProperty("role", QStringLiteral("secondary"));
  header_->addWidget(dot_);
  header_->addWidget(name_);
  header_->addWidget(details_, 1);
  column->addLayout(header_);
  column->addWidget(body_);
  body_->installEventFilter(this);
  // Room for the actions, so that nothing jumps when they appear.
  header_->addStrut(24);
}

void MessageWidget::show(const Turn& turn, int sibling, int siblings, const MessageLook& look) {
  look_ = look;
  facts_ = Turn();
  facts_.role = turn.role;
  facts_.status = turn.status;
  facts_.model = turn.model;
  showHeader(turn);
  if (look.tokens) {
    body_->showTokens(turn, look.tokenizer);
  } else {
    body_->showText(turn.text, turn.status == TurnStatus::writing, turn.role == engine::Role::model);
  }
  if (siblings > 1 || siblings_) showSiblings(sibling, siblings);
  updateActions();
}

void MessageWidget::showHeader(const Turn& turn) {
  const bool reply = turn.role == engine::Role::model;
  const Theme& theme = Theme::current();
  dot_->setVisible(reply);
  // Setting a style sheet costs a new polish: only when it differs.
  const QString dot =
      QStringLiteral("background: %1; border-radius: 4px;").arg(theme.model(look_.isHawk).name());
  if (dot_->styleSheet() != dot) dot_->setStyleSheet(dot);
  const QString you = turn.role == engine::Role::text ? tr("Text") : tr("You");
  const QString name = reply ? (turn.model.isEmpty() ? tr("Model") : turn.model) : you;
  name_->setText(name);
  body_->setAccessibleName(tr("Message of %1").arg(name));
  QStringList facts;
  if (!turn.tokens.empty())
    facts << (turn.tokens.size() == 1 ? tr("1 token") : tr("%1 tokens").arg(turn.tokens.size()));
  if (turn.tokensPerSecond > 0) facts << tr("%1 tok/s").arg(QLocale().toString(turn.tokensPerSecond, 'f', 0));
  if (reply && turn.status == TurnStatus::done && turn.seed != 0) facts << tr("seed %1").arg(turn.seed);
  if (turn.status == TurnStatus::cancelled) facts << tr("stopped");
  if (turn.status == TurnStatus::interrupted) facts << tr("interrupted");
  if (turn.status == TurnStatus::failed) facts << tr("failed");
  if (turn.status == TurnStatus::writing && turn.text.isEmpty()) facts << tr("reading…");
  details_->setText(facts.join(QStringLiteral(" · ")));
}

QToolButton* MessageWidget::addAction(const QString& icon, const QString& text, const QString& name) {
  auto* button = new QToolButton(actions_);
  button->setIcon(themeIcon(icon));
  button->setToolTip(text);
  button->setAccessibleName(text);
  button->setObjectName(name);
  button->setIconSize({14, 14});
  button->setFixedSize(24, 24);
  actions_->layout()->addWidget(button);
  return button;
}

void MessageWidget::makeActions() {
  if (actions_) return;
  actions_ = new QWidget(this);
  auto* row = new QHBoxLayout(actions_);
  row->setContentsMargins(0, 0, 0, 0);
  row->setSpacing(0);
  connect(addAction(QStringLiteral("copy"), tr("Copy"), QStringLiteral("copyMessage")), &QToolButton::clicked,
          this, [this] { emit copyRequested(id_); });
  edit_ = addAction(QStringLiteral("edit"), tr("Edit and send again"), QStringLiteral("editMessage"));
  connect(edit_, &QToolButton::clicked, this, &MessageWidget::beginEdit);
  regenerate_ = addAction(QStringLiteral("again"), tr("Write again (Ctrl+R)"), QStringLiteral("regenerate"));
  connect(regenerate_, &QToolButton::clicked, this, [this] { emit regenerateRequested(id_); });
  continue_ = addAction(QStringLiteral("onward"), tr("Continue (Alt+Return)"), QStringLiteral("continue"));
  connect(continue_, &QToolButton::clicked, this, [this] { emit continueRequested(id_); });
  header_->addWidget(actions_);
}

void MessageWidget::updateActions() {
  const bool wanted = pointerInside_ && !editor_;
  if (wanted) makeActions();
  if (!actions_) return;
  const bool reply = facts_.role == engine::Role::model;
  const bool writing = facts_.status == TurnStatus::writing;
  edit_->setVisible(!reply && look_.actions);
  regenerate_->setVisible(reply && look_.actions && !writing);
  continue_->setVisible(reply && look_.actions && look_.isLast && !writing);
  actions_->setVisible(wanted);
}

void MessageWidget::showSiblings(int sibling, int siblings) {
  if (!siblings_) {
    siblings_ = new QWidget(this);
    auto* row = new QHBoxLayout(siblings_);
    row->setContentsMargins(0, 0, 0, 0);
    row->setSpacing(0);
    const auto step = [&](const QString& icon, const QString& text, int delta) {
      auto* button = new QToolButton(siblings_);
      button->setIcon(themeIcon(icon));
      button->setIconSize({12, 12});
      button->setFixedSize(20, 20);
      button->setToolTip(text);
      button->setAccessibleName(text);
      connect(button, &QToolButton::clicked, this, [this, delta] { emit siblingRequested(id_, delta); });
      row->addWidget(button);
    };
    step(QStringLiteral("back"), tr("Previous version (Alt+Left)"), -1);
    siblingText_ = new QLabel(siblings_);
    siblingText_->setProperty("role", QStringLiteral("secondary"));
    siblingText_->setObjectName(QStringLiteral("siblingText"));
    row->addWidget(siblingText_);
    step(QStringLiteral("forward"), tr("Next version (Alt+Right)"), 1);
    header_->addWidget(siblings_);
  }
  siblings_->setVisible(siblings > 1);
  siblingText_->setText(QStringLiteral("%1/%2").arg(sibling).arg(siblings));
}

void MessageWidget::beginEdit() {
  if (editor_ || facts_.role == engine::Role::model) return;
  editor_ = new QPlainTextEdit(body_->toPlainText(), this);
  editor_->setObjectName(QStringLiteral("messageEditor"));
  editor_->setAccessibleName(tr("Edit message. Return sends, Escape gives up"));
  editor_->setToolTip(tr("Return sends, Shift+Return makes a new line, Escape gives up"));
  editor_->setFont(themeFont(TextRole::prose));
  editor_->setFixedHeight(std::clamp(body_->height() + 24, 60, 240));
  editor_->installEventFilter(this);
  layout()->addWidget(editor_);
  body_->hide();
  updateActions();
  editor_->selectAll();
  editor_->setFocus();
}

void MessageWidget::endEdit(bool accept) {
  if (!editor_) return;
  const QString text = editor_->toPlainText().trimmed();
  editor_->deleteLater();
  editor_ = nullptr;
  body_->show();
  updateActions();
  if (accept && !text.isEmpty()) emit editFinished(id_, text);
}

bool MessageWidget::eventFilter(QObject* watched, QEvent* event) {
  if (watched == body_ && (event->type() == QEvent::FocusIn || event->type() == QEvent::FocusOut)) {
    pointerInside_ = event->type() == QEvent::FocusIn || underMouse();
    updateActions();
  }
  if (watched == editor_ && editor_ && event->type() == QEvent::ShortcutOverride) {
    // Escape belongs to the editor here, not to "stop".
    if (static_cast<QKeyEvent*>(event)->key() == Qt::Key_Escape) event->accept();
  }
  if (watched == editor_ && editor_ && event->type() == QEvent::KeyPress) {
    const auto* key = static_cast<QKeyEvent*>(event);
    if (key->key() == Qt::Key_Escape) return endEdit(false), true;
    const bool enter = key->key() == Qt::Key_Return || key->key() == Qt::Key_Enter;
    if (enter && !(key->modifiers() & Qt::ShiftModifier)) return endEdit(true), true;
  }
  return QFrame::eventFilter(watched, event);
}

void MessageWidget::enterEvent(QEnterEvent* event) {
  QFrame::enterEvent(event);
  pointerInside_ = true;
  updateActions();
}

void MessageWidget::leaveEvent(QEvent* event) {
  QFrame::leaveEvent(event);
  pointerInside_ = body_->hasFocus() || (actions_ && actions_->isAncestorOf(focusWidget()));
  updateActions();
}

void MessageWidget::changeEvent(QEvent* event) {
  QFrame::changeEvent(event);
  if (event->type() != QEvent::PaletteChange || !name_) return;
  dot_->setStyleSheet(
      QStringLiteral("background: %1; border-radius: 4px;").arg(Theme::current().model(look_.isHawk).name()));
}

}  // namespace eyrie::ui
