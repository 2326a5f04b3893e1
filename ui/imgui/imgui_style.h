// The ImGui half of the look: colours, spacing and fonts from the same tokens as the Qt half.
#pragma once

#include "ui/theme/theme.h"

namespace eyrie::ui {

// Both act on the current ImGui context.
void applyImGuiStyle(const Theme& theme);
// Fills the atlas with the interface font, rasterised at size × ratio; logical sizes stay the same.
void loadImGuiFonts(double ratio);

// The file a family is installed in; empty if it is not among the places Debian and others use.
QString fontFile(TextRole role);

}  // namespace eyrie::ui
