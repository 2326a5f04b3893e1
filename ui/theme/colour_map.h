// From a number in [0,1] to a colour: 256-entry tables, interpolated from control points.
#pragma once

#include <QColor>
#include <array>

namespace eyrie::ui {

enum class ColourMap {
  viridis,    // magnitudes on a dark-to-bright scale: half-life, decay, state. The same in both themes.
  weights,    // one hue, from the panel's own colour: attention, gates, write
  diverging,  // blue, white at 0.5, orange: signed differences
};

using ColourTable = std::array<QRgb, 256>;

// Valid for the program's life.
const ColourTable& colourTable(ColourMap map, bool dark);

// t outside [0,1] is clamped; NaN gives a transparent pixel.
QRgb sampleColour(const ColourTable& table, float t);

}  // namespace eyrie::ui
