#include "ui/plot/axis.h"

#include <QCoreApplication>
#include <QLocale>
#include <algorithm>
#include <cmath>

namespace eyrie::ui {

double steppedTop(double value) {
  if (!(value > 0) || !std::isfinite(value)) return 1;
  const double decade = std::pow(10.0, std::floor(std::log10(value)));
  for (const double step : {1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0})
    if (value <= step * decade * (1 + 1e-9)) return step * decade;
  return 10 * decade;
}

std::int64_t steppedSpan(std::int64_t size, std::int64_t most) {
  constexpr std::int64_t kLeast = 64;
  for (std::int64_t octave = kLeast; octave < most; octave *= 2)
    for (std::int64_t quarter = 4; quarter < 8; ++quarter)
      if (size <= octave * quarter / 4) return std::min(octave * quarter / 4, most);
  return most;
}

QString readable(double value) {
  const QLocale locale;
  if (std::isnan(value)) return QStringLiteral("–");
  if (std::isinf(value)) return value > 0 ? QStringLiteral("∞") : QStringLiteral("−∞");
  const double size = std::abs(value);
  if (size == 0) return locale.toString(0);
  if (size >= 1e5 || size < 1e-3) return locale.toString(value, 'g', 3);
  if (size >= 100) return locale.toString(std::llround(value));
  const int decimals = size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : 4;
  return locale.toString(value, 'f', decimals);
}

QString readableTick(double value) {
  const QLocale locale;
  if (value == std::round(value) && std::abs(value) < 1e15) return locale.toString(std::llround(value));
  return locale.toString(value, 'g', 3);
}

QString readableTokens(double tokens) {
  if (std::isnan(tokens)) return QStringLiteral("–");
  if (tokens > 1e5)
    return QCoreApplication::translate("eyrie::ui", "longer than %1 tokens").arg(QLocale().toString(100000));
  return QCoreApplication::translate("eyrie::ui", "%1 tokens").arg(readable(tokens));
}

QString readableCount(std::int64_t count) {
  return QLocale().toString(static_cast<qlonglong>(count));
}

double Scale::unit(double value) const {
  if (std::isnan(value)) return value;
  const double t = logarithmic ? (value <= 0 ? 0 : std::log(value / low) / std::log(high / low))
                               : (value - low) / (high - low);
  return std::clamp(t, 0.0, 1.0);
}

double Scale::place(double value) const {
  return from + (to - from) * unit(value);
}

double Scale::value(double pixel) const {
  const double t = std::clamp((pixel - from) / (to - from), 0.0, 1.0);
  return logarithmic ? low * std::pow(high / low, t) : low + (high - low) * t;
}

}  // namespace eyrie::ui
