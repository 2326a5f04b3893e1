// The status bar: state, speed, position, bytes of state, device.
#pragma once

#include <QStatusBar>

class QLabel;

namespace eyrie::ui {

class StatusStrip final : public QStatusBar {
  Q_OBJECT
 public:
  enum class State { ready, busy, failed };

  explicit StatusStrip(QWidget* parent = nullptr);

  void setState(State state, const QString& text);
  void setSpeed(double tokensPerSecond);  // 0: unknown
  void setPosition(std::int64_t position);
  void setStateBytes(std::uint64_t bytes);
  void setDropped(std::uint64_t frames);
  void setDevice(const QString& device);
  QString stateText() const;

 protected:
  void changeEvent(QEvent* event) override;

 private:
  void paintDot();

  QLabel* dot_;
  QLabel* state_;
  QLabel* speed_;
  QLabel* position_;
  QLabel* bytes_;
  QLabel* dropped_;
  QLabel* device_;
  State kind_ = State::ready;
};

}  // namespace eyrie::ui
