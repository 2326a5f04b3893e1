// The stretch of tokens every view with a time axis shows. One object, shared by timeline and inspector.
// GUI thread only.
#pragma once

#include <QObject>
#include <cstdint>

namespace eyrie::ui {

// Tokens first .. first + count; fractions while travelling.
struct TimeSpan {
  double first = 0;
  double count = 64;
  bool operator==(const TimeSpan&) const = default;
};

class TimeRange : public QObject {
  Q_OBJECT
 public:
  explicit TimeRange(QObject* parent = nullptr) : QObject(parent) {}

  TimeSpan span() const { return span_; }
  bool follows() const { return follows_; }  // the newest token stays at the right edge

  // The trace has `size` tokens. Whole traces are shown until 1024 tokens, in spans that grow in steps; then
  // the newest 1024. After a zoom by hand the span keeps its length.
  void setSize(std::int64_t size);
  void zoom(double factor, double anchorToken);  // factor < 1: closer
  void travel(double tokens);
  void reveal(std::int64_t token);
  void showAll();
  void follow();  // newest at the right, automatic span

 signals:
  void changed();

 private:
  void set(TimeSpan span);

  TimeSpan span_;
  std::int64_t size_ = 0;
  bool follows_ = true;
  bool automatic_ = true;
};

}  // namespace eyrie::ui
