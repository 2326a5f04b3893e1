// A view of a trace file as a picture, without a window.
#pragma once

#include <string>

namespace eyrie::app {

struct PictureOptions {
  std::string trace;
  std::string view;  // "gates", "time", "attention", "norms", "horizon" or "share"
  std::string out;   // .png or .svg
  int width = 1000;  // logical pixels
  int height = 0;    // as the view needs
  int token = -1;    // the newest
  int layer = -1;    // the first of its kind
  bool dark = false;
};

// Throws engine::Error: a trace that cannot be read or does not hold what the view shows, a picture that
// cannot be written; `unsupported` in a build without a window.
void drawTrace(const PictureOptions& options);

}  // namespace eyrie::app
