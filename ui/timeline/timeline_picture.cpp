// What the timeline shows, as a value.
#include <QCoreApplication>
#include <algorithm>
#include <cmath>
#include <numbers>

#include "ui/inspect/run_data.h"
#include "ui/inspect/view.h"
#include "ui/timeline/timeline_widget.h"

namespace eyrie::ui {
namespace {

constexpr double kTop = 25;     // bars begin under the title
constexpr double kBottom = 20;  // labels under the bars
constexpr double kSide = 12;

QString translated(const char* text) {
  return QCoreApplication::translate("eyrie::ui::Timeline", text);
}

QString unitOf(TimelineQuantity quantity) {
  switch (quantity) {
    case TimelineQuantity::surprisal:
      return translated("bits per token");
    case TimelineQuantity::entropy:
      return translated("bits");
    case TimelineQuantity::stateNorm:
      return translated("norm of h, chosen layer");
    case TimelineQuantity::milliseconds:
      return translated("ms per token");
  }
  return {};
}

void windowBand(DrawList& list, const TimelineInput& input, const QRectF& plot, std::int64_t token) {
  const std::int64_t edge = windowEdge(input.run, token);
  if (edge < 0) return;
  const double width = plot.width() / input.time.count;
  const double left = std::max(plot.left(), card::tokenX(input.time, plot, edge) - width / 2);
  const double right = std::min(plot.right(), card::tokenX(input.time, plot, token) + width / 2);
  if (right <= left) return;
  list.rect(QRectF(left, plot.top(), right - left, plot.height()), input.theme.accentGround);
  const QString text = translated("local window of token %1").arg(readableCount(token));
  if (textWidth(text, TextRole::secondary) + 12 < right - left)
    list.text({left + 5, plot.top() + 7}, text, input.theme.accent);
}

// Bars narrower than a pixel merge into the tallest of their pixel: a peak is never averaged away.
void bars(DrawList& list, const TimelineInput& input, const QRectF& plot, std::int64_t token) {
  const double pitch = plot.width() / input.time.count;
  const auto perBar = std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(1.5 / pitch)));
  const std::int64_t begin =
      std::max<std::int64_t>(0, static_cast<std::int64_t>(input.time.first) / perBar * perBar);
  const std::int64_t end = std::min(
      input.run.trace.size(), static_cast<std::int64_t>(std::ceil(input.time.first + input.time.count)));
  const QColor& own = input.theme.model(input.run.isHawk);
  for (std::int64_t bar = begin; bar < end; bar += perBar) {
    double value = std::nan("");
    bool generated = false;
    bool chosen = false;
    for (std::int64_t t = bar; t < std::min(bar + perBar, end); ++t) {
      const double v = timelineValue(input.run, input.selection, input.quantity, t);
      if (!(v <= value)) value = v;
      generated = generated || input.run.trace.token(t).generated;
      chosen = chosen || t == token;
    }
    if (std::isnan(value)) continue;
    const double x = card::tokenX(input.time, plot, bar) - pitch / 2;
    const double barPitch = pitch * static_cast<double>(perBar);
    if (x < plot.left() - 0.5 || x + barPitch > plot.right() + barPitch) continue;
    const double height = std::max(1.0, std::clamp(value / input.top, 0.0, 1.0) * (plot.height() - 2));
    const double width = barPitch >= 4 ? barPitch - 1.2 : std::max(1.0, barPitch - 0.3);
    QColor colour = generated ? own : input.theme.contextBar;
    if (chosen && input.selection.token() >= 0) colour = input.theme.accent;
    list.rect(QRectF(x + (barPitch - width) / 2, plot.bottom() - height, width, height), colour);
  }
}

// Who speaks where: a word under the first bar of every turn that is long enough for it.
void speakers(DrawList& list, const TimelineInput& input, const QRectF& plot) {
  const std::int64_t begin = std::max<std::int64_t>(0, static_cast<std::int64_t>(input.time.first));
  const std::int64_t end = std::min(
      input.run.trace.size(), static_cast<std::int64_t>(std::ceil(input.time.first + input.time.count)));
  double free = plot.left() - 1;
  for (std::int64_t t = begin; t < end; ++t) {
    const bool generated = input.run.trace.token(t).generated;
    if (t > begin && generated == input.run.trace.token(t - 1).generated) continue;
    const QString text =
        generated ? (input.run.isHawk ? translated("Hawk") : translated("Griffin")) : translated("You");
    const double x =
        std::max(plot.left(), card::tokenX(input.time, plot, t) - plot.width() / input.time.count / 2);
    const double width = textWidth(text, TextRole::secondary);
    if (t > begin) list.vertical(x, plot.top(), plot.bottom(), input.theme.line);
    if (x < free || x + width > plot.right()) continue;
    list.text({x + 2, plot.bottom() + 10}, text, input.theme.dim);
    free = x + width + 16;
  }
}

}  // namespace

