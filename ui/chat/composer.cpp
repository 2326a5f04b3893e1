#include "ui/chat/composer.h"

#include <QHBoxLayout>
#include <QKeyEvent>
#include <QLabel>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QScreen>
#include <QTextBlock>
#include <QWindow>

#include "ui/theme/theme.h"
#include "ui/widgets/segmented.h"

namespace eyrie::ui {

namespace {
constexpr int kMostLines = 8;
}

Composer::Composer(QWidget* parent, bool modes)
    : QFrame(parent),
      input_(new QPlainTextEdit(this)),
      summary_(new QPushButton(this)),
      system_(new QPushButton(tr("System prompt"), this)),
      openText_(new QPushButton(tr("Open a text…"), this)),
      send_(new QPushButton(tr("Send"), this)),
      sampling_(new SamplingPanel(this)),
      systemPanel_(new QFrame(this)),
      systemInput_(new QPlainTextEdit(systemPanel_)) {
  setObjectName(QStringLiteral("composer"));
  setProperty("role", QStringLiteral("panel"));
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(12, 10, 10, 10);
  column->setSpacing(6);
  input_->setObjectName(QStringLiteral("composerInput"));
  input_->setAccessibleName(tr("Message"));
  input_->setProperty("frameless", true);
  input_->setFrameShape(QFrame::NoFrame);
  input_->setFont(themeFont(TextRole::prose));
  input_->setTabChangesFocus(true);
  input_->document()->setDocumentMargin(0);
  input_->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  input_->installEventFilter(this);
  makeBottomRow(column, modes);
  makeSystemPrompt();
  sampling_->setWindowFlags(Qt::Popup);
  sampling_->hide();
  connect(input_, &QPlainTextEdit::textChanged, this, [this] {
    fitHeight();
    updateState();
  });
  connect(sampling_, &SamplingPanel::changed, this, [this] { summary_->setText(sampling_->summary()); });
  summary_->setText(sampling_->summary());
  fitHeight();
  updateState();
}

void Composer::makeBottomRow(QVBoxLayout* column, bool modes) {
  auto* head = new QHBoxLayout;
  head->setSpacing(metrics::kStep);
  auto* row = new QHBoxLayout;
  row->setSpacing(metrics::kStep);
  if (modes) {
    modes_ = new Segmented(
        {tr("Chat"), tr("Continue"), tr("Read")},
        {QStringLiteral("modeChat"), QStringLiteral("modeContinue"), QStringLiteral("modeRead")}, this);
    modes_->setToolTips({tr("Send a message, get a reply"), tr("The model writes on where your text ends"),
                         tr("The model reads the text and writes nothing; every view works on it")});
    connect(modes_, &Segmented::chosen, this, [this](int index) { setMode(ComposeMode(index)); });
    head->addWidget(modes_);
  }
  for (QPushButton* quiet : {summary_, system_, openText_}) {
    quiet->setProperty("kind", QStringLiteral("quiet"));
    quiet->setFont(themeFont(TextRole::secondary));
  }
  summary_->setObjectName(QStringLiteral("samplingButton"));
  summary_->setAccessibleName(tr("Sampling"));
  summary_->setToolTip(tr("How the next token is drawn"));
  summary_->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Fixed);
  summary_->setStyleSheet(QStringLiteral("text-align: left;"));
  system_->setObjectName(QStringLiteral("systemPromptButton"));
  openText_->setObjectName(QStringLiteral("openTextButton"));
  openText_->setToolTip(tr("Read a text file (Ctrl+Shift+O)"));
  send_->setObjectName(QStringLiteral("sendButton"));
  send_->setProperty("kind", QStringLiteral("primary"));
  head->addStretch(1);
  head->addWidget(openText_);
  (modes ? head : row)->addWidget(system_);
  row->insertWidget(0, summary_, 1);
  row->addWidget(send_);
  if (modes)
    column->addLayout(head);
  else
    delete head;
  column->addWidget(input_);
  column->addLayout(row);
  connect(summary_, &QPushButton::clicked, this, [this] { popUp(sampling_, summary_); });
  connect(system_, &QPushButton::clicked, this, [this] { popUp(systemPanel_, system_); });
  connect(openText_, &QPushButton::clicked, this, &Composer::openTextRequested);
  connect(send_, &QPushButton::clicked, this, [this] { busy_ ? emit stopRequested() : submit(); });
}

void Composer::makeSystemPrompt() {
  systemPanel_->setObjectName(QStringLiteral("systemPromptPanel"));
  systemPanel_->setProperty("role", QStringLiteral("panel"));
  systemPanel_->setWindowFlags(Qt::Popup);
  auto* column = new QVBoxLayout(systemPanel_);
  column->setContentsMargins(12, 12, 12, 12);
  auto* note = new QLabel(
      tr("Sent before your first message, in the same turn: this format has no system role."), systemPanel_);
  note->setWordWrap(true);
  note->setProperty("role", QStringLiteral("secondary"));
  systemInput_->setObjectName(QStringLiteral("systemPromptInput"));
  systemInput_->setAccessibleName(tr("System prompt"));
  systemInput_->setPlaceholderText(tr("You are a patient gardener. Answer in short sentences."));
  systemInput_->setMinimumSize(320, 96);
  auto* effective = new QPushButton(tr("Show what is sent"), systemPanel_);
  effective->setObjectName(QStringLiteral("effectivePromptButton"));
  column->addWidget(note);
  column->addWidget(systemInput_);
  column->addWidget(effective, 0, Qt::AlignLeft);
  connect(effective, &QPushButton::clicked, this, [this] {
    systemPanel_->hide();
    emit effectivePromptRequested();
  });
  connect(systemInput_, &QPlainTextEdit::textChanged, this, [this] {
    updateState();
    emit systemPromptChanged();
  });
  systemPanel_->hide();
}

