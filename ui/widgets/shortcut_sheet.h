// Every command that has a key, in one table. Reads the window's own actions, so that it cannot be wrong.
#pragma once

#include <QDialog>

namespace eyrie::ui {

class ShortcutSheet final : public QDialog {
  Q_OBJECT
 public:
  ShortcutSheet(const QList<QAction*>& actions, QWidget* parent = nullptr);
};

}  // namespace eyrie::ui