QString timelineQuantityName(TimelineQuantity quantity) {
  switch (quantity) {
    case TimelineQuantity::surprisal:
      return translated("surprisal");
    case TimelineQuantity::entropy:
      return translated("entropy of the prediction");
    case TimelineQuantity::stateNorm:
      return translated("state norm");
    case TimelineQuantity::milliseconds:
      return translated("time");
  }
  return {};
}

double timelineValue(const InspectedRun& run, const Selection& selection, TimelineQuantity quantity,
                     std::int64_t token) {
  if (token < 0 || token >= run.trace.size()) return std::nan("");
  const engine::TokenRecord& record = run.trace.token(token);
  switch (quantity) {
    case TimelineQuantity::surprisal:
      return -static_cast<double>(record.logprob) / std::numbers::ln2;
    case TimelineQuantity::entropy:
      return static_cast<double>(record.entropy) / std::numbers::ln2;
    case TimelineQuantity::stateNorm: {
      const engine::TraceColumn* column =
          run.trace.layout().find(shownRecurrentLayer(run, selection), engine::Quantity::stateNorm);
      return column ? static_cast<double>(run.trace.value(*column, token)) : std::nan("");
    }
    case TimelineQuantity::milliseconds:
      return static_cast<double>(record.milliseconds);
  }
  return std::nan("");
}

QString timelineReadOut(const InspectedRun& run, const Selection& selection, std::int64_t token) {
  if (token < 0 || token >= run.trace.size()) return {};
  const engine::TokenRecord& record = run.trace.token(token);
  QString text = translated("Token %1 “%2”").arg(readableCount(token)).arg(run.tokenText(token));
  const double surprisal = timelineValue(run, selection, TimelineQuantity::surprisal, token);
  if (!std::isnan(surprisal))
    text += translated(", %1 bits, p %2")
                .arg(readable(surprisal), readable(std::exp(static_cast<double>(record.logprob))));
  if (record.rank >= 0) text += translated(", rank %1").arg(readableCount(record.rank + 1));
  const double entropy = timelineValue(run, selection, TimelineQuantity::entropy, token);
  if (!std::isnan(entropy)) text += translated(", entropy %1 bits").arg(readable(entropy));
  if (record.milliseconds > 0)
    text += translated(", %1 ms").arg(readable(static_cast<double>(record.milliseconds)));
  return text;
}

DrawList prepareTimeline(const TimelineInput& input) {
  DrawList list;
  list.size = input.size;
  const Theme& theme = input.theme;
  const QRectF plot(kSide, kTop, input.size.width() - 2 * kSide, input.size.height() - kTop - kBottom);
  const QString title = translated("Timeline · %1").arg(timelineQuantityName(input.quantity));
  list.text({kSide, 14}, title, theme.dim, TextRole::secondaryTitle);
  if (input.interactive) {
    const double end = kSide + textWidth(title, TextRole::secondaryTitle) + 8;
    list.polyline({{end, 12.5}, {end + 3.5, 16}, {end + 7, 12.5}}, theme.dim, 1.3);
    list.regions.push_back(
        {QRectF(kSide - 4, 4, end + 4, 20), [=](QPointF) {
           return Hover{translated("Click: choose what the bars show"), -1, {ActionKind::setQuantity, 0}, {}};
         }});
  }
  if (input.run.trace.size() == 0) {
    list.text(plot.center(), translated("One bar a token will stand here: send a message, or read a text."),
              theme.dim, TextRole::body, TextAlign::centre);
    return list;
  }
  list.text({input.size.width() - kSide, 14},
            translated("%1 · full bar %2").arg(unitOf(input.quantity), readableTick(input.top)), theme.dim,
            TextRole::secondary, TextAlign::right);
  const std::int64_t token = shownToken(input.run, input.selection);
  if (input.selection.token() >= 0) windowBand(list, input, plot, token);
  list.horizontal(plot.bottom(), plot.left(), plot.right(), theme.line);
  bars(list, input, plot, token);
  speakers(list, input, plot);
  if (input.selection.token() >= 0 && card::tokenVisible(input.time, token))
    list.vertical(card::tokenX(input.time, plot, token), plot.top(), plot.bottom(), theme.accent, 1);
  const std::int64_t hovered = input.selection.hovered();
  if (input.interactive && hovered >= 0 && card::tokenVisible(input.time, hovered))
    list.vertical(card::tokenX(input.time, plot, hovered), plot.top(), plot.bottom() + 3, theme.faint);
  const InspectedRun* run = &input.run;
  const Selection* selection = &input.selection;
  const TimeSpan time = input.time;
  Region region;
  region.rect = plot.adjusted(0, 0, 0, kBottom);
  region.timeAxis = region.drags = true;
  region.at = [=](QPointF p) {
    const std::int64_t at = card::tokenAt(time, plot, p.x());
    if (at < 0 || at >= run->trace.size()) return Hover{};
    return Hover{timelineReadOut(*run, *selection, at), at, {ActionKind::selectToken, at}, {}};
  };
  list.regions.push_back(std::move(region));
  list.description =
      translated("%1 of %2 tokens").arg(timelineQuantityName(input.quantity)).arg(run->trace.size());
  return list;
}

}  // namespace eyrie::ui
