#include "ui/widgets/layer_picker.h"

#include <QAbstractButton>
#include <QGridLayout>
#include <QPainter>
#include <algorithm>

#include "ui/theme/theme.h"

namespace eyrie::ui {

namespace {

constexpr int kPerRow = 13;
constexpr int kSide = 20;

class LayerSquare final : public QAbstractButton {
 public:
  LayerSquare(int layer, engine::BlockKind kind, QWidget* parent)
      : QAbstractButton(parent), kind_(kind), layer_(layer) {
    setCheckable(true);
    setChecked(true);
    setFixedSize(kSide, kSide);
    setObjectName(QStringLiteral("layer%1").arg(layer));
    const QString what = kind == engine::BlockKind::recurrent        ? LayerPicker::tr("recurrent")
                         : kind == engine::BlockKind::localAttention ? LayerPicker::tr("local attention")
                                                                     : LayerPicker::tr("global attention");
    setAccessibleName(LayerPicker::tr("Layer %1, %2").arg(layer).arg(what));
    setToolTip(accessibleName());
  }

 protected:
  void paintEvent(QPaintEvent*) override {
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    const QColor own = kind_ == engine::BlockKind::recurrent ? theme.recurrence : theme.attention;
    const QRectF square = QRectF(rect()).adjusted(1, 1, -1, -1);
    const bool on = isChecked() && isEnabled();
    painter.setPen(QPen(hasFocus() ? theme.text : on ? own : theme.line, hasFocus() ? 1.5 : 1));
    painter.setBrush(on ? own : theme.panel);
    painter.drawRoundedRect(square, 4, 4);
    painter.setFont(themeFont(TextRole::secondary));
    painter.setPen(on ? theme.panel : isEnabled() ? theme.dim : theme.faint);
    painter.drawText(square, Qt::AlignCenter, QString::number(layer_));
  }

 private:
  engine::BlockKind kind_;
  int layer_;
};

}  // namespace

LayerPicker::LayerPicker(const std::vector<engine::BlockKind>& blocks, QWidget* parent) : QWidget(parent) {
  auto* grid = new QGridLayout(this);
  grid->setContentsMargins(0, 0, 0, 0);
  grid->setSpacing(3);
  for (int i = 0; i < int(blocks.size()); ++i) {
    auto* square = new LayerSquare(i, blocks[std::size_t(i)], this);
    squares_.push_back(square);
    grid->addWidget(square, i / kPerRow, i % kPerRow);
    connect(square, &QAbstractButton::clicked, this, &LayerPicker::changed);
  }
  grid->setColumnStretch(kPerRow, 1);
}

std::vector<int> LayerPicker::chosen() const {
  std::vector<int> layers;
  for (int i = 0; i < int(squares_.size()); ++i) {
    if (squares_[std::size_t(i)]->isChecked()) layers.push_back(i);
  }
  return layers;
}

void LayerPicker::setChosen(const std::vector<int>& layers) {
  for (int i = 0; i < int(squares_.size()); ++i) {
    squares_[std::size_t(i)]->setChecked(std::find(layers.begin(), layers.end(), i) != layers.end());
  }
}

void LayerPicker::setAll(bool on) {
  for (QAbstractButton* square : squares_) square->setChecked(on);
}

}  // namespace eyrie::ui
