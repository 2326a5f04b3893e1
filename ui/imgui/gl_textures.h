// Textures of one GL context: heat maps by slot, and text as Qt renders it, so that views and widgets show
// the same letters (kerning, fallback fonts and all scripts included).
#pragma once

#include <QHash>
#include <QImage>
#include <QRectF>
#include <QSize>
#include <memory>
#include <vector>

#include "ui/theme/theme.h"

namespace eyrie::ui {

class GlTextures {
 public:
  GlTextures();
  ~GlTextures();  // every method, this one too, with the context current

  // Uploads only when the image differs from the one the slot holds.
  unsigned image(std::uint32_t slot, const QImage& image);

  struct Text {
    unsigned texture = 0;
    QRectF source;       // texture coordinates
    QSizeF size;         // logical pixels, padding included
    QPointF baseline;    // of the text's start within `size`
    double advance = 0;  // logical width without padding
    double capHeight = 0;
  };
  // White, to be tinted. Call startFrame once a frame: full pages are given up there, never within a frame.
  Text text(const QString& text, TextRole role);
  void startFrame(double ratio);

 private:
  struct Page;
  struct Slot {
    unsigned texture = 0;
    QSize size;
    qint64 key = 0;
  };
  Text place(const QString& text, TextRole role);
  void dropText();

  QHash<std::uint32_t, Slot> slots_;
  QHash<QString, Text> texts_[6];
  std::vector<std::unique_ptr<Page>> pages_;
  double ratio_ = 1;
};

}  // namespace eyrie::ui
