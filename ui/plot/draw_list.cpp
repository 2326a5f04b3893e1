#include "ui/plot/draw_list.h"

#include <QFontMetricsF>
#include <array>
#include <cmath>
#include <optional>

namespace eyrie::ui {
namespace {

const QFontMetricsF& metricsOf(TextRole role) {
  static std::array<std::optional<QFontMetricsF>, 6> cache;
  auto& entry = cache[static_cast<std::size_t>(role)];
  if (!entry) entry.emplace(themeFont(role));
  return *entry;
}

DrawItem moved(DrawItem item, QPointF offset) {
  std::visit(
      [&](auto& value) {
        using Item = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<Item, RectItem> || std::is_same_v<Item, ImageItem>) {
          value.rect.translate(offset);
        } else if constexpr (std::is_same_v<Item, LineItem>) {
          value.from += offset;
          value.to += offset;
        } else if constexpr (std::is_same_v<Item, PolylineItem>) {
          for (QPointF& point : value.points) point += offset;
        } else {
          value.anchor += offset;
        }
      },
      item);
  return item;
}

}  // namespace

void DrawList::rect(const QRectF& rect, const QColor& fill, double radius, const QColor& stroke) {
  items.push_back(RectItem{rect, fill, stroke, radius});
}

void DrawList::frame(const QRectF& rect, const QColor& stroke, double radius) {
  items.push_back(RectItem{rect, {}, stroke, radius});
}

void DrawList::line(QPointF from, QPointF to, const QColor& colour, double width, bool dashed) {
  items.push_back(LineItem{from, to, colour, width, dashed});
}

void DrawList::vertical(double x, double top, double bottom, const QColor& colour, double width,
                        bool dashed) {
  line({x, top}, {x, bottom}, colour, width, dashed);
}

void DrawList::horizontal(double y, double left, double right, const QColor& colour) {
  line({left, y}, {right, y}, colour);
}

void DrawList::polyline(std::vector<QPointF> points, const QColor& colour, double width) {
  items.push_back(PolylineItem{std::move(points), colour, width});
}

void DrawList::image(const QRectF& rect, const QImage& image, std::uint32_t slot) {
  items.push_back(ImageItem{rect, image, slot});
}

void DrawList::text(QPointF anchor, const QString& text, const QColor& colour, TextRole role,
                    TextAlign align) {
  if (!text.isEmpty()) items.push_back(TextItem{anchor, text, role, colour, align});
}

void DrawList::append(const DrawList& other, QPointF offset) {
  for (const DrawItem& item : other.items) items.push_back(moved(item, offset));
  for (const Region& region : other.regions) {
    Region copy = region;
    copy.rect.translate(offset);
    copy.at = [at = region.at, offset](QPointF point) {
      Hover hover = at(point - offset);
      hover.mark.translate(offset);
      return hover;
    };
    regions.push_back(std::move(copy));
  }
}

const Region* DrawList::regionAt(QPointF point) const {
  for (auto region = regions.rbegin(); region != regions.rend(); ++region)
    if (region->rect.contains(point)) return &*region;
  return nullptr;
}

double textWidth(const QString& text, TextRole role) {
  return metricsOf(role).horizontalAdvance(text);
}

QString elided(const QString& text, TextRole role, double width) {
  return metricsOf(role).elidedText(text, Qt::ElideRight, width);
}

std::vector<std::pair<QPointF, QPointF>> dashes(QPointF from, QPointF to) {
  constexpr double kOn = 4;
  constexpr double kOff = 3;
  const QPointF span = to - from;
  const double length = std::hypot(span.x(), span.y());
  std::vector<std::pair<QPointF, QPointF>> result;
  for (double place = 0; place < length; place += kOn + kOff) {
    const double end = std::min(place + kOn, length);
    result.emplace_back(from + span * (place / length), from + span * (end / length));
  }
  return result;
}

}  // namespace eyrie::ui
