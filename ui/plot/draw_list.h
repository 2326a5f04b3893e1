// What a view shows, as values: rectangles, lines, images and text in logical pixels, and what the pointer
// finds. Prepared without a window, drawn by ImGui on the screen and by QPainter into files, so that both
// show the same picture.
#pragma once

#include <QColor>
#include <QImage>
#include <QPointF>
#include <QRectF>
#include <QString>
#include <cstdint>
#include <functional>
#include <variant>
#include <vector>

#include "ui/theme/theme.h"

namespace eyrie::ui {

// Width of a line of one physical pixel, whatever the scale.
inline constexpr double kHairline = 0;

struct RectItem {
  QRectF rect;
  QColor fill;    // invalid: not filled
  QColor stroke;  // invalid: no outline; else a hairline
  double radius = 0;
};

struct LineItem {
  QPointF from, to;
  QColor colour;
  double width = kHairline;
  bool dashed = false;
};

struct PolylineItem {
  std::vector<QPointF> points;  // a NaN y breaks the line
  QColor colour;
  double width = 1.25;
};

// Stretched over `rect` without smoothing: a pixel is a datum. `slot` names the place, so that a texture is
// reused while the image changes.
struct ImageItem {
  QRectF rect;
  QImage image;  // Format_RGBA8888
  std::uint32_t slot = 0;
};

enum class TextAlign { left, centre, right };

struct TextItem {
  QPointF anchor;  // x: left, centre or right by `align`; y: the line's middle
  QString text;
  TextRole role = TextRole::secondary;
  QColor colour;
  TextAlign align = TextAlign::left;
};

using DrawItem = std::variant<RectItem, LineItem, PolylineItem, ImageItem, TextItem>;

enum class ActionKind {
  none,
  selectToken,
  selectRecurrentLayer,
  selectAttentionLayer,
  setQuantity,
  toggleSort,
};

struct Action {
  ActionKind kind = ActionKind::none;
  std::int64_t value = 0;
};

// What is under a point of a region.
struct Hover {
  QString readOut;          // exact numbers, one line
  std::int64_t token = -1;  // the token this place stands for
  Action click;
  QRectF mark;  // outlined while hovered; may be empty
};

// Later regions lie above earlier ones. `at` may read the run it was prepared from: a list must not outlive
// the trace it shows.
struct Region {
  QRectF rect;
  std::function<Hover(QPointF)> at;
  bool drags = false;     // pressing and moving keeps acting (scrubbing a time axis)
  bool timeAxis = false;  // Ctrl and wheel zoom the common time range around the pointer
};

struct DrawList {
  QSizeF size;
  std::vector<DrawItem> items;
  std::vector<Region> regions;
  QRectF readOutPlace;  // where the hovered region's read-out stands; empty: bottom right of the panel
  QString description;  // the view in words, for screen readers

  void rect(const QRectF& rect, const QColor& fill, double radius = 0, const QColor& stroke = {});
  void frame(const QRectF& rect, const QColor& stroke, double radius = 0);
  void line(QPointF from, QPointF to, const QColor& colour, double width = kHairline, bool dashed = false);
  void vertical(double x, double top, double bottom, const QColor& colour, double width = kHairline,
                bool dashed = false);
  void horizontal(double y, double left, double right, const QColor& colour);
  void polyline(std::vector<QPointF> points, const QColor& colour, double width = 1.25);
  void image(const QRectF& rect, const QImage& image, std::uint32_t slot);
  void text(QPointF anchor, const QString& text, const QColor& colour, TextRole role = TextRole::secondary,
            TextAlign align = TextAlign::left);
  // Appends another list, moved by `offset`; its regions too. Slots are kept.
  void append(const DrawList& other, QPointF offset);
  // The topmost region at `point`, or null.
  const Region* regionAt(QPointF point) const;
};

// Width of `text` in logical pixels.
double textWidth(const QString& text, TextRole role);
// `text`, cut with an ellipsis to fit.
QString elided(const QString& text, TextRole role, double width);

// Dashes of 4 with gaps of 3 along a line.
std::vector<std::pair<QPointF, QPointF>> dashes(QPointF from, QPointF to);

}  // namespace eyrie::ui
