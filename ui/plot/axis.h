// Ticks, ranges that grow in steps, and numbers as they are read in views.
#pragma once

#include <QString>
#include <cstdint>

namespace eyrie::ui {

// The smallest of 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten that is at least `value`; a range grows in
// such steps, so that an axis does not move with every token. 1 for values that are not positive.
double steppedTop(double value);

// Number of tokens shown for a trace of `size`: four steps an octave, at least 64, at most `most`.
std::int64_t steppedSpan(std::int64_t size, std::int64_t most);

// Three significant figures, never in exponent form between 0.001 and 100000; the user's decimal sign.
QString readable(double value);
// As on an axis: no zeros that say nothing ("0.1", "10", "1,000").
QString readableTick(double value);
// "93 tokens", "0.4 tokens", "longer than 100,000 tokens".
QString readableTokens(double tokens);
QString readableCount(std::int64_t count);

// Maps values onto pixels, linearly or by logarithm.
struct Scale {
  double low = 0;
  double high = 1;
  double from = 0;  // pixel of low
  double to = 1;    // pixel of high
  bool logarithmic = false;

  double place(double value) const;  // clamped to the pixels
  double unit(double value) const;   // in [0,1], clamped; NaN stays NaN
  double value(double pixel) const;
};

}  // namespace eyrie::ui
