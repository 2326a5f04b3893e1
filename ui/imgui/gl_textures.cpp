#include "ui/imgui/gl_textures.h"

#include <QFontMetricsF>
#include <QOpenGLContext>
#include <QOpenGLFunctions>
#include <QPainter>
#include <cmath>

namespace eyrie::ui {
namespace {

constexpr int kPageSize = 1024;
constexpr std::size_t kMostPages = 4;
constexpr double kPadding = 1;

QOpenGLFunctions& gl() {
  return *QOpenGLContext::currentContext()->functions();
}

unsigned makeTexture(QSize size, const void* pixels, int filter) {
  GLuint texture = 0;
  gl().glGenTextures(1, &texture);
  gl().glBindTexture(GL_TEXTURE_2D, texture);
  gl().glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, filter);
  gl().glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MAG_FILTER, filter);
  gl().glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_WRAP_S, GL_CLAMP_TO_EDGE);
  gl().glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_WRAP_T, GL_CLAMP_TO_EDGE);
  gl().glPixelStorei(GL_UNPACK_ALIGNMENT, 4);
  gl().glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA, size.width(), size.height(), 0, GL_RGBA, GL_UNSIGNED_BYTE,
                    pixels);
  return texture;
}

}  // namespace

// Rows of text of equal height, filled from the left.
struct GlTextures::Page {
  unsigned texture = 0;
  int x = 0;
  int y = 0;
  int rowHeight = 0;

  bool fit(QSize size) {
    if (x + size.width() > kPageSize) {
      x = 0;
      y += rowHeight;
      rowHeight = 0;
    }
    return size.width() <= kPageSize && y + size.height() <= kPageSize;
  }
};

GlTextures::GlTextures() = default;

GlTextures::~GlTextures() {
  dropText();
  for (const Slot& slot : std::as_const(slots_)) gl().glDeleteTextures(1, &slot.texture);
}

unsigned GlTextures::image(std::uint32_t slot, const QImage& image) {
  Slot& entry = slots_[slot];
  if (entry.texture != 0 && entry.key == image.cacheKey()) return entry.texture;
  const QImage pixels =
      image.format() == QImage::Format_RGBA8888 ? image : image.convertToFormat(QImage::Format_RGBA8888);
  if (entry.texture != 0 && entry.size == pixels.size()) {
    gl().glBindTexture(GL_TEXTURE_2D, entry.texture);
    gl().glTexSubImage2D(GL_TEXTURE_2D, 0, 0, 0, pixels.width(), pixels.height(), GL_RGBA, GL_UNSIGNED_BYTE,
                         pixels.constBits());
  } else {
    if (entry.texture != 0) gl().glDeleteTextures(1, &entry.texture);
    entry.texture = makeTexture(pixels.size(), pixels.constBits(), GL_NEAREST);
  }
  entry.size = pixels.size();
  entry.key = image.cacheKey();
  return entry.texture;
}

void GlTextures::dropText() {
  for (const auto& page : pages_) gl().glDeleteTextures(1, &page->texture);
  pages_.clear();
  for (auto& texts : texts_) texts.clear();
}

void GlTextures::startFrame(double ratio) {
  if (ratio != ratio_ || pages_.size() > kMostPages) dropText();
  ratio_ = ratio;
}

GlTextures::Text GlTextures::text(const QString& text, TextRole role) {
  auto& texts = texts_[static_cast<std::size_t>(role)];
  const auto known = texts.constFind(text);
  if (known != texts.constEnd()) return *known;
  return *texts.insert(text, place(text, role));
}

GlTextures::Text GlTextures::place(const QString& text, TextRole role) {
  const QFont font = themeFont(role);
  const QFontMetricsF metrics(font);
  Text result;
  result.advance = metrics.horizontalAdvance(text);
  result.capHeight = metrics.capHeight();
  const double ascent = std::ceil(metrics.ascent() + kPadding);
  const double height = ascent + std::ceil(metrics.descent() + kPadding);
  const double most = kPageSize / ratio_;
  const double width = std::min(std::ceil(result.advance) + 2 * kPadding + 2, most);
  result.size = QSizeF(width, height);
  result.baseline = QPointF(kPadding, ascent);
  QImage image((result.size * ratio_).toSize(), QImage::Format_ARGB32_Premultiplied);
  image.setDevicePixelRatio(ratio_);
  image.fill(Qt::transparent);
  QPainter painter(&image);
  painter.setRenderHint(QPainter::TextAntialiasing);
  painter.setFont(font);
  painter.setPen(Qt::white);
  painter.drawText(result.baseline, text);
  painter.end();
  image = image.convertToFormat(QImage::Format_RGBA8888);
  if (pages_.empty() || !pages_.back()->fit(image.size())) {
    pages_.push_back(std::make_unique<Page>());
    pages_.back()->texture = makeTexture({kPageSize, kPageSize}, nullptr, GL_NEAREST);
  }
  Page& page = *pages_.back();
  gl().glBindTexture(GL_TEXTURE_2D, page.texture);
  gl().glTexSubImage2D(GL_TEXTURE_2D, 0, page.x, page.y, image.width(), image.height(), GL_RGBA,
                       GL_UNSIGNED_BYTE, image.constBits());
  result.texture = page.texture;
  constexpr double kUnit = 1.0 / kPageSize;
  result.source = QRectF(page.x * kUnit, page.y * kUnit, image.width() * kUnit, image.height() * kUnit);
  page.x += image.width();
  page.rowHeight = std::max(page.rowHeight, image.height());
  return result;
}

}  // namespace eyrie::ui
