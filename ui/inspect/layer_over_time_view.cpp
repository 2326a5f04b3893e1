// One recurrent layer's channels along the tokens: the spectrogram of its memory.
#include <algorithm>
#include <cmath>

#include "ui/inspect/views.h"

namespace eyrie::ui {
namespace {

constexpr std::uint32_t kSlot = 200;

Scale timeScale(const ViewState& state) {
  if (state.quantity == GateQuantity::halfLife) return {0.1, state.halfLifeTop, 0, 1, true};
  if (state.quantity == GateQuantity::write) return {0, state.writeTop, 0, 1, false};
  return {0, 1, 0, 1, false};
}

}  // namespace

void LayerOverTimeView::plot(DrawList& list, const ViewInput& input, int layerIdx, const QRectF& area) {
  const Theme& theme = input.theme;
  const std::int64_t token = shownToken(input.run, input.selection);
  const std::int64_t edge = windowEdge(input.run, token);
  HeatMapRequest request;
  request.layerIdx = layerIdx;
  request.quantity = input.state.quantity;
  request.sorted = input.state.sortByHalfLife;
  request.dark = theme.dark;
  request.scale = timeScale(input.state);
  request.time = input.time;
  request.width = static_cast<int>(area.width());
  request.height = static_cast<int>(area.height() * 1.5);
  const QImage& whole = map_.update(input.run, request);
  // The image holds one column more than the span: a travelling view begins within a column.
  const double perToken = area.width() / input.time.count;
  const auto firstShown = static_cast<double>(map_.imageFirst());
  const auto perColumn = static_cast<double>(map_.perColumn());
  const double left = area.left() + (firstShown - input.time.first) * perToken;
  const double columnWidth = perToken * perColumn;
  const int cutLeft = std::max(0, static_cast<int>((area.left() - left) / columnWidth));
  const int cutRight =
      std::min(whole.width(), static_cast<int>(std::ceil((area.right() - left) / columnWidth)));
  list.rect(area, theme.window);
  const QRectF place(std::max(area.left(), left + cutLeft * columnWidth), area.top(),
                     (cutRight - cutLeft) * columnWidth, area.height());
  list.image(place.intersected(area), whole.copy(cutLeft, 0, cutRight - cutLeft, whole.height()), kSlot);
  const QColor ink =
      gateColourMap(input.state.quantity) == ColourMap::viridis ? QColor(Qt::white) : theme.accent;
  card::timeMarks(list, input, area, edge, token, ink, ink);
  card::timeLabels(list, input, area, edge, token);
  const InspectedRun* run = &input.run;
  const std::vector<int> order = map_.order();
  const TimeSpan time = input.time;
  Region region;
  region.rect = area;
  region.drags = region.timeAxis = true;
  region.at = [=](QPointF p) {
    Hover hover;
    const std::int64_t at = card::tokenAt(time, area, p.x());
    if (at < 0 || at >= run->trace.size() || order.empty()) return hover;
    const auto rows = static_cast<double>(order.size());
    const double row = std::clamp((p.y() - area.top()) / area.height() * rows, 0.0, rows - 1);
    hover.token = at;
    hover.click = {ActionKind::selectToken, at};
    hover.readOut = tr("Token %1 “%2”").arg(readableCount(at)).arg(run->tokenText(at)) + QLatin1Char('\n') +
                    channelReadOut(*run, layerIdx, order[static_cast<std::size_t>(row)], at);
    return hover;
  };
  list.regions.push_back(std::move(region));
}

DrawList LayerOverTimeView::prepare(const ViewInput& input) {
  DrawList list;
  list.size = input.size;
  QString problem = card::nothingYet(input);
  const std::vector<int> layers = recurrentLayers(input.run.trace.config());
  if (problem.isEmpty() && layers.empty())
    problem = tr("This model has no recurrent layers, so this panel stays empty.");
  const int layerIdx = shownRecurrentLayer(input.run, input.selection);
  if (problem.isEmpty() && !recordsFull(input.run, layerIdx))
    problem = tr("Channels of layer %1 are not recorded. Choose the trace level full.").arg(layerIdx);
  const QString title =
      layers.empty() ? tr("A recurrent layer over time") : tr("Layer %1 over time").arg(layerIdx);
  const QString note = gateQuantityName(input.state.quantity) + tr(" · channel × token");
  const double end = card::header(list, input, 'R', title, note);
  card::layerSteps(list, input, end + metrics::kStep, layers, layerIdx, ActionKind::selectRecurrentLayer);
  if (!problem.isEmpty()) {
    card::message(list, input, problem);
    return list;
  }
  const QRectF area = card::content(input).adjusted(0, 0, 0, -card::kAxis + 4);
  plot(list, input, layerIdx, area);
  list.description = tr("%1 of layer %2, channels by tokens %3 to %4")
                         .arg(gateQuantityName(input.state.quantity))
                         .arg(layerIdx)
                         .arg(std::llround(input.time.first))
                         .arg(std::llround(input.time.first + input.time.count));
  return list;
}

}  // namespace eyrie::ui