void Composer::popUp(QWidget* panel, QWidget* above) {
  panel->adjustSize();
  QPoint place = above->mapToGlobal(QPoint(0, -panel->height() - 4));
  const QRect screen = above->screen()->availableGeometry();
  place.setX(std::clamp(place.x(), screen.left() + 4,
                        std::max(screen.left() + 4, screen.right() - panel->width() - 4)));
  place.setY(std::max(place.y(), screen.top() + 4));
  panel->move(place);
  panel->show();
}

void Composer::setMode(ComposeMode mode) {
  mode_ = mode;
  if (modes_) modes_->setCurrent(int(mode));
  updateState();
}

void Composer::setBlocked(const QString& reason) {
  blocked_ = reason;
  updateState();
}

void Composer::setBusy(bool busy) {
  busy_ = busy;
  updateState();
}

void Composer::setText(const QString& text) {
  input_->setPlainText(text);
  input_->moveCursor(QTextCursor::End);
}

QString Composer::text() const {
  return input_->toPlainText();
}

void Composer::focusInput() {
  input_->setFocus();
}

void Composer::setLastSeed(quint64 seed) {
  sampling_->setLastSeed(seed);
  summary_->setText(sampling_->summary());
}

QString Composer::systemPrompt() const {
  return systemInput_->toPlainText().trimmed();
}

void Composer::setSystemPrompt(const QString& prompt) {
  const QSignalBlocker quiet(this);
  if (prompt != systemPrompt()) systemInput_->setPlainText(prompt);
  updateState();
}

void Composer::updateState() {
  const char* placeholders[] = {QT_TR_NOOP("Message…  Return sends, Shift+Return makes a new line"),
                                QT_TR_NOOP("Begin a text; the model writes on"),
                                QT_TR_NOOP("Paste a text here, or open a file, and watch it read")};
  input_->setPlaceholderText(tr(placeholders[int(mode_)]));
  const char* verbs[] = {QT_TR_NOOP("Send"), QT_TR_NOOP("Continue"), QT_TR_NOOP("Read")};
  send_->setText(busy_ ? tr("Stop") : tr(verbs[int(mode_)]));
  const bool hasText = !input_->toPlainText().trimmed().isEmpty();
  send_->setEnabled(busy_ || (blocked_.isEmpty() && hasText));
  send_->setToolTip(busy_                 ? tr("Stop after this token (Esc)")
                    : !blocked_.isEmpty() ? blocked_
                    : hasText             ? tr("Send (Return)")
                                          : tr("Write something first"));
  system_->setVisible(mode_ == ComposeMode::chat);
  system_->setText(systemPrompt().isEmpty() ? tr("System prompt") : tr("System prompt ●"));
  system_->setToolTip(systemPrompt().isEmpty() ? tr("None is sent") : systemPrompt());
  openText_->setVisible(mode_ == ComposeMode::read);
  summary_->setEnabled(mode_ != ComposeMode::read);
}

void Composer::submit() {
  const QString words = input_->toPlainText().trimmed();
  if (busy_ || !blocked_.isEmpty() || words.isEmpty()) return;
  emit submitted(words, mode_);
}

void Composer::fitHeight() {
  const int line = QFontMetrics(input_->font()).lineSpacing();
  const int lines = std::clamp(int(input_->document()->size().height()), 1, kMostLines);
  input_->setFixedHeight(lines * line + 8);
}

void Composer::changeEvent(QEvent* event) {
  QFrame::changeEvent(event);
  if (event->type() != QEvent::StyleChange || input_->font() == themeFont(TextRole::prose)) return;
  input_->setFont(themeFont(TextRole::prose));
  fitHeight();
}

bool Composer::eventFilter(QObject* watched, QEvent* event) {
  if (watched == input_ && event->type() == QEvent::Resize) fitHeight();
  if (watched == input_ && event->type() == QEvent::KeyPress) {
    const auto* key = static_cast<QKeyEvent*>(event);
    const bool enter = key->key() == Qt::Key_Return || key->key() == Qt::Key_Enter;
    if (enter && !(key->modifiers() & (Qt::ShiftModifier | Qt::AltModifier))) return submit(), true;
    if (key->key() == Qt::Key_Up && key->modifiers() == Qt::NoModifier && input_->toPlainText().isEmpty()) {
      return emit editLastRequested(), true;
    }
  }
  return QFrame::eventFilter(watched, event);
}

}  // namespace eyrie::ui
