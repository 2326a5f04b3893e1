#include "ui/plot/painter_backend.h"

#include <QFileInfo>
#include <QFontMetricsF>
#include <QSaveFile>
#include <QSvgGenerator>
#include <cmath>

namespace eyrie::ui {
namespace {

constexpr double kDotsPerInch = 96;

QPen penOf(const QColor& colour, double width) {
  QPen pen(colour);
  pen.setWidthF(width);
  if (width <= kHairline) {
    pen.setWidthF(1);
    pen.setCosmetic(true);
  }
  pen.setCapStyle(Qt::FlatCap);
  pen.setJoinStyle(Qt::RoundJoin);
  return pen;
}

// Moves a straight hairline onto the middle of a physical pixel, where it stays one pixel wide.
QPointF snapped(const QPainter& painter, QPointF point) {
  const double ratio = painter.device()->devicePixelRatioF() * painter.worldTransform().m11();
  const auto snap = [&](double v) { return (std::floor(v * ratio) + 0.5) / ratio; };
  return {snap(point.x()), snap(point.y())};
}

void paint(QPainter& painter, const RectItem& item) {
  painter.setPen(Qt::NoPen);
  if (item.fill.isValid()) {
    painter.setBrush(item.fill);
    if (item.radius > 0)
      painter.drawRoundedRect(item.rect, item.radius, item.radius);
    else
      painter.fillRect(item.rect, item.fill);
  }
  if (item.stroke.isValid()) {
    painter.setBrush(Qt::NoBrush);
    painter.setPen(penOf(item.stroke, kHairline));
    const QPointF topLeft = snapped(painter, item.rect.topLeft());
    const QPointF bottomRight = snapped(painter, item.rect.bottomRight() - QPointF(0.5, 0.5));
    painter.drawRoundedRect(QRectF(topLeft, bottomRight), item.radius, item.radius);
  }
}

void paint(QPainter& painter, const LineItem& item) {
  painter.setPen(penOf(item.colour, item.width));
  QPointF from = item.from;
  QPointF to = item.to;
  const bool straight = from.x() == to.x() || from.y() == to.y();
  if (straight && item.width <= 1) {
    from = snapped(painter, from);
    to = snapped(painter, to);
  }
  if (!item.dashed) {
    painter.drawLine(from, to);
    return;
  }
  for (const auto& [start, end] : dashes(from, to)) painter.drawLine(start, end);
}

void paint(QPainter& painter, const PolylineItem& item) {
  painter.setPen(penOf(item.colour, item.width));
  painter.setBrush(Qt::NoBrush);
  QPolygonF run;
  const auto flush = [&] {
    if (run.size() > 1) painter.drawPolyline(run);
    run.clear();
  };
  for (const QPointF& point : item.points) {
    if (std::isnan(point.y()))
      flush();
    else
      run.append(point);
  }
  flush();
}

void paint(QPainter& painter, const ImageItem& item) {
  painter.setRenderHint(QPainter::SmoothPixmapTransform, false);
  painter.drawImage(item.rect, item.image);
}

void paint(QPainter& painter, const TextItem& item) {
  const QFont font = themeFont(item.role);
  const QFontMetricsF metrics(font);
  const double width = metrics.horizontalAdvance(item.text);
  double x = item.anchor.x();
  if (item.align == TextAlign::centre) x -= width / 2;
  if (item.align == TextAlign::right) x -= width;
  // Middle of the capitals on the anchor: figures and letters look centred in bars and rows.
  const double baseline = item.anchor.y() + metrics.capHeight() / 2;
  painter.setFont(font);
  painter.setPen(item.colour);
  painter.drawText(QPointF(x, std::round(baseline)), item.text);
}

bool savePng(const DrawList& list, const Theme& theme, const QString& file, double scale) {
  QImage image((list.size * scale).toSize(), QImage::Format_ARGB32_Premultiplied);
  if (image.isNull()) return false;
  image.setDotsPerMeterX(static_cast<int>(std::lround(kDotsPerInch / 0.0254)));
  image.setDotsPerMeterY(image.dotsPerMeterX());
  image.setDevicePixelRatio(scale);
  image.fill(theme.panel);
  QPainter painter(&image);
  paintDrawList(painter, list);
  painter.end();
  QSaveFile device(file);
  return device.open(QIODevice::WriteOnly) && image.save(&device, "PNG") && device.commit();
}

bool saveSvg(const DrawList& list, const Theme& theme, const QString& file) {
  QSaveFile device(file);
  if (!device.open(QIODevice::WriteOnly)) return false;
  QSvgGenerator generator;
  generator.setOutputDevice(&device);
  generator.setResolution(static_cast<int>(kDotsPerInch));
  generator.setSize(list.size.toSize());
  generator.setViewBox(QRectF(QPointF(), list.size));
  generator.setTitle(list.description);
  QPainter painter;
  if (!painter.begin(&generator)) return false;
  painter.fillRect(QRectF(QPointF(), list.size), theme.panel);
  paintDrawList(painter, list);
  return painter.end() && device.commit();
}

}  // namespace

void paintDrawList(QPainter& painter, const DrawList& list) {
  painter.save();
  painter.setRenderHints(QPainter::Antialiasing | QPainter::TextAntialiasing);
  for (const DrawItem& item : list.items) std::visit([&](const auto& value) { paint(painter, value); }, item);
  painter.restore();
}

bool saveDrawList(const DrawList& list, const Theme& theme, const QString& file, double scale) {
  const QString ending = QFileInfo(file).suffix().toLower();
  if (ending == QLatin1String("png")) return savePng(list, theme, file, scale);
  if (ending == QLatin1String("svg")) return saveSvg(list, theme, file);
  return false;
}

}  // namespace eyrie::ui
