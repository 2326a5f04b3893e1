// The layers of a model as squares that can be switched on and off.
#pragma once

#include <QWidget>
#include <vector>

#include "engine/config.h"

class QAbstractButton;

namespace eyrie::ui {

class LayerPicker final : public QWidget {
  Q_OBJECT
 public:
  LayerPicker(const std::vector<engine::BlockKind>& blocks, QWidget* parent = nullptr);

  std::vector<int> chosen() const;  // by rising number
  void setChosen(const std::vector<int>& layers);
  void setAll(bool on);

 signals:
  void changed();  // by the user

 private:
  std::vector<QAbstractButton*> squares_;
};

}  // namespace eyrie::ui
