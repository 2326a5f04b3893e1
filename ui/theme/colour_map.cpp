#include "ui/theme/colour_map.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace eyrie::ui {
namespace {

struct Lab {
  double L, a, b;
};

QRgb fromLab(const Lab& lab) {
  const auto inverse = [](double t) { return t > 6.0 / 29 ? t * t * t : (t - 4.0 / 29) * 3 * 36.0 / 841; };
  const double fy = (lab.L + 16) / 116;
  const double x = 0.95047 * inverse(fy + lab.a / 500);
  const double y = inverse(fy);
  const double z = 1.08883 * inverse(fy - lab.b / 200);
  const auto encode = [](double v) {
    v = std::clamp(v, 0.0, 1.0);
    v = v <= 0.0031308 ? 12.92 * v : 1.055 * std::pow(v, 1 / 2.4) - 0.055;
    return static_cast<int>(std::lround(v * 255));
  };
  return qRgb(encode(3.2406 * x - 1.5372 * y - 0.4986 * z), encode(-0.9689 * x + 1.8758 * y + 0.0415 * z),
              encode(0.0557 * x - 0.2040 * y + 1.0570 * z));
}

ColourTable interpolate(const std::vector<QRgb>& points) {
  ColourTable table;
  const double last = static_cast<double>(points.size() - 1);
  for (std::size_t i = 0; i < table.size(); ++i) {
    const double place = static_cast<double>(i) / 255.0 * last;
    const std::size_t lower = std::min(static_cast<std::size_t>(place), points.size() - 2);
    const double t = place - static_cast<double>(lower);
    const auto mix = [&](int from, int to) { return static_cast<int>(std::lround(from + (to - from) * t)); };
    const QRgb p = points[lower];
    const QRgb q = points[lower + 1];
    table[i] = qRgb(mix(qRed(p), qRed(q)), mix(qGreen(p), qGreen(q)), mix(qBlue(p), qBlue(q)));
  }
  return table;
}

// Both halves take the same lightness in CIELAB, so equal differences look equally strong.
ColourTable diverging() {
  constexpr double kEndLightness = 45;
  constexpr Lab kBlue = {kEndLightness, 8, -48};
  constexpr Lab kOrange = {kEndLightness, 32, 52};
  ColourTable table;
  for (std::size_t i = 0; i < table.size(); ++i) {
    const double signedPlace = (static_cast<double>(i) - 127.5) / 127.5;
    const double t = std::abs(signedPlace);
    const Lab& end = signedPlace < 0 ? kBlue : kOrange;
    table[i] = fromLab({100 + (kEndLightness - 100) * t, end.a * t, end.b * t});
  }
  return table;
}

}  // namespace

const ColourTable& colourTable(ColourMap map, bool dark) {
  static const ColourTable kViridis =
      interpolate({0xFF440154, 0xFF482475, 0xFF414487, 0xFF355F8D, 0xFF2A788E, 0xFF21918C, 0xFF22A884,
                   0xFF44BF70, 0xFF7AD151, 0xFFBDDF26, 0xFFFDE725});
  static const ColourTable kLight =
      interpolate({0xFFFFFFFF, 0xFFE3EAFB, 0xFFB9C8F5, 0xFF8099EA, 0xFF4A6BDD, 0xFF2A48B8, 0xFF1B2F80});
  static const ColourTable kDark =
      interpolate({0xFF1B1E23, 0xFF232C47, 0xFF33457E, 0xFF4B68BE, 0xFF7392F5, 0xFFA5BCFF, 0xFFE4EBFF});
  static const ColourTable kDiverging = diverging();
  switch (map) {
    case ColourMap::viridis:
      return kViridis;
    case ColourMap::weights:
      return dark ? kDark : kLight;
    case ColourMap::diverging:
      return kDiverging;
  }
  return kViridis;
}

QRgb sampleColour(const ColourTable& table, float t) {
  if (std::isnan(t)) return qRgba(0, 0, 0, 0);
  return table[static_cast<std::size_t>(std::lround(std::clamp(t, 0.0F, 1.0F) * 255.0F))];
}

}  // namespace eyrie::ui
