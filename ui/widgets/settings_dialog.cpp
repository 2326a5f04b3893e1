#include "ui/widgets/settings_dialog.h"

#include <QDoubleSpinBox>
#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>
#include <QScreen>
#include <QVBoxLayout>

#include "ui/widgets/segmented.h"

namespace eyrie::ui {

namespace {
constexpr int kWidth = 460;
constexpr int kLabels = 132;
}  // namespace

SettingsDialog::SettingsDialog(const SettingsValues& values, QWidget* parent) : QDialog(parent) {
  setObjectName(QStringLiteral("settingsDialog"));
  setWindowTitle(tr("Settings"));
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(20, 16, 20, 16);
  column->setSpacing(20);
  column->setSizeConstraint(QLayout::SetFixedSize);
  makeAppearance(values);
  makeSampling(values);
  makeData(values);
  auto* close = new QPushButton(tr("Close"), this);
  close->setObjectName(QStringLiteral("settingsClose"));
  close->setDefault(true);
  column->addWidget(close, 0, Qt::AlignRight);
  connect(close, &QPushButton::clicked, this, &QDialog::accept);
}

QVBoxLayout* SettingsDialog::section(const QString& title) {
  auto* rows = new QVBoxLayout;
  rows->setSpacing(metrics::kGroup);
  auto* label = new QLabel(title, this);
  label->setFont(themeFont(TextRole::title));
  rows->addWidget(label);
  static_cast<QVBoxLayout*>(layout())->addLayout(rows);
  return rows;
}

void SettingsDialog::field(QVBoxLayout* into, const QString& label, QWidget* widget) {
  auto* row = new QHBoxLayout;
  row->setSpacing(metrics::kGroup);
  auto* name = new QLabel(label, this);
  name->setProperty("role", QStringLiteral("dim"));
  name->setFixedWidth(kLabels);
  name->setBuddy(widget);
  row->addWidget(name);
  row->addWidget(widget);
  row->addStretch(1);
  into->addLayout(row);
}

void SettingsDialog::makeAppearance(const SettingsValues& values) {
  QVBoxLayout* rows = section(tr("Appearance"));
  auto* theme = new Segmented(
      {tr("As the system"), tr("Light"), tr("Dark")},
      {QStringLiteral("themeSystem"), QStringLiteral("themeLight"), QStringLiteral("themeDark")}, this);
  theme->setCurrent(int(values.theme));
  field(rows, tr("Theme"), theme);
  auto* size = new QDoubleSpinBox(this);
  size->setObjectName(QStringLiteral("proseSize"));
  size->setAccessibleName(tr("Size of the conversation's text"));
  size->setRange(kLeastProse, kMostProse);
  size->setDecimals(0);
  size->setSuffix(tr(" px"));
  size->setValue(values.proseSize);
  size->setFixedWidth(92);
  field(rows, tr("Conversation text"), size);
  connect(theme, &Segmented::chosen, this, [this](int mode) { emit themeChosen(ThemeMode(mode)); });
  connect(size, &QDoubleSpinBox::valueChanged, this, &SettingsDialog::proseSizeChosen);
}

void SettingsDialog::makeSampling(const SettingsValues& values) {
  QVBoxLayout* rows = section(tr("New conversations"));
  auto* panel = new SamplingPanel(this, false);
  panel->setWindowFlags(Qt::Popup);
  panel->hide();
  panel->setChoice(values.sampling);
  auto* button = new QPushButton(panel->summary(), this);
  button->setObjectName(QStringLiteral("defaultSampling"));
  button->setAccessibleName(tr("Sampling of new conversations"));
  field(rows, tr("Sampling"), button);
  connect(button, &QPushButton::clicked, panel, [panel, button] {
    panel->adjustSize();
    panel->move(button->mapToGlobal(QPoint(0, button->height() + 4)));
    panel->show();
  });
  connect(panel, &SamplingPanel::changed, this, [this, panel, button] {
    button->setText(panel->summary());
    emit samplingChosen(panel->choice());
  });
}

void SettingsDialog::makeData(const SettingsValues& values) {
  QVBoxLayout* rows = section(tr("Your data"));
  auto* folder = new QLabel(values.dataFolder, this);
  folder->setObjectName(QStringLiteral("dataFolder"));
  folder->setProperty("role", QStringLiteral("mono"));
  folder->setTextInteractionFlags(Qt::TextSelectableByMouse | Qt::TextSelectableByKeyboard);
  folder->setWordWrap(true);
  folder->setFixedWidth(kWidth);
  rows->addWidget(folder);
  auto* row = new QHBoxLayout;
  row->setSpacing(metrics::kGroup);
  const auto button = [&](const char* name, const QString& text, auto signal) {
    auto* made = new QPushButton(text, this);
    made->setObjectName(QLatin1String(name));
    made->setAutoDefault(false);
    row->addWidget(made);
    connect(made, &QPushButton::clicked, this, signal);
  };
  button("openData", tr("Open the folder"), &SettingsDialog::openDataRequested);
  button("backUp", tr("Back up…"), &SettingsDialog::backupRequested);
  row->addStretch(1);
  button("wipe", tr("Delete all sessions…"), &SettingsDialog::wipeRequested);
  rows->addLayout(row);
}

}  // namespace eyrie::ui
