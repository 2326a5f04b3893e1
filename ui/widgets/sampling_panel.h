// How the next token is drawn: presets, temperature, filters, length, seed. Shown in a popup of the composer.
#pragma once

#include <QFrame>
#include <optional>

#include "engine/sampler.h"

class QCheckBox;
class QComboBox;
class QDoubleSpinBox;
class QLineEdit;
class QPushButton;
class QSpinBox;

namespace eyrie::ui {

struct SamplingChoice {
  engine::SamplingOptions options;  // seed counts only where it is fixed
  bool seedFixed = false;
  int maxTokens = 512;
};

class SamplingPanel final : public QFrame {
  Q_OBJECT
 public:
  // `ofConversation`: with the seed, and an offer to keep these values for new conversations.
  explicit SamplingPanel(QWidget* parent = nullptr, bool ofConversation = true);

  SamplingChoice choice() const;
  void setChoice(const SamplingChoice& choice);  // does not emit
  // The seed the last reply was drawn with; offered as "same seed again".
  void setLastSeed(std::uint64_t seed);
  // "Temperature 0.8   Top-p 0.95   Seed 3"
  QString summary() const;

 signals:
  void changed();
  void defaultRequested();  // these values for new conversations

 private:
  QDoubleSpinBox* number(double from, double to, double step, int decimals, const QString& name,
                         const QString& label);
  QSpinBox* whole(int from, int to, const QString& name, const QString& label);
  void applyPreset(int index);
  void edited();

  void makeSeed(bool shown);

  QComboBox* preset_;
  QDoubleSpinBox* temperature_;
  QSpinBox* topK_;
  QDoubleSpinBox* topP_;
  QDoubleSpinBox* minP_;
  QDoubleSpinBox* penalty_;
  QSpinBox* maxTokens_;
  QCheckBox* fixed_;
  QLineEdit* seed_;
  QPushButton* again_;
  std::optional<std::uint64_t> lastSeed_;
  bool filling_ = false;
};

}  // namespace eyrie::ui
