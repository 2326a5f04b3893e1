#include "ui/widgets/segmented.h"

#include <QButtonGroup>
#include <QHBoxLayout>
#include <QPushButton>

#include "ui/theme/theme.h"

namespace eyrie::ui {

Segmented::Segmented(const QStringList& texts, const QStringList& names, QWidget* parent)
    : QWidget(parent), group_(new QButtonGroup(this)) {
  auto* row = new QHBoxLayout(this);
  row->setContentsMargins(0, 0, 0, 0);
  row->setSpacing(0);
  for (int i = 0; i < int(texts.size()); ++i) {
    auto* button = new QPushButton(texts[i], this);
    button->setCheckable(true);
    button->setObjectName(names.value(i));
    const bool first = i == 0;
    const bool last = i == int(texts.size()) - 1;
    button->setProperty("segment", first && last ? "only" : first ? "first" : last ? "last" : "middle");
    group_->addButton(button, i);
    button->setFixedHeight(metrics::kControlHeight);
    row->addWidget(button);
  }
  setFixedHeight(metrics::kControlHeight);
  if (!texts.isEmpty()) group_->button(0)->setChecked(true);
  connect(group_, &QButtonGroup::idClicked, this, &Segmented::chosen);
}

int Segmented::current() const {
  return group_->checkedId();
}

void Segmented::setCurrent(int index) {
  if (auto* wanted = group_->button(index)) wanted->setChecked(true);
}

void Segmented::setToolTips(const QStringList& tips) {
  for (int i = 0; i < int(tips.size()); ++i) {
    if (auto* wanted = group_->button(i)) wanted->setToolTip(tips[i]);
  }
}

QPushButton* Segmented::button(int index) const {
  return qobject_cast<QPushButton*>(group_->button(index));
}

}  // namespace eyrie::ui
