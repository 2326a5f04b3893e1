#include "ui/chat/message_body.h"

#include <QAbstractTextDocumentLayout>
#include <QApplication>
#include <QDesktopServices>
#include <QLayout>
#include <QMouseEvent>
#include <QPainter>
#include <QScrollBar>
#include <QTextBlock>
#include <QTimer>
#include <algorithm>
#include <cmath>

#include "engine/tokenizer/utf8_assembler.h"
#include "ui/chat/markdown.h"
#include "ui/theme/theme.h"

namespace eyrie::ui {

namespace {

constexpr qsizetype kParseWhileStreaming = 6000;  // characters: up to here a parse takes a few milliseconds

QTextBlockFormat proseBlock() {
  QTextBlockFormat format;
  format.setLineHeight(metrics::kProseLineHeight * 90, QTextBlockFormat::ProportionalHeight);
  return format;
}

QString documentCss(const Theme& theme) {
  const QString mono = themeFont(TextRole::mono).family();
  const int prose = int(std::lround(textSize(TextRole::prose)));
  return QStringLiteral(
             "p, li { line-height: 144%; margin-top: 0; margin-bottom: 8px; }"
             "code, pre { font-family: '%1'; font-size: %5px; background-color: %2; }"
             "pre { margin: 4px 0 8px 0; }"
             "h1 { font-size: %6px; } h2 { font-size: %7px; } h3, h4, h5 { font-size: %8px; }"
             "th { background-color: %2; } td, th { padding: 4px 8px; }"
             "blockquote { color: %3; } a { color: %4; }")
      .arg(mono, (theme.dark ? theme.window : theme.hover).name(), theme.dim.name(), theme.accent.name())
      .arg(prose - 2)
      .arg(prose + 3)
      .arg(prose + 2)
      .arg(prose);
}

}  // namespace

MessageBody::MessageBody(QWidget* parent) : QTextBrowser(parent), parse_(new QTimer(this)) {
  setFrameShape(QFrame::NoFrame);
  setVerticalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
  setOpenLinks(false);
  setUndoRedoEnabled(false);
  setTabChangesFocus(true);
  setTextInteractionFlags(Qt::TextBrowserInteraction);
  viewport()->setAutoFillBackground(false);
  setMouseTracking(true);
  viewport()->setMouseTracking(true);
  document()->setDocumentMargin(0);
  applyFont();
  document()->setDefaultStyleSheet(documentCss(Theme::current()));
  parse_->setSingleShot(true);
  parse_->setInterval(60);
  connect(parse_, &QTimer::timeout, this, &MessageBody::renderMarkdown);
  connect(document()->documentLayout(), &QAbstractTextDocumentLayout::documentSizeChanged, this,
          &MessageBody::fitHeight);
  connect(this, &QTextBrowser::anchorClicked, this, [](const QUrl& url) {
    const QString scheme = url.scheme();
    if (scheme == QLatin1String("http") || scheme == QLatin1String("https")) QDesktopServices::openUrl(url);
  });
}

void MessageBody::applyFont() {
  setFont(themeFont(TextRole::prose));
  document()->setDefaultFont(themeFont(TextRole::prose));
}

QVariant MessageBody::loadResource(int, const QUrl&) {
  return {};
}  // nothing is fetched for a message

void MessageBody::showText(const QString& text, bool streaming, bool markdown) {
  const bool same = !tokenMode_ && text == text_ && streaming == streaming_ && markdown == markdown_;
  if (same && shown_ > 0) return;
  const bool continues = !tokenMode_ && markdown == markdown_ && text.startsWith(text_) && !text_.isEmpty();
  tokenMode_ = false;
  text_ = text;
  streaming_ = streaming;
  markdown_ = markdown;
  if (continues && streaming) {
    if (plain_) {
      appendPlain(text_.mid(shown_));
    } else if (text_.size() > kParseWhileStreaming) {
      render();  // from here on words are appended; the last parse comes at the end
    } else if (!parse_->isActive()) {
      parse_->start();
    }
    return;
  }
  render();
}

void MessageBody::render() {
  parse_->stop();
  if (markdown_ && (!streaming_ || text_.size() <= kParseWhileStreaming)) {
    renderMarkdown();
    return;
  }
  plain_ = true;
  shown_ = 0;
  document()->clear();
  appendPlain(text_);
}

void MessageBody::renderMarkdown() {
  if (tokenMode_) return;
  plain_ = false;
  shown_ = text_.size();
  setHtml(markdownToHtml(text_));
  fitHeight();
  findMatches();
}

void MessageBody::appendPlain(const QString& delta) {
  if (delta.isEmpty()) return;
  QTextCursor cursor(document());
  cursor.movePosition(QTextCursor::End);
  if (shown_ == 0) {
    cursor.setBlockFormat(proseBlock());
    cursor.setCharFormat({});
  }
  cursor.insertText(delta);
  shown_ += delta.size();
  fitHeight();
  findMatches();
}

void MessageBody::showTokens(const Turn& turn, const std::shared_ptr<const engine::Tokenizer>& tokenizer) {
  if (!tokenizer || turn.tokens.empty()) {
    showText(turn.text, turn.status == TurnStatus::writing, false);
    return;
  }
  parse_->stop();
  const bool rebuild = !tokenMode_ || turn.tokens.size() < ends_.size();
  tokenMode_ = true;
  markdown_ = false;
  text_ = turn.text;
  if (rebuild) {
    document()->clear();
    ends_.clear();
    bits_.clear();
    shown_ = 0;
    plain_ = true;
  }
  // Records already shown may have been scored since.
  for (std::size_t i = 0; i < bits_.size(); ++i) bits_[i] = float(-turn.tokens[i].logprob / M_LN2);
  engine::Utf8Assembler assembler;
  QString added;
  int end = ends_.empty() ? 0 : ends_.back();
  for (std::size_t i = ends_.size(); i < turn.tokens.size(); ++i) {
    const std::int32_t token = turn.tokens[i].token;
    const bool control = tokenizer->isControl(token);
    QString piece =
        QString::fromStdString(control ? tokenizer->display(token) : assembler.push(tokenizer->bytes(token)));
    piece.replace(QLatin1String("\r"), QString());
    if (end == 0) piece = piece.mid(piece.startsWith(QLatin1Char(' ')) ? 1 : 0);
    added += piece;
    end += int(piece.size());
    ends_.push_back(end);
    bits_.push_back(float(-turn.tokens[i].logprob / M_LN2));
  }
  appendPlain(added);
  viewport()->update();
}

void MessageBody::setSelectedToken(int index) {
  if (selected_ == index) return;
  selected_ = index;
  viewport()->update();
}

void MessageBody::setHoveredToken(int index) {
  if (hovered_ == index) return;
  hovered_ = index;
  viewport()->update();
}

void MessageBody::setTints(std::vector<float> tints) {
  tints_ = std::move(tints);
  viewport()->update();
}

std::vector<QRectF> MessageBody::rectsOf(std::size_t index) const {
  std::vector<QRectF> rects;
  if (index >= ends_.size()) return rects;
  const int begin = index == 0 ? 0 : ends_[index - 1];
  for (int at = begin; at < ends_[index];) {
    const QTextBlock block = document()->findBlock(at);
    if (!block.isValid()) break;
    const QPointF origin = document()->documentLayout()->blockBoundingRect(block).topLeft();
    const QTextLine line = block.layout()->lineForTextPosition(at - block.position());
    if (!line.isValid()) break;
    const int lineEnd = block.position() + line.textStart() + line.textLength();
    const int stop = std::min({ends_[index], lineEnd, block.position() + block.length() - 1});
    const double x1 = line.cursorToX(at - block.position());
    const double x2 = line.cursorToX(std::max(stop, at) - block.position());
    const QRectF natural = line.naturalTextRect();
    // The space a line broke at is no place to mark the word that follows it.
    const bool broken =
        stop < ends_[index] && block.text().mid(at - block.position(), stop - at).trimmed().isEmpty();
    if (x2 > x1 && !broken)
      rects.emplace_back(origin.x() + x1, origin.y() + natural.y(), x2 - x1, natural.height());
    at = std::max(stop, at + 1);
  }
  return rects;
}

QRect MessageBody::tokenRect(int index) const {
  const std::vector<QRectF> rects = index < 0 ? std::vector<QRectF>() : rectsOf(std::size_t(index));
  return rects.empty() ? QRect() : rects.front().toAlignedRect();
}

QColor MessageBody::tintOf(std::size_t index) const {
  const Theme& theme = Theme::current();
  if (index < tints_.size()) {
    QColor colour = tints_[index] < 0 ? theme.accent : theme.attention;
    colour.setAlphaF(std::min(1.0F, std::abs(tints_[index])) * 0.45F);
    return colour;
  }
  const float bits = bits_[index];
  if (std::isnan(bits)) return Qt::transparent;
  QColor colour = theme.accent;
  // Twelve bits is one in 4096: the whole vocabulary of the built-in models.
  colour.setAlphaF(0.05F + 0.4F * std::clamp(bits / 12.0F, 0.0F, 1.0F));
  return colour;
}

void MessageBody::paintTokens(QPainter& painter, const QRect& area) {
  const int top = document()->documentLayout()->hitTest(QPointF(0, area.top()), Qt::FuzzyHit);
  const auto first = std::lower_bound(ends_.begin(), ends_.end(), std::max(0, top));
  for (std::size_t i = std::size_t(first - ends_.begin()); i < ends_.size(); ++i) {
    bool below = false;
    for (const QRectF& rect : rectsOf(i)) {
      below = rect.top() > area.bottom();
      if (below) break;
      painter.setPen(Qt::NoPen);
      painter.setBrush(tintOf(i));
      painter.drawRoundedRect(rect.adjusted(0.5, 0, -0.5, 0), 3, 3);
      if (int(i) != selected_ && int(i) != hovered_) continue;
      const bool chosen = int(i) == selected_;
      painter.setBrush(chosen ? Theme::current().accentGround : QColor(Qt::transparent));
      painter.setPen(QPen(chosen ? Theme::current().accent : Theme::current().faint, 1));
      painter.drawRoundedRect(rect.adjusted(-0.5, -0.5, 0.5, 0.5), 4, 4);
    }
    if (below) break;
  }
}

void MessageBody::paintEvent(QPaintEvent* event) {
  if (tokenMode_ && !ends_.empty()) {
    QPainter painter(viewport());
    painter.setRenderHint(QPainter::Antialiasing);
    paintTokens(painter, event->rect());
  }
  QTextBrowser::paintEvent(event);
}

int MessageBody::tokenAt(const QPoint& point) const {
  if (!tokenMode_ || ends_.empty()) return -1;
  const int at = document()->documentLayout()->hitTest(QPointF(point), Qt::FuzzyHit);
  const auto found = std::lower_bound(ends_.begin(), ends_.end(), std::max(at, 0));
  for (auto it = found; it != ends_.end() && it < found + 3; ++it) {
    const std::size_t index = std::size_t(it - ends_.begin());
    for (const QRectF& rect : rectsOf(index)) {
      if (rect.adjusted(0, -3, 0, 3).contains(point)) return int(index);
    }
  }
  return -1;
}

void MessageBody::mouseMoveEvent(QMouseEvent* event) {
  QTextBrowser::mouseMoveEvent(event);
  if (tokenMode_ && event->buttons() == Qt::NoButton) emit tokenHovered(tokenAt(event->pos()));
}

void MessageBody::mousePressEvent(QMouseEvent* event) {
  pressed_ = event->pos();
  QTextBrowser::mousePressEvent(event);
}

void MessageBody::mouseReleaseEvent(QMouseEvent* event) {
  QTextBrowser::mouseReleaseEvent(event);
  const bool click = (event->pos() - pressed_).manhattanLength() < QApplication::startDragDistance();
  const int token = tokenAt(event->pos());
  if (click && event->button() == Qt::LeftButton && token >= 0) emit tokenClicked(token);
}

void MessageBody::leaveEvent(QEvent* event) {
  QTextBrowser::leaveEvent(event);
  if (tokenMode_) emit tokenHovered(-1);
}

void MessageBody::resizeEvent(QResizeEvent* event) {
  QTextBrowser::resizeEvent(event);
  fitHeight();
}

void MessageBody::changeEvent(QEvent* event) {
  QTextBrowser::changeEvent(event);
  const bool restyled = event->type() == QEvent::PaletteChange || event->type() == QEvent::StyleChange;
  if (!restyled || documentCss(Theme::current()) == document()->defaultStyleSheet()) return;
  // Later: a new style sheet gives every widget back the font it had.
  QMetaObject::invokeMethod(this, &MessageBody::restyle, Qt::QueuedConnection);
}

void MessageBody::restyle() {
  const QString css = documentCss(Theme::current());
  if (css == document()->defaultStyleSheet()) return;
  document()->setDefaultStyleSheet(css);
  applyFont();
  if (!plain_) renderMarkdown();
  fitHeight();
  markMatches();
  viewport()->update();
}

void MessageBody::setSearch(const QString& words) {
  if (words == search_) return;
  search_ = words;
  match_ = -1;
  findMatches();
}

void MessageBody::findMatches() {
  const bool hadNone = matches_.empty();
  matches_.clear();
  if (!search_.isEmpty()) {
    for (QTextCursor at = document()->find(search_, 0); !at.isNull(); at = document()->find(search_, at))
      matches_.push_back(at);
  }
  if (hadNone && matches_.empty()) return;
  match_ = std::min(match_, int(matches_.size()) - 1);
  markMatches();
  emit matchesChanged();
}

void MessageBody::setCurrentMatch(int current) {
  if (current == match_) return;
  match_ = current;
  markMatches();
}

void MessageBody::markMatches() {
  const Theme& theme = Theme::current();
  QList<QTextEdit::ExtraSelection> marks;
  for (int i = 0; i < int(matches_.size()); ++i) {
    QTextEdit::ExtraSelection mark;
    mark.cursor = matches_[std::size_t(i)];
    QColor ground = theme.attention;
    ground.setAlphaF(0.28F);
    mark.format.setBackground(i == match_ ? theme.accent : ground);
    if (i == match_) mark.format.setForeground(theme.onAccent);
    marks << mark;
  }
  setExtraSelections(marks);
}

QRect MessageBody::matchRect(int index) const {
  if (index < 0 || index >= int(matches_.size())) return {};
  QTextCursor from(document());
  from.setPosition(matches_[std::size_t(index)].selectionStart());
  return cursorRect(from);
}

void MessageBody::fitHeight() {
  const int height = std::max(int(std::ceil(document()->size().height())), fontMetrics().height());
  if (height == minimumHeight() && height == maximumHeight()) return;
  setFixedHeight(height);
  // Each parent would hear of it one turn of the event loop after its child; while frames are slow, the text
  // would stand cut until then. Not at once: this may be the middle of a parent's own layout.
  QMetaObject::invokeMethod(this, &MessageBody::settleParents, Qt::QueuedConnection);
}

void MessageBody::settleParents() {
  for (QWidget* at = parentWidget(); at && at->layout(); at = at->parentWidget()) at->layout()->activate();
}

QSize MessageBody::sizeHint() const {
  return {400, minimumHeight()};
}

}  // namespace eyrie::ui
