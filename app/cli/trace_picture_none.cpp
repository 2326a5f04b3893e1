// For builds without a window.
#include "app/cli/trace_picture.h"
#include "engine/error.h"

namespace eyrie::app {

void drawTrace(const PictureOptions&) {
  throw engine::Error(engine::ErrorCode::unsupported, "draw: this build has no window, and so no pictures");
}

}  // namespace eyrie::app
