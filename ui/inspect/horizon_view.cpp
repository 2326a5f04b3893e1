// How long each layer's channels remember at one token: histograms of half-lives on a logarithmic axis.
#include <algorithm>
#include <cmath>

#include "ui/inspect/views.h"

namespace eyrie::ui {
namespace {

constexpr double kLabels = 56;
constexpr int kBinsPerDecade = 10;

}  // namespace

void HorizonView::row(DrawList& list, const ViewInput& input, const QRectF& area, int layerIdx,
                      std::int64_t token, const Scale& scale) const {
  const Theme& theme = input.theme;
  list.horizontal(area.bottom(), area.left(), area.right(), theme.line);
  const std::vector<float> values = channelValues(input.run, layerIdx, GateQuantity::halfLife, token);
  if (values.empty()) {
    const std::span<const float> q = halfLifeQuantiles(input.run, layerIdx, token);
    if (q.size() != 5) return;
    const auto x = [&](std::size_t i) { return scale.place(static_cast<double>(q[i])); };
    const double y = area.bottom() - area.height() * 0.45;
    list.line({x(0), y}, {x(4), y}, theme.recurrence, 1);
    list.rect(QRectF(x(1), y - 4, std::max(1.0, x(3) - x(1)), 8), theme.recurrence, 2);
    list.line({x(2), y - 4}, {x(2), y + 4}, theme.panel, 2);
    list.regions.push_back(
        {area,
         [=, text = tr("Layer %1: half of the channels keep longer than %2, one in twenty longer than %3")
                        .arg(layerIdx)
                        .arg(readableTokens(static_cast<double>(q[2])),
                             readableTokens(static_cast<double>(q[4])))](QPointF) {
           return Hover{text, -1, {ActionKind::selectRecurrentLayer, layerIdx}, {}};
         }});
    return;
  }
  const int bins = static_cast<int>(std::lround(kBinsPerDecade * std::log10(scale.high / scale.low)));
  std::vector<int> counts(static_cast<std::size_t>(bins));
  for (const float value : values) {
    if (std::isnan(value)) continue;
    const int bin = std::min(bins - 1, static_cast<int>(scale.unit(static_cast<double>(value)) * bins));
    ++counts[static_cast<std::size_t>(bin)];
  }
  // An eighth of the channels in one bin fills the row, always: rows compare across layers and tokens.
  const double full = static_cast<double>(values.size()) / 8;
  const double width = area.width() / bins;
  const bool tall = area.height() >= 10;  // else heights cannot be told apart, and depth of colour speaks
  for (int i = 0; i < bins; ++i) {
    const double share = std::min(1.0, counts[static_cast<std::size_t>(i)] / full);
    if (share <= 0) continue;
    const double height = tall ? std::max(1.0, share * area.height()) : area.height();
    QColor colour = theme.recurrence;
    if (!tall) colour.setAlphaF(static_cast<float>(0.15 + 0.85 * share));
    list.rect(QRectF(area.left() + i * width + 0.5, area.bottom() - height, width - 1, height), colour);
  }
  list.regions.push_back(
      {area, [=](QPointF p) {
         const auto bin = std::clamp(static_cast<int>((p.x() - area.left()) / width), 0, bins - 1);
         const double low = scale.low * std::pow(scale.high / scale.low, static_cast<double>(bin) / bins);
         const double high = scale.low * std::pow(scale.high / scale.low, (bin + 1.0) / bins);
         Hover hover;
         hover.readOut = tr("Layer %1: %2 of %3 channels keep half for %4 to %5 tokens")
                             .arg(layerIdx)
                             .arg(counts[static_cast<std::size_t>(bin)])
                             .arg(values.size())
                             .arg(readable(low), readable(high));
         hover.click = {ActionKind::selectRecurrentLayer, layerIdx};
         hover.mark = QRectF(area.left() + bin * width, area.top(), width, area.height());
         return hover;
       }});
}

DrawList HorizonView::prepare(const ViewInput& input) {
  DrawList list;
  list.size = input.size;
  const Theme& theme = input.theme;
  const std::vector<int> layers = recurrentLayers(input.run.trace.config());
  card::header(list, input, 0, tr("Memory horizon"), tr("channels by half-life, tokens"));
  QString problem = card::nothingYet(input);
  if (problem.isEmpty() && layers.empty())
    problem = tr("This model has no recurrent layers, so nothing decays.");
  if (!problem.isEmpty()) {
    card::message(list, input, problem);
    return list;
  }
  const std::int64_t token = shownToken(input.run, input.selection);
  // The axis grows when one channel in twenty of some layer lies beyond it; the last bin holds what is
  // longer.
  for (const int layerIdx : layers) {
    const std::span<const float> quantiles = halfLifeQuantiles(input.run, layerIdx, token);
    if (quantiles.size() == 5 && std::isfinite(quantiles[4]))
      while (input.state.halfLifeTop < std::min(1e6, static_cast<double>(quantiles[4])))
        input.state.halfLifeTop *= 10;
  }
  const QRectF area = card::content(input).adjusted(kLabels, 10, -2, -card::kAxis + 4);
  const Scale scale{0.1, input.state.halfLifeTop, area.left(), area.right(), true};
  const double pitch = area.height() / static_cast<double>(layers.size());
  const int every = static_cast<int>(std::ceil(14 / pitch));
  const int shown = shownRecurrentLayer(input.run, input.selection);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const double top = area.top() + static_cast<double>(i) * pitch;
    const double height = std::min(pitch - (pitch >= 12 ? 3 : 1), 44.0);
    const QRectF place(area.left(), top + pitch - height, area.width(), height);
    if (static_cast<int>(i) % every == 0)
      list.text({card::kPad, place.bottom() - std::min(8.0, height / 2)}, tr("Layer %1").arg(layers[i]),
                layers[i] == shown ? theme.accent : theme.dim);
    row(list, input, place, layers[i], token, scale);
  }
  std::vector<double> ticks;
  for (double tick = scale.low; tick <= scale.high * 1.001; tick *= 10) ticks.push_back(tick);
  card::tickLabels(list, input, area, area.bottom() + 11, scale, ticks);
  const engine::ModelConfig& config = input.run.trace.config();
  if (config.hasKind(engine::BlockKind::localAttention)) {
    const double x = scale.place(static_cast<double>(config.W));
    list.vertical(x, area.top() - 8, area.bottom(), theme.dim, 1, true);
    const QString text = tr("window %1").arg(readableCount(config.W));
    list.text({x - 5, area.top() - 5}, text, theme.dim, TextRole::secondary, TextAlign::right);
  }
  list.description = tr("Half-lives of every layer's channels at token %1").arg(token);
  return list;
}

}  // namespace eyrie::ui
