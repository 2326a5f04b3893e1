#include "ui/widgets/status_strip.h"

#include <QEvent>
#include <QLabel>
#include <QLocale>

#include "ui/theme/theme.h"
#include "ui/widgets/model_card.h"

namespace eyrie::ui {

StatusStrip::StatusStrip(QWidget* parent)
    : QStatusBar(parent),
      dot_(new QLabel(this)),
      state_(new QLabel(this)),
      speed_(new QLabel(this)),
      position_(new QLabel(this)),
      bytes_(new QLabel(this)),
      dropped_(new QLabel(this)),
      device_(new QLabel(this)) {
  setSizeGripEnabled(false);
  setAccessibleName(tr("Status"));
  dot_->setFixedSize(8, 8);
  state_->setObjectName(QStringLiteral("statusState"));
  speed_->setObjectName(QStringLiteral("statusSpeed"));
  position_->setObjectName(QStringLiteral("statusPosition"));
  bytes_->setObjectName(QStringLiteral("statusBytes"));
  device_->setObjectName(QStringLiteral("statusDevice"));
  dropped_->setObjectName(QStringLiteral("statusDropped"));
  dropped_->hide();
  for (QLabel* label : {dot_, state_, speed_, position_, bytes_, dropped_}) {
    label->setContentsMargins(label == dot_ ? 0 : 2, 0, label == dot_ ? 0 : 14, 0);
    addWidget(label);
  }
  addPermanentWidget(device_);
  setContentsMargins(8, 0, 8, 0);
  paintDot();
}

void StatusStrip::paintDot() {
  const Theme& theme = Theme::current();
  const QColor colour = kind_ == State::ready  ? theme.good
                        : kind_ == State::busy ? theme.accent
                                               : theme.error;
  dot_->setStyleSheet(QStringLiteral("background: %1; border-radius: 4px;").arg(colour.name()));
}

void StatusStrip::setState(State state, const QString& text) {
  kind_ = state;
  state_->setText(text);
  paintDot();
}

QString StatusStrip::stateText() const {
  return state_->text();
}

void StatusStrip::setSpeed(double tokensPerSecond) {
  speed_->setText(
      tokensPerSecond > 0
          ? tr("%1 tok/s").arg(QLocale().toString(tokensPerSecond, 'f', tokensPerSecond < 10 ? 1 : 0))
          : QString());
}

void StatusStrip::setPosition(std::int64_t position) {
  position_->setText(tr("Position %1").arg(QLocale().toString(qlonglong(position))));
}

void StatusStrip::setStateBytes(std::uint64_t bytes) {
  bytes_->setText(bytes > 0 ? tr("State %1").arg(shortBytes(bytes)) : QString());
  bytes_->setToolTip(tr("Everything the model remembers, with a full window"));
}

void StatusStrip::setDropped(std::uint64_t frames) {
  dropped_->setVisible(frames > 0);
  dropped_->setText(frames > 0 ? tr("Frames dropped: %1").arg(frames) : QString());
}

void StatusStrip::setDevice(const QString& device) {
  device_->setText(device);
}

void StatusStrip::changeEvent(QEvent* event) {
  QStatusBar::changeEvent(event);
  if (event->type() == QEvent::PaletteChange && dot_) paintDot();
}

}  // namespace eyrie::ui
