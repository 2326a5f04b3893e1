// The size of every recurrent layer's state, token by token.
#include <algorithm>
#include <cmath>

#include "ui/inspect/views.h"

namespace eyrie::ui {
namespace {

constexpr double kAxisLabels = 34;
constexpr double kNames = 52;

struct Name {
  double y;
  int layerIdx;
  QColor colour;
};

// Names at the line ends, pushed apart; where there is no room for all, the outer ones stay.
std::vector<Name> spread(std::vector<Name> names, double top, double bottom) {
  constexpr double kLine = 14;
  std::sort(names.begin(), names.end(), [](const Name& a, const Name& b) { return a.y < b.y; });
  const auto room = static_cast<std::size_t>(std::max(1.0, (bottom - top) / kLine));
  if (names.size() > room) {
    std::vector<Name> chosen;
    for (std::size_t i = 0; i < room; ++i)
      chosen.push_back(names[room == 1 ? 0 : i * (names.size() - 1) / (room - 1)]);
    names = std::move(chosen);
  }
  for (std::size_t i = 1; i < names.size(); ++i) names[i].y = std::max(names[i].y, names[i - 1].y + kLine);
  if (!names.empty()) names.back().y = std::min(names.back().y, bottom);
  for (std::size_t i = names.size(); i-- > 1;) names[i - 1].y = std::min(names[i - 1].y, names[i].y - kLine);
  return names;
}

}  // namespace

void NormsView::lines(DrawList& list, const ViewInput& input, const QRectF& plot,
                      const std::vector<int>& layers, const Scale& scale) {
  const auto& series = series_.update(input.run, engine::Quantity::stateNorm, layers);
  const int shown = shownRecurrentLayer(input.run, input.selection);
  std::vector<Name> names;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const QColor colour = input.theme.series(static_cast<int>(i), static_cast<int>(layers.size()));
    std::vector<QPointF> points;
    double lastY = std::nan("");
    for (const MinMax& entry :
         decimate(series[i], input.time.first, input.time.count, static_cast<int>(plot.width()))) {
      const double x = plot.left() + (entry.token - input.time.first) / input.time.count * plot.width();
      if (x < plot.left() || x > plot.right()) continue;
      const double low = std::isnan(entry.low) ? std::nan("") : scale.place(static_cast<double>(entry.low));
      const double high =
          std::isnan(entry.high) ? std::nan("") : scale.place(static_cast<double>(entry.high));
      points.emplace_back(x, high);
      if (low != high && !std::isnan(low)) points.emplace_back(x, low);
      if (!std::isnan(high)) lastY = (low + high) / 2;
    }
    if (!std::isnan(lastY)) names.push_back({lastY, layers[i], colour});
    list.polyline(std::move(points), colour, layers[i] == shown ? 1.9 : 1.2);
  }
  for (const Name& name : spread(std::move(names), plot.top() + 6, plot.bottom() - 4)) {
    const QRectF box(plot.right() + 6, name.y - 7, kNames, 14);
    list.text({box.left(), name.y}, tr("layer %1").arg(name.layerIdx), name.colour,
              name.layerIdx == shown ? TextRole::secondaryTitle : TextRole::secondary);
    const Action click{ActionKind::selectRecurrentLayer, name.layerIdx};
    list.regions.push_back({box, [=, help = tr("Click: show layer %1").arg(name.layerIdx)](QPointF) {
                              return Hover{help, -1, click, {}};
                            }});
  }
}

Region NormsView::region(const ViewInput& input, const QRectF& plot, const std::vector<int>& layers) const {
  Region region;
  region.rect = plot;
  region.drags = region.timeAxis = true;
  region.at = [=, run = &input.run, time = input.time](QPointF p) {
    Hover hover;
    const std::int64_t at = card::tokenAt(time, plot, p.x());
    if (at < 0 || at >= run->trace.size()) return hover;
    hover.token = at;
    hover.click = {ActionKind::selectToken, at};
    hover.readOut = tr("Token %1 “%2”").arg(readableCount(at)).arg(run->tokenText(at));
    for (const int layerIdx : layers) {
      const engine::TraceColumn* column = run->trace.layout().find(layerIdx, engine::Quantity::stateNorm);
      if (column)
        hover.readOut +=
            QLatin1Char('\n') + tr("layer %1: %2")
                                    .arg(layerIdx)
                                    .arg(readable(static_cast<double>(run->trace.value(*column, at))));
    }
    return hover;
  };
  return region;
}

DrawList NormsView::prepare(const ViewInput& input) {
  DrawList list;
  list.size = input.size;
  const Theme& theme = input.theme;
  const std::vector<int> layers = recurrentLayers(input.run.trace.config());
  card::header(list, input, 0, tr("State norm"), tr("norm of h per layer"));
  QString problem = card::nothingYet(input);
  if (problem.isEmpty() && layers.empty())
    problem = tr("This model has no recurrent layers, so it has no state of fixed size.");
  if (!problem.isEmpty()) {
    card::message(list, input, problem);
    return list;
  }
  const QRectF plot = card::content(input).adjusted(kAxisLabels, 2, -kNames - 8, -card::kAxis + 4);
  series_.update(input.run, engine::Quantity::stateNorm, layers);
  input.state.normTop = std::max(input.state.normTop, steppedTop(static_cast<double>(series_.maximum())));
  const Scale scale{0, input.state.normTop, plot.bottom(), plot.top(), false};
  for (const double tick : {0.0, input.state.normTop / 2, input.state.normTop}) {
    list.horizontal(scale.place(tick), plot.left(), plot.right(), theme.line);
    list.text({plot.left() - 8, scale.place(tick)}, readableTick(tick), theme.dim, TextRole::secondary,
              TextAlign::right);
  }
  lines(list, input, plot, layers, scale);
  const std::int64_t token = shownToken(input.run, input.selection);
  card::timeMarks(list, input, plot, -1, token, theme.accent, theme.dim);
  card::timeLabels(list, input, plot, -1, token);
  list.regions.push_back(region(input, plot, layers));
  list.description =
      tr("State norm of %n recurrent layers over the tokens", nullptr, static_cast<int>(layers.size()));
  return list;
}

}  // namespace eyrie::ui
