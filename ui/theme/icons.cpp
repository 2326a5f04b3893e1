// Icons drawn when they are shown, in the colours of that moment: a theme switch needs no new ones.
#include <QFile>
#include <QIconEngine>
#include <QPainter>
#include <QPixmapCache>
#include <QSvgRenderer>

#include "ui/theme/theme.h"

namespace eyrie::ui {
namespace {

QPixmap renderSvg(const QByteArray& svg, const QSize& pixels) {
  QSvgRenderer renderer(svg);
  QPixmap pixmap(pixels);
  pixmap.fill(Qt::transparent);
  QPainter painter(&pixmap);
  renderer.render(&painter);
  return pixmap;
}

class ThemeIconEngine final : public QIconEngine {
 public:
  ThemeIconEngine(QString name, QByteArray svg) : name_(std::move(name)), svg_(std::move(svg)) {}

  QIconEngine* clone() const override { return new ThemeIconEngine(*this); }
  QString key() const override { return QStringLiteral("eyrie"); }
  QSize actualSize(const QSize& size, QIcon::Mode, QIcon::State) override { return size; }

  QPixmap pixmap(const QSize& size, QIcon::Mode mode, QIcon::State state) override {
    const Theme& theme = Theme::current();
    const QColor colour = mode == QIcon::Disabled ? theme.line
                          : state == QIcon::On    ? theme.accent
                          : mode == QIcon::Active ? theme.text
                                                  : theme.dim;
    const QString key =
        QStringLiteral("eyrie/%1/%2/%3x%4").arg(name_, colour.name()).arg(size.width()).arg(size.height());
    QPixmap made;
    if (QPixmapCache::find(key, &made)) return made;
    QByteArray svg = svg_;
    made = renderSvg(svg.replace("currentColor", colour.name().toLatin1()), size);
    QPixmapCache::insert(key, made);
    return made;
  }
  QPixmap scaledPixmap(const QSize& size, QIcon::Mode mode, QIcon::State state, qreal) override {
    return pixmap(size, mode, state);
  }
  void paint(QPainter* painter, const QRect& rect, QIcon::Mode mode, QIcon::State state) override {
    const double ratio = painter->device()->devicePixelRatioF();
    QPixmap made = pixmap(rect.size() * ratio, mode, state);
    made.setDevicePixelRatio(ratio);
    painter->drawPixmap(rect.topLeft(), made);
  }

 private:
  QString name_;
  QByteArray svg_;
};

}  // namespace

QIcon themeIcon(const QString& name) {
  QFile file(QStringLiteral(":/eyrie/icons/%1.svg").arg(name));
  if (!file.open(QIODevice::ReadOnly)) return {};
  return QIcon(new ThemeIconEngine(name, file.readAll()));
}

QIcon applicationIcon() {
  QFile file(QStringLiteral(":/eyrie/icons/eyrie.svg"));
  if (!file.open(QIODevice::ReadOnly)) return {};
  const QByteArray svg = file.readAll();
  QIcon icon;
  for (const int side : {16, 24, 32, 48, 64, 128, 256}) icon.addPixmap(renderSvg(svg, {side, side}));
  return icon;
}

}  // namespace eyrie::ui
