#include "ui/imgui/imgui_style.h"

#include <imgui.h>
#include <imgui_freetype.h>

#include <QDirIterator>
#include <QFileInfo>
#include <QStandardPaths>

namespace eyrie::ui {
namespace {

ImVec4 colour(const QColor& c, float alpha = 1) {
  return {c.redF(), c.greenF(), c.blueF(), alpha};
}

}  // namespace

void applyImGuiStyle(const Theme& theme) {
  ImGuiStyle& style = ImGui::GetStyle();
  style.WindowPadding = ImVec2(metrics::kPanelPadding, metrics::kPanelPadding);
  style.FramePadding = ImVec2(metrics::kGroup, metrics::kStep);
  style.ItemSpacing = ImVec2(metrics::kGroup, metrics::kStep);
  style.ScrollbarSize = 10;
  style.WindowRounding = style.ChildRounding = style.PopupRounding = metrics::kPanelRadius;
  style.FrameRounding = style.GrabRounding = style.ScrollbarRounding = metrics::kControlRadius;
  style.WindowBorderSize = style.ChildBorderSize = style.PopupBorderSize = style.FrameBorderSize = 1;
  ImVec4* colours = style.Colors;
  colours[ImGuiCol_Text] = colour(theme.text);
  colours[ImGuiCol_TextDisabled] = colour(theme.faint);
  colours[ImGuiCol_WindowBg] = colour(theme.window);
  colours[ImGuiCol_ChildBg] = colours[ImGuiCol_PopupBg] = colour(theme.panel);
  colours[ImGuiCol_Border] = colours[ImGuiCol_Separator] = colour(theme.line);
  colours[ImGuiCol_FrameBg] = colours[ImGuiCol_Button] = colour(theme.panel);
  colours[ImGuiCol_FrameBgHovered] = colours[ImGuiCol_ButtonHovered] = colour(theme.hover);
  colours[ImGuiCol_FrameBgActive] = colours[ImGuiCol_ButtonActive] = colour(theme.line);
  colours[ImGuiCol_Header] = colours[ImGuiCol_HeaderActive] = colour(theme.accentGround);
  colours[ImGuiCol_HeaderHovered] = colour(theme.hover);
  colours[ImGuiCol_CheckMark] = colours[ImGuiCol_SliderGrab] = colour(theme.accent);
  colours[ImGuiCol_SliderGrabActive] = colours[ImGuiCol_NavHighlight] = colour(theme.accent);
  colours[ImGuiCol_PlotLines] = colours[ImGuiCol_PlotHistogram] = colour(theme.recurrence);
  colours[ImGuiCol_TextSelectedBg] = colour(theme.accent, 0.35F);
  colours[ImGuiCol_ScrollbarBg] = ImVec4(0, 0, 0, 0);
  colours[ImGuiCol_ScrollbarGrab] = colour(theme.line);
  colours[ImGuiCol_ScrollbarGrabHovered] = colours[ImGuiCol_ScrollbarGrabActive] = colour(theme.faint);
}

QString fontFile(TextRole role) {
  const QStringList names =
      role == TextRole::mono ? QStringList{QStringLiteral("JetBrainsMono-Regular.ttf")}
      : role == TextRole::title || role == TextRole::secondaryTitle
          ? QStringList{QStringLiteral("Inter-SemiBold.otf"), QStringLiteral("Inter-SemiBold.ttf")}
          : QStringList{QStringLiteral("Inter-Regular.otf"), QStringLiteral("Inter-Regular.ttf")};
  for (const QString& root : QStandardPaths::standardLocations(QStandardPaths::FontsLocation) +
                                 QStringList{QStringLiteral("/usr/share/fonts")}) {
    QDirIterator files(root, names, QDir::Files, QDirIterator::Subdirectories);
    if (files.hasNext()) return files.next();
  }
  return {};
}

void loadImGuiFonts(double ratio) {
  ImGuiIO& io = ImGui::GetIO();
  io.Fonts->Clear();
  io.Fonts->FontBuilderIO = ImGuiFreeType::GetBuilderForFreeType();
  io.Fonts->FontBuilderFlags = ImGuiFreeTypeBuilderFlags_NoHinting;
  static const QByteArray file = fontFile(TextRole::body).toUtf8();
  const auto pixels = static_cast<float>(textSize(TextRole::body) * ratio);
  if (file.isEmpty() || !io.Fonts->AddFontFromFileTTF(file.constData(), pixels)) {
    ImFontConfig config;
    config.SizePixels = pixels;
    io.Fonts->AddFontDefault(&config);
  }
  io.FontGlobalScale = static_cast<float>(1 / ratio);
  io.Fonts->Build();
}

}  // namespace eyrie::ui
