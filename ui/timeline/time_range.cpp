#include "ui/timeline/time_range.h"

#include <algorithm>
#include <cmath>

#include "ui/plot/axis.h"

namespace eyrie::ui {
namespace {

constexpr std::int64_t kMostAutomatic = 1024;
constexpr double kLeastCount = 16;

}  // namespace

void TimeRange::set(TimeSpan span) {
  const auto size = static_cast<double>(size_);
  span.first = std::clamp(span.first, 0.0, std::max(0.0, size - span.count));
  if (span == span_) return;
  span_ = span;
  emit changed();
}

void TimeRange::setSize(std::int64_t size) {
  if (size < size_ && size == 0) automatic_ = follows_ = true;
  size_ = size;
  TimeSpan span = span_;
  if (automatic_) span.count = static_cast<double>(steppedSpan(size, kMostAutomatic));
  if (follows_) span.first = std::max(0.0, static_cast<double>(size) - span.count);
  set(span);
}

void TimeRange::zoom(double factor, double anchorToken) {
  const double most = std::max(static_cast<double>(steppedSpan(size_, INT64_MAX / 8)), kLeastCount);
  const double count = std::clamp(span_.count * factor, std::min(kLeastCount, most), most);
  const double share = (anchorToken - span_.first) / span_.count;
  automatic_ = false;
  TimeSpan span{anchorToken - share * count, count};
  follows_ = span.first + span.count >= static_cast<double>(size_);
  if (follows_) span.first = std::max(0.0, static_cast<double>(size_) - count);
  set(span);
}

void TimeRange::travel(double tokens) {
  TimeSpan span = span_;
  span.first += tokens;
  follows_ = span.first + span.count >= static_cast<double>(size_);
  set(span);
}

void TimeRange::reveal(std::int64_t token) {
  const auto place = static_cast<double>(token);
  if (token < 0 || (place >= span_.first && place + 1 <= span_.first + span_.count)) return;
  TimeSpan span = span_;
  span.first = place < span_.first ? place : place + 1 - span.count;
  follows_ = span.first + span.count >= static_cast<double>(size_);
  set(span);
}

void TimeRange::showAll() {
  automatic_ = false;
  follows_ = true;
  set({0, static_cast<double>(steppedSpan(size_, INT64_MAX / 8))});
}

void TimeRange::follow() {
  automatic_ = follows_ = true;
  setSize(size_);
}

}  // namespace eyrie::ui
