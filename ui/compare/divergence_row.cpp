#include "ui/compare/divergence_row.h"

#include <QKeyEvent>
#include <QLocale>
#include <QMouseEvent>
#include <QPainter>
#include <algorithm>
#include <cmath>

#include "ui/chat/token_popover.h"
#include "ui/theme/theme.h"

namespace eyrie::ui {

namespace {
constexpr int kTitle = 22;
constexpr int kLabels = 118;
constexpr double kTopNats = 4;  // bars above are cut and drawn full: a KL of 4 is another opinion altogether
}  // namespace

DivergenceRow::DivergenceRow(QWidget* parent) : QWidget(parent) {
  setObjectName(QStringLiteral("divergenceRow"));
  setAccessibleName(tr("Divergence of the two models per token"));
  setMouseTracking(true);
  setFocusPolicy(Qt::StrongFocus);
  setMinimumHeight(132);
  message_ =
      tr("Divergence appears here when both have answered: each model is then given the other's words.");
}

void DivergenceRow::setNames(const QString& a, const QString& b, bool aIsHawk, bool bIsHawk) {
  nameA_ = a;
  nameB_ = b;
  hawkA_ = aIsHawk;
  hawkB_ = bIsHawk;
  update();
}

void DivergenceRow::setTexts(std::vector<DivergenceText> texts, int firstDifference) {
  texts_ = std::move(texts);
  first_ = firstDifference;
  message_.clear();
  readout_.clear();
  text_ = token_ = -1;
  update();
}

void DivergenceRow::setMessage(const QString& text) {
  texts_.clear();
  message_ = text;
  readout_.clear();
  text_ = token_ = -1;
  update();
}

QRectF DivergenceRow::barsOf(int text) const {
  const double height = double(this->height() - kTitle - 6) / std::max<std::size_t>(1, texts_.size());
  return {kLabels, kTitle + text * height + 4, double(width() - kLabels - 12), height - 8};
}

void DivergenceRow::drawText(QPainter& painter, int text) const {
  const Theme& theme = Theme::current();
  const DivergenceText& entry = texts_[std::size_t(text)];
  const QRectF area = barsOf(text);
  painter.setFont(themeFont(TextRole::secondary));
  painter.setPen(theme.dim);
  painter.drawText(QRectF(12, area.top(), kLabels - 20, area.height()),
                   Qt::AlignLeft | Qt::AlignVCenter | Qt::TextWordWrap, entry.title);
  painter.setPen(QPen(theme.line, 1));
  painter.drawLine(area.bottomLeft(), area.bottomRight());
  const std::size_t count = entry.tokens.size();
  if (count == 0) return;
  const double step = std::min(14.0, area.width() / double(count));
  for (std::size_t i = 0; i < count; ++i) {
    const engine::TokenDifference& token = entry.tokens[i];
    // The bar's hue is the model whose words these are not: it is the one that is surprised.
    const double kl = double(entry.writtenByB ? token.klBA : token.klAB);
    const double share = std::clamp(kl / kTopNats, 0.0, 1.0);
    const QRectF bar(area.left() + double(i) * step + 0.5,
                     area.bottom() - std::max(1.0, share * area.height()), std::max(1.0, step - 1.0),
                     std::max(1.0, share * area.height()));
    const bool chosen = text == text_ && int(i) == token_;
    painter.fillRect(bar, chosen ? theme.accent : theme.model(entry.writtenByB ? hawkA_ : hawkB_));
  }
  if (first_ < 0 || first_ >= int(count)) return;
  const double x = area.left() + first_ * step;
  painter.setPen(QPen(theme.text, 1, Qt::DashLine));
  painter.drawLine(QPointF(x, area.top() - 2), QPointF(x, area.bottom()));
}

void DivergenceRow::paintEvent(QPaintEvent*) {
  const Theme& theme = Theme::current();
  QPainter painter(this);
  painter.setRenderHint(QPainter::Antialiasing);
  painter.fillRect(rect(), theme.panel);
  painter.setPen(QPen(theme.line, 1));
  painter.drawLine(0, 0, width(), 0);
  painter.setFont(themeFont(TextRole::secondaryTitle));
  painter.setPen(theme.text);
  painter.drawText(QRect(12, 4, 300, kTitle), Qt::AlignLeft | Qt::AlignVCenter,
                   tr("Divergence · KL per token, nats"));
  painter.setFont(themeFont(TextRole::secondary));
  painter.setPen(theme.dim);
  const QRect right(260, 4, width() - 272, kTitle);
  if (!message_.isEmpty()) {
    painter.drawText(rect().adjusted(12, kTitle + 8, -12, -8),
                     Qt::AlignLeft | Qt::AlignTop | Qt::TextWordWrap, message_);
    return;
  }
  const QString first = first_ >= 0 ? tr("first difference at token %1 of the answer").arg(first_ + 1)
                                    : tr("the answers are the same");
  painter.setPen(readout_.isEmpty() ? theme.dim : theme.text);
  painter.drawText(
      right, Qt::AlignRight | Qt::AlignVCenter,
      painter.fontMetrics().elidedText(readout_.isEmpty() ? first : readout_, Qt::ElideRight, right.width()));
  for (int text = 0; text < int(texts_.size()); ++text) drawText(painter, text);
}

void DivergenceRow::point(int text, int token) {
  if (text == text_ && token == token_) return;
  text_ = text;
  token_ = token;
  readout_.clear();
  if (text >= 0 && token >= 0) {
    const DivergenceText& entry = texts_[std::size_t(text)];
    const engine::TokenDifference& at = entry.tokens[std::size_t(token)];
    const QLocale locale;
    const auto opinion = [&](const QString& name, float logprob, int rank) {
      return tr("%1: %2 nats, rank %3").arg(name, locale.toString(double(logprob), 'f', 2)).arg(rank + 1);
    };
    const QString word =
        visibleToken(entry.words.size() > std::size_t(token) ? entry.words[std::size_t(token)] : QString());
    readout_ = tr("“%1”   %2   %3   KL %4 | %5")
                   .arg(word, opinion(nameA_, at.logprobA, at.rankA), opinion(nameB_, at.logprobB, at.rankB),
                        locale.toString(double(at.klAB), 'f', 3), locale.toString(double(at.klBA), 'f', 3));
    setAccessibleDescription(readout_);
  }
  update();
  emit hovered(text, token);
}

void DivergenceRow::mouseMoveEvent(QMouseEvent* event) {
  for (int text = 0; text < int(texts_.size()); ++text) {
    const QRectF area = barsOf(text);
    const std::size_t count = texts_[std::size_t(text)].tokens.size();
    if (count == 0 || !area.adjusted(0, -4, 0, 4).contains(event->position())) continue;
    const double step = std::min(14.0, area.width() / double(count));
    const int token = int((event->position().x() - area.left()) / step);
    if (token < int(count)) return point(text, token);
  }
  point(-1, -1);
}

void DivergenceRow::leaveEvent(QEvent*) {
  point(-1, -1);
}

void DivergenceRow::keyPressEvent(QKeyEvent* event) {
  if (texts_.empty() || texts_.front().tokens.empty()) return QWidget::keyPressEvent(event);
  const int text = std::max(0, text_);
  const int last = int(texts_[std::size_t(text)].tokens.size()) - 1;
  switch (event->key()) {
    case Qt::Key_Right:
      return point(text, std::min(last, token_ + 1));
    case Qt::Key_Left:
      return point(text, std::max(0, token_ - 1));
    case Qt::Key_Down:
      return point(std::min(int(texts_.size()) - 1, text + 1), 0);
    case Qt::Key_Up:
      return point(std::max(0, text - 1), 0);
    default:
      QWidget::keyPressEvent(event);
  }
}

}  // namespace eyrie::ui
