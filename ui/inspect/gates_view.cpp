// Every channel's gates at one token: layers × channels.
#include <QCoreApplication>
#include <QLocale>
#include <algorithm>
#include <cmath>

#include "ui/inspect/views.h"

namespace eyrie::ui {
namespace {

constexpr std::uint32_t kSlot = 100;
constexpr double kLabels = 56;

Scale gateScale(const ViewState& state) {
  switch (state.quantity) {
    case GateQuantity::halfLife:
      return {0.1, state.halfLifeTop, 0, 1, true};
    case GateQuantity::write:
      return {0, state.writeTop, 0, 1, false};
    default:
      return {0, 1, 0, 1, false};
  }
}

std::vector<double> gateTicks(const ViewState& state) {
  if (state.quantity == GateQuantity::write) return {0, state.writeTop / 2, state.writeTop};
  if (state.quantity != GateQuantity::halfLife) return {0, 0.5, 1};
  std::vector<double> ticks;
  for (double tick = 0.1; tick <= state.halfLifeTop * 1.001; tick *= 10) ticks.push_back(tick);
  return ticks;
}

struct Row {
  std::vector<float> values;  // in drawing order
  std::vector<int> order;     // channel at each place; empty: values are places, not channels
};

Row readRow(const ViewInput& input, int layerIdx, std::int64_t token) {
  Row row;
  const std::vector<float> values = channelValues(input.run, layerIdx, input.state.quantity, token);
  if (values.empty()) {
    // Summary level: the sorted curve of half-lives from its quantiles.
    const std::span<const float> quantiles = halfLifeQuantiles(input.run, layerIdx, token);
    if (input.state.quantity != GateQuantity::halfLife || quantiles.empty()) return row;
    constexpr int kPlaces = 128;
    for (int i = 0; i < kPlaces; ++i) row.values.push_back(halfLifeAtPlace(quantiles, (i + 0.5) / kPlaces));
    return row;
  }
  if (input.state.sortByHalfLife) {
    row.order = halfLifeOrder(input.run, layerIdx, token);
  } else {
    row.order.resize(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) row.order[i] = static_cast<int>(i);
  }
  row.values.reserve(values.size());
  for (const int channel : row.order) row.values.push_back(values[static_cast<std::size_t>(channel)]);
  return row;
}

// One pixel a channel, or the largest of those that share one.
QImage rowImage(const std::vector<float>& values, const Scale& scale, const ColourTable& table, int most) {
  const auto count = static_cast<std::int64_t>(values.size());
  const std::int64_t width = std::min<std::int64_t>(count, most);
  QImage image(static_cast<int>(width), 1, QImage::Format_RGBA8888);
  for (std::int64_t x = 0; x < width; ++x) {
    const auto begin = values.begin() + x * count / width;
    const auto end = values.begin() + std::max(x * count / width + 1, (x + 1) * count / width);
    image.setPixel(static_cast<int>(x), 0,
                   sampleColour(table, static_cast<float>(scale.unit(*std::max_element(begin, end)))));
  }
  return image;
}

void growRanges(ViewState& state, const std::vector<float>& values) {
  for (const float value : values) {
    if (state.quantity == GateQuantity::write && value > state.writeTop) state.writeTop = steppedTop(value);
    if (state.quantity == GateQuantity::halfLife && value > state.halfLifeTop * 2 && std::isfinite(value))
      state.halfLifeTop = std::min(1e6, std::pow(10, std::ceil(std::log10(value))));
  }
}

double switches(DrawList& list, const ViewInput& input, double left) {
  if (!input.interactive) return left;
  const char* const kHelp[] = {
      QT_TRANSLATE_NOOP("eyrie::ui::Gates", "Recurrence gate: how much it lets the state decay"),
      QT_TRANSLATE_NOOP("eyrie::ui::Gates", "Input gate: how much of the input is let in"),
      QT_TRANSLATE_NOOP("eyrie::ui::Gates", "Decay: share of the state kept for the next token"),
      QT_TRANSLATE_NOOP("eyrie::ui::Gates", "Tokens until half of a channel's state is gone"),
      QT_TRANSLATE_NOOP("eyrie::ui::Gates", "Size of what this token adds to the state")};
  for (int i = 0; i < kGateQuantities; ++i) {
    const auto quantity = static_cast<GateQuantity>(i);
    left =
        card::chip(list, input, left, gateQuantityName(quantity), quantity == input.state.quantity,
                   {ActionKind::setQuantity, i}, QCoreApplication::translate("eyrie::ui::Gates", kHelp[i])) +
        6;
  }
  return left;
}

}  // namespace

QString channelReadOut(const InspectedRun& run, int layerIdx, int channel, std::int64_t token) {
  const auto value = [&](GateQuantity quantity) {
    const std::vector<float> values = channelValues(run, layerIdx, quantity, token);
    return static_cast<std::size_t>(channel) < values.size()
               ? static_cast<double>(values[static_cast<std::size_t>(channel)])
               : std::nan("");
  };
  return QCoreApplication::translate("eyrie::ui::Gates",
                                     "Channel %1 of layer %2: r %3, i %4, a %5, half-life %6")
      .arg(channel)
      .arg(layerIdx)
      .arg(readable(value(GateQuantity::recurrence)), readable(value(GateQuantity::input)),
           QLocale().toString(value(GateQuantity::decay), 'f', 4),
           readableTokens(value(GateQuantity::halfLife)));
}

void GatesView::title(DrawList& list, const ViewInput& input, std::int64_t token) const {
  const ViewState& state = input.state;
  const QString title = token < 0 ? tr("Gates") : tr("Gates at token %1").arg(readableCount(token));
  QString note = state.sortByHalfLife ? tr("layer × channel · sorted by half-life")
                                      : tr("layer × channel · in the model's order");
  if (!input.interactive) note = gateQuantityName(state.quantity) + QStringLiteral(" · ") + note;
  double x = card::header(list, input, 0, title, {}) + metrics::kGroup;
  if (token >= 0) {
    const QString text = elided(QStringLiteral("“%1”").arg(input.run.tokenText(token)), TextRole::mono, 110);
    list.text({x, card::kTitleMiddle}, text, input.theme.dim, TextRole::mono);
    // The switch keeps its place whatever the token.
    x += std::max(70.0, textWidth(text, TextRole::mono)) + metrics::kGroup;
    x = switches(list, input, x);
  }
  const double right = input.size.width() - card::kPad;
  const double width = textWidth(note, TextRole::secondary);
  if (token < 0 || x + width + 8 > right) return;
  list.text({right, card::kTitleMiddle}, note, input.theme.dim, TextRole::secondary, TextAlign::right);
  const QRectF box(right - width, card::kTitleMiddle - 9, width, 18);
  list.regions.push_back({box, [help = tr("Click: sort by half-life, or keep the model's order")](QPointF) {
                            return Hover{help, -1, {ActionKind::toggleSort, 0}, {}};
                          }});
}

void GatesView::row(DrawList& list, const ViewInput& input, const QRectF& bar, int layerIdx,
                    std::int64_t token, std::uint32_t slot, bool labelled) const {
  Row row = readRow(input, layerIdx, token);
  growRanges(input.state, row.values);
  const bool chosen = layerIdx == shownRecurrentLayer(input.run, input.selection);
  if (labelled)
    list.text({card::kPad, bar.center().y()}, tr("Layer %1").arg(layerIdx),
              chosen ? input.theme.accent : input.theme.dim);
  if (!row.values.empty()) {
    const ColourTable& table = colourTable(gateColourMap(input.state.quantity), input.theme.dark);
    const int most = static_cast<int>(bar.width() * 2);
    list.image(bar, rowImage(row.values, gateScale(input.state), table, most), slot);
    if (gateColourMap(input.state.quantity) == ColourMap::weights) list.frame(bar, input.theme.line);
  }
  const QRectF whole(card::kPad, bar.top() - 1, bar.right() - card::kPad, bar.height() + 2);
  const InspectedRun* run = &input.run;
  list.regions.push_back(
      {whole, [=, this, values = std::move(row.values), order = std::move(row.order)](QPointF p) {
         Hover hover;
         hover.click = {ActionKind::selectRecurrentLayer, layerIdx};
         hover.readOut = tr("Click: show layer %1 over time").arg(layerIdx);
         if (p.x() < bar.left() || values.empty()) return hover;
         const auto count = static_cast<double>(values.size());
         const double place = std::clamp((p.x() - bar.left()) / bar.width() * count, 0.0, count - 1);
         const auto index = static_cast<std::size_t>(place);
         const double width = bar.width() / count;
         hover.mark = QRectF(bar.left() + static_cast<double>(index) * width - 1, bar.top() - 1, width + 2,
                             bar.height() + 2);
         hover.readOut = order.empty() ? tr("Layer %1: about %2 % of channels keep longer than %3")
                                             .arg(layerIdx)
                                             .arg(std::lround(100 * place / count))
                                             .arg(readableTokens(static_cast<double>(values[index])))
                                       : channelReadOut(*run, layerIdx, order[index], token);
         return hover;
       }});
}

DrawList GatesView::prepare(const ViewInput& input) {
  DrawList list;
  list.size = input.size;
  const std::int64_t token = shownToken(input.run, input.selection);
  const std::vector<int> layers = recurrentLayers(input.run.trace.config());
  QString problem = card::nothingYet(input);
  if (problem.isEmpty() && layers.empty()) problem = tr("This model has no recurrent layers, so no gates.");
  title(list, input, problem.isEmpty() ? token : -1);
  const bool full =
      std::any_of(layers.begin(), layers.end(), [&](int i) { return recordsFull(input.run, i); });
  if (problem.isEmpty() && !full && input.state.quantity != GateQuantity::halfLife)
    problem = tr("Single channels are recorded at trace level full; summary keeps their half-lives.");
  if (!problem.isEmpty()) {
    card::message(list, input, problem);
    return list;
  }
  const QRectF area = card::content(input).adjusted(kLabels, 0, 0, -32);
  const auto count = static_cast<double>(layers.size());
  const double pitch = std::min(22.0, (area.height() + 3) / count);
  const double gap = pitch >= 9 ? 3 : pitch >= 5 ? 1 : 0;
  const int every = static_cast<int>(std::ceil(14 / pitch));
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const QRectF bar(area.left(), area.top() + static_cast<double>(i) * pitch, area.width(), pitch - gap);
    row(list, input, bar, layers[i], token, kSlot + static_cast<std::uint32_t>(i),
        static_cast<int>(i) % every == 0);
  }
  const QRectF legend(area.left(), area.top() + count * pitch + 3, std::min(220.0, area.width() / 3), 6);
  const QString unit = input.state.quantity == GateQuantity::halfLife ? tr("tokens") : QString();
  card::colourBar(list, input, legend, gateColourMap(input.state.quantity), gateScale(input.state),
                  gateTicks(input.state), unit, kSlot - 1);
  list.readOutPlace =
      QRectF(legend.right() + 12, legend.bottom() + 1, area.right() - legend.right() - 12, 18);
  list.description = tr("%1 of every channel at token %2, one row a recurrent layer")
                         .arg(gateQuantityName(input.state.quantity))
                         .arg(token);
  return list;
}

}  // namespace eyrie::ui
