#include "ui/imgui/imgui_backend.h"

#include <imgui.h>

#include <cmath>

namespace eyrie::ui {
namespace {

ImU32 packed(const QColor& c) {
  return IM_COL32(c.red(), c.green(), c.blue(), c.alpha());
}

ImTextureID textureId(unsigned texture) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): Dear ImGui's type for whatever names a texture
  return reinterpret_cast<ImTextureID>(static_cast<std::intptr_t>(texture));
}

class Drawer {
 public:
  Drawer(ImDrawList& target, QPointF origin, GlTextures& textures, double ratio)
      : target_(target), origin_(origin), textures_(textures), ratio_(ratio) {}

  void operator()(const RectItem& item) const {
    const ImVec2 low = at(item.rect.topLeft());
    const ImVec2 high = at(item.rect.bottomRight());
    const auto radius = static_cast<float>(item.radius);
    if (item.fill.isValid()) target_.AddRectFilled(low, high, packed(item.fill), radius);
    if (!item.stroke.isValid()) return;
    // AddRect puts the line half a logical pixel inside; ours is one physical pixel, half of that inside.
    const auto half = static_cast<float>(0.5 / ratio_);
    target_.PathRect(ImVec2(snap(low.x) + half, snap(low.y) + half),
                     ImVec2(snap(high.x) - half, snap(high.y) - half), radius);
    target_.PathStroke(packed(item.stroke), ImDrawFlags_Closed, 2 * half);
  }

  void operator()(const LineItem& item) const {
    if (!item.dashed) {
      segment(item.from, item.to, item);
      return;
    }
    for (const auto& [from, to] : dashes(item.from, item.to)) segment(from, to, item);
  }

  void operator()(const PolylineItem& item) const {
    const auto flush = [&] {
      target_.PathStroke(packed(item.colour), ImDrawFlags_None, static_cast<float>(item.width));
    };
    for (const QPointF& point : item.points) {
      if (std::isnan(point.y()))
        flush();
      else
        target_.PathLineTo(at(point));
    }
    flush();
  }

  void operator()(const ImageItem& item) const {
    if (item.image.isNull()) return;
    const unsigned texture = textures_.image(item.slot, item.image);
    target_.AddImage(textureId(texture), at(item.rect.topLeft()), at(item.rect.bottomRight()));
  }

  void operator()(const TextItem& item) const {
    const GlTextures::Text text = textures_.text(item.text, item.role);
    double x = item.anchor.x();
    if (item.align == TextAlign::centre) x -= text.advance / 2;
    if (item.align == TextAlign::right) x -= text.advance;
    const double baseline = std::round(item.anchor.y() + text.capHeight / 2);
    const ImVec2 place = at(QPointF(x, baseline) - text.baseline);
    const ImVec2 low(snap(place.x), snap(place.y));
    const ImVec2 high(low.x + static_cast<float>(text.size.width()),
                      low.y + static_cast<float>(text.size.height()));
    target_.AddImage(textureId(text.texture), low, high, corner(text.source.topLeft()),
                     corner(text.source.bottomRight()), packed(item.colour));
  }

 private:
  static ImVec2 corner(QPointF point) {
    return {static_cast<float>(point.x()), static_cast<float>(point.y())};
  }
  ImVec2 at(QPointF point) const { return corner(point + origin_); }
  float snap(float v) const { return static_cast<float>(std::round(v * ratio_) / ratio_); }

  void segment(QPointF from, QPointF to, const LineItem& item) const {
    const ImVec2 a = at(from);
    const ImVec2 b = at(to);
    const auto pixel = static_cast<float>(1 / ratio_);
    const float width = std::max(static_cast<float>(item.width), pixel);
    // Straight lines as rectangles on the pixel grid: crisp at every scale.
    const auto floorTo = [&](float v) { return static_cast<float>(std::floor(v * ratio_) / ratio_); };
    if (a.x == b.x) {
      const float x = floorTo(a.x - (width - pixel) / 2);
      target_.AddRectFilled(ImVec2(x, a.y), ImVec2(x + width, b.y), packed(item.colour));
    } else if (a.y == b.y) {
      const float y = floorTo(a.y - (width - pixel) / 2);
      target_.AddRectFilled(ImVec2(a.x, y), ImVec2(b.x, y + width), packed(item.colour));
    } else {
      target_.AddLine(a, b, packed(item.colour), width);
    }
  }

  ImDrawList& target_;
  QPointF origin_;
  GlTextures& textures_;
  double ratio_;
};

}  // namespace

void drawImGui(ImDrawList& target, const DrawList& list, QPointF origin, GlTextures& textures, double ratio) {
  const Drawer drawer(target, origin, textures, ratio);
  for (const DrawItem& item : list.items) std::visit(drawer, item);
}

}  // namespace eyrie::ui
