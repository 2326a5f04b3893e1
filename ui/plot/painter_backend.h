// Draws a DrawList with QPainter: exports, and screens without OpenGL.
#pragma once

#include <QPainter>

#include "ui/plot/draw_list.h"

namespace eyrie::ui {

// The painter's origin is the list's; one unit is a logical pixel.
void paintDrawList(QPainter& painter, const DrawList& list);

// Writes `list` on the panel's ground: PNG (at `scale` pixels a unit), or SVG with text as text and heat maps
// as images, by the file's ending. False where the file cannot be written or the ending is neither.
bool saveDrawList(const DrawList& list, const Theme& theme, const QString& file, double scale = 2);

}  // namespace eyrie::ui
