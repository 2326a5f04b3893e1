// Draws a DrawList into the current ImGui frame.
#pragma once

#include "ui/imgui/gl_textures.h"
#include "ui/plot/draw_list.h"

struct ImDrawList;

namespace eyrie::ui {

// `origin` in logical pixels of the widget; `ratio` physical pixels per logical one.
void drawImGui(ImDrawList& target, const DrawList& list, QPointF origin, GlTextures& textures, double ratio);

}  // namespace eyrie::ui
