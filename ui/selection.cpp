#include "ui/selection.h"

namespace eyrie::ui {

void Selection::selectToken(std::int64_t position) {
  if (position < -1) position = -1;
  if (position == token_) return;
  token_ = position;
  emit changed();
}

void Selection::selectRecurrentLayer(int layerIdx) {
  if (layerIdx == recurrentLayer_) return;
  recurrentLayer_ = layerIdx;
  emit changed();
}

void Selection::selectAttentionLayer(int layerIdx) {
  if (layerIdx == attentionLayer_) return;
  attentionLayer_ = layerIdx;
  emit changed();
}

void Selection::hoverToken(std::int64_t position) {
  if (position < -1) position = -1;
  if (position == hovered_) return;
  hovered_ = position;
  emit hoverChanged();
}

}  // namespace eyrie::ui
