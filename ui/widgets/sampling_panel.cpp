#include "ui/widgets/sampling_panel.h"

#include <QCheckBox>
#include <QComboBox>
#include <QFormLayout>
#include <QHBoxLayout>
#include <QLabel>
#include <QLineEdit>
#include <QLocale>
#include <QPushButton>
#include <QRegularExpressionValidator>
#include <QSpinBox>

#include "ui/theme/theme.h"

namespace eyrie::ui {

namespace {

struct Preset {
  const char* name;
  float temperature;
  int topK;
  float topP;
  float minP;
};
constexpr Preset kPresets[] = {
    {QT_TRANSLATE_NOOP("eyrie::ui::SamplingPanel", "Balanced"), 0.8F, 0, 0.95F, 0},
    {QT_TRANSLATE_NOOP("eyrie::ui::SamplingPanel", "Careful"), 0.4F, 40, 0.9F, 0},
    {QT_TRANSLATE_NOOP("eyrie::ui::SamplingPanel", "Playful"), 1.1F, 0, 0.98F, 0.02F},
    {QT_TRANSLATE_NOOP("eyrie::ui::SamplingPanel", "Greedy: always the likeliest"), 0, 0, 1, 0},
    {QT_TRANSLATE_NOOP("eyrie::ui::SamplingPanel", "The model's own: nothing cut"), 1, 0, 1, 0}};

}  // namespace

SamplingPanel::SamplingPanel(QWidget* parent, bool ofConversation) : QFrame(parent) {
  setObjectName(QStringLiteral("samplingPanel"));
  setProperty("role", QStringLiteral("panel"));
  setAccessibleName(tr("Sampling"));
  auto* form = new QFormLayout(this);
  form->setContentsMargins(12, 12, 12, 12);
  form->setVerticalSpacing(8);
  preset_ = new QComboBox(this);
  preset_->setObjectName(QStringLiteral("samplingPreset"));
  for (const Preset& preset : kPresets) preset_->addItem(tr(preset.name));
  preset_->addItem(tr("Own values"));
  form->addRow(tr("Preset"), preset_);
  temperature_ = number(0, 5, 0.05, 2, QStringLiteral("temperature"), tr("Temperature"));
  topK_ = whole(0, 100000, QStringLiteral("topK"), tr("Top-k"));
  topK_->setSpecialValueText(tr("off"));
  topP_ = number(0.01, 1, 0.01, 2, QStringLiteral("topP"), tr("Top-p"));
  minP_ = number(0, 0.99, 0.01, 2, QStringLiteral("minP"), tr("Min-p"));
  penalty_ = number(1, 3, 0.05, 2, QStringLiteral("repetitionPenalty"), tr("Repetition penalty"));
  maxTokens_ = whole(1, 1000000, QStringLiteral("maxTokens"), tr("Longest reply, tokens"));
  makeSeed(ofConversation);
  setChoice({});
  connect(preset_, &QComboBox::activated, this, &SamplingPanel::applyPreset);
}

void SamplingPanel::makeSeed(bool shown) {
  auto* form = static_cast<QFormLayout*>(layout());
  fixed_ = new QCheckBox(tr("Same seed every time"), this);
  fixed_->setObjectName(QStringLiteral("seedFixed"));
  seed_ = new QLineEdit(this);
  seed_->setObjectName(QStringLiteral("seed"));
  seed_->setAccessibleName(tr("Seed"));
  seed_->setPlaceholderText(tr("drawn for each reply"));
  seed_->setValidator(
      new QRegularExpressionValidator(QRegularExpression(QStringLiteral("[0-9]{1,19}")), seed_));
  again_ = new QPushButton(tr("Same seed again"), this);
  again_->setObjectName(QStringLiteral("sameSeed"));
  again_->setEnabled(false);
  again_->setToolTip(tr("No reply has been written yet"));
  auto* keep = new QPushButton(tr("Use for new conversations"), this);
  keep->setObjectName(QStringLiteral("samplingDefault"));
  keep->setToolTip(tr("New conversations begin with these values; the seed is drawn anew"));
  if (shown) {
    form->addRow(tr("Seed"), seed_);
    form->addRow(QString(), fixed_);
    form->addRow(QString(), again_);
    form->addRow(QString(), keep);
  }
  for (QWidget* widget : std::initializer_list<QWidget*>{seed_, fixed_, again_, keep})
    widget->setVisible(shown);
  connect(keep, &QPushButton::clicked, this, &SamplingPanel::defaultRequested);
  connect(fixed_, &QCheckBox::toggled, this, [this] { edited(); });
  connect(seed_, &QLineEdit::textEdited, this, [this](const QString& text) {
    fixed_->setChecked(!text.isEmpty());
    edited();
  });
  connect(again_, &QPushButton::clicked, this, [this] {
    if (!lastSeed_) return;
    seed_->setText(QString::number(*lastSeed_));
    fixed_->setChecked(true);
    edited();
  });
}

QDoubleSpinBox* SamplingPanel::number(double from, double to, double step, int decimals, const QString& name,
                                      const QString& label) {
  auto* box = new QDoubleSpinBox(this);
  box->setRange(from, to);
  box->setSingleStep(step);
  box->setDecimals(decimals);
  box->setObjectName(name);
  box->setAccessibleName(label);
  connect(box, &QDoubleSpinBox::valueChanged, this, [this] { edited(); });
  static_cast<QFormLayout*>(layout())->addRow(label, box);
  return box;
}

QSpinBox* SamplingPanel::whole(int from, int to, const QString& name, const QString& label) {
  auto* box = new QSpinBox(this);
  box->setRange(from, to);
  box->setObjectName(name);
  box->setAccessibleName(label);
  connect(box, &QSpinBox::valueChanged, this, [this] { edited(); });
  static_cast<QFormLayout*>(layout())->addRow(label, box);
  return box;
}

void SamplingPanel::applyPreset(int index) {
  if (index < 0 || index >= int(std::size(kPresets))) return;
  const Preset& preset = kPresets[index];
  SamplingChoice next = choice();
  next.options.temperature = preset.temperature;
  next.options.topK = preset.topK;
  next.options.topP = preset.topP;
  next.options.minP = preset.minP;
  setChoice(next);
  emit changed();
}

void SamplingPanel::edited() {
  if (filling_) return;
  setChoice(choice());  // shows which preset this is
  emit changed();
}

SamplingChoice SamplingPanel::choice() const {
  SamplingChoice choice;
  choice.options.temperature = float(temperature_->value());
  choice.options.topK = topK_->value();
  choice.options.topP = float(topP_->value());
  choice.options.minP = float(minP_->value());
  choice.options.repetitionPenalty = float(penalty_->value());
  choice.options.seed = seed_->text().toULongLong();
  choice.seedFixed = fixed_->isChecked() && !seed_->text().isEmpty();
  choice.maxTokens = maxTokens_->value();
  return choice;
}

void SamplingPanel::setChoice(const SamplingChoice& choice) {
  filling_ = true;
  const auto put = [](QDoubleSpinBox* box, float value) {
    if (std::abs(box->value() - double(value)) > 1e-4) box->setValue(double(value));
  };
  put(temperature_, choice.options.temperature);
  topK_->setValue(choice.options.topK);
  put(topP_, choice.options.topP);
  put(minP_, choice.options.minP);
  put(penalty_, choice.options.repetitionPenalty);
  maxTokens_->setValue(choice.maxTokens);
  if (choice.seedFixed) seed_->setText(QString::number(choice.options.seed));
  if (!choice.seedFixed && !seed_->hasFocus()) seed_->clear();
  fixed_->setChecked(choice.seedFixed);
  int found = int(std::size(kPresets));
  for (int i = 0; i < int(std::size(kPresets)); ++i) {
    const Preset& preset = kPresets[i];
    const bool same = std::abs(preset.temperature - choice.options.temperature) < 1e-4F &&
                      preset.topK == choice.options.topK &&
                      std::abs(preset.topP - choice.options.topP) < 1e-4F &&
                      std::abs(preset.minP - choice.options.minP) < 1e-4F;
    if (same) found = i;
  }
  preset_->setCurrentIndex(found);
  filling_ = false;
}

void SamplingPanel::setLastSeed(std::uint64_t seed) {
  lastSeed_ = seed;
  again_->setEnabled(true);
  again_->setText(tr("Same seed again (%1)").arg(seed));
  again_->setToolTip(tr("The next reply draws the same random numbers as the last"));
}

QString SamplingPanel::summary() const {
  const SamplingChoice now = choice();
  const QLocale locale;
  QStringList parts;
  if (now.options.temperature == 0.0F) {
    parts << tr("Greedy");
  } else {
    parts << tr("Temperature %1").arg(locale.toString(double(now.options.temperature), 'g', 3));
    if (now.options.topK > 0) parts << tr("Top-k %1").arg(now.options.topK);
    if (now.options.topP < 1) parts << tr("Top-p %1").arg(locale.toString(double(now.options.topP), 'g', 3));
    if (now.options.minP > 0) parts << tr("Min-p %1").arg(locale.toString(double(now.options.minP), 'g', 3));
  }
  if (now.seedFixed) {
    parts << tr("Seed %1").arg(now.options.seed);
  } else if (lastSeed_) {
    parts << tr("last seed %1").arg(*lastSeed_);
  }
  return parts.join(QStringLiteral("   "));
}

}  // namespace eyrie::ui
