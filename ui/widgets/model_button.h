// The model switch of the top bar and of a Compare lane: hue, name, facts, and a thin line while loading.
#pragma once

#include <QPushButton>

namespace eyrie::ui {

class ModelButton final : public QPushButton {
  Q_OBJECT
 public:
  explicit ModelButton(QWidget* parent = nullptr);

  void setModel(const QString& name, const QString& facts, bool isHawk);
  // 0..1 while loading; below 0: not loading.
  void setProgress(double fraction);
  QString modelName() const { return name_; }
  QSize sizeHint() const override;
  QSize minimumSizeHint() const override { return sizeHint(); }

 protected:
  void paintEvent(QPaintEvent* event) override;

 private:
  QString name_;
  QString facts_;
  bool isHawk_ = false;
  double progress_ = -1;
};

// Whether a model is shown in Hawk's hue: no attention anywhere.
bool looksLikeHawk(const QString& pattern);

}  // namespace eyrie::ui
