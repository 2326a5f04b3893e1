// The few things that are the same for every conversation. What is changed holds at once; there is nothing to
// confirm.
#pragma once

#include <QDialog>

#include "ui/theme/theme.h"
#include "ui/widgets/sampling_panel.h"

class QPushButton;
class QVBoxLayout;

namespace eyrie::ui {

struct SettingsValues {
  ThemeMode theme = ThemeMode::system;
  double proseSize = kProseSize;
  SamplingChoice sampling;
  QString dataFolder;
};

class SettingsDialog final : public QDialog {
  Q_OBJECT
 public:
  explicit SettingsDialog(const SettingsValues& values, QWidget* parent = nullptr);

 signals:
  void themeChosen(eyrie::ui::ThemeMode mode);
  void proseSizeChosen(double pixels);
  void samplingChosen(const eyrie::ui::SamplingChoice& choice);
  void openDataRequested();
  void backupRequested();
  void wipeRequested();

 private:
  QVBoxLayout* section(const QString& title);
  void field(QVBoxLayout* into, const QString& label, QWidget* widget);
  void makeAppearance(const SettingsValues& values);
  void makeSampling(const SettingsValues& values);
  void makeData(const SettingsValues& values);
};

}  // namespace eyrie::ui
