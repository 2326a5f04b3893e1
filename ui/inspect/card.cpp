#include <QCoreApplication>
#include <algorithm>
#include <cmath>

#include "ui/inspect/view.h"

namespace eyrie::ui::card {
namespace {

struct Label {
  double x;
  QString text;
  QColor colour;
};

void placeLabels(DrawList& list, const QRectF& plot, const std::vector<Label>& labels) {
  constexpr double kGap = 8;
  std::vector<std::pair<double, double>> taken;
  for (const Label& label : labels) {
    const double width = textWidth(label.text, TextRole::secondary);
    const double left =
        std::clamp(label.x - width / 2, plot.left(), std::max(plot.left(), plot.right() - width));
    const bool clear = std::none_of(taken.begin(), taken.end(), [&](const auto& other) {
      return left < other.second + kGap && left + width + kGap > other.first;
    });
    if (!clear) continue;
    taken.emplace_back(left, left + width);
    list.text({left, plot.bottom() + kAxis / 2 + 1}, label.text, label.colour);
  }
}

}  // namespace

QRectF content(const ViewInput& input) {
  return QRectF(kPad, kHeader, input.size.width() - 2 * kPad, input.size.height() - kHeader - kPad);
}

double header(DrawList& list, const ViewInput& input, char badge, const QString& title, const QString& note) {
  const Theme& theme = input.theme;
  double x = kPad;
  if (badge != 0) {
    constexpr double kSide = 15;
    const QRectF square(x, kTitleMiddle - kSide / 2, kSide, kSide);
    list.rect(square, badge == 'R' ? theme.recurrence : theme.attention, 4);
    list.text(square.center(), QString(QLatin1Char(badge)), theme.panel, TextRole::secondaryTitle,
              TextAlign::centre);
    x += kSide + metrics::kGroup;
  }
  list.text({x, kTitleMiddle}, title, theme.text, TextRole::title);
  x += textWidth(title, TextRole::title);
  const double room = input.size.width() - kPad - x - 60;
  if (textWidth(note, TextRole::secondary) <= room)
    list.text({input.size.width() - kPad, kTitleMiddle}, note, theme.dim, TextRole::secondary,
              TextAlign::right);
  return x;
}

double chip(DrawList& list, const ViewInput& input, double left, const QString& text, bool on, Action action,
            const QString& help) {
  const Theme& theme = input.theme;
  const QRectF box(left, kTitleMiddle - 9, std::round(textWidth(text, TextRole::secondary)) + 14, 18);
  list.rect(box, on ? theme.accentGround : theme.panel, 5, on ? theme.accent : theme.line);
  list.text(box.center(), text, on ? theme.accent : theme.dim, TextRole::secondary, TextAlign::centre);
  list.regions.push_back({box, [=](QPointF) { return Hover{help, -1, action, box}; }});
  return box.right();
}

void layerSteps(DrawList& list, const ViewInput& input, double left, const std::vector<int>& layers,
                int layerIdx, ActionKind action) {
  if (!input.interactive || layers.size() < 2) return;
  const Theme& theme = input.theme;
  for (const int step : {-1, 1}) {
    const int target = neighbourLayer(layers, layerIdx, step);
    const QRectF box(left, kTitleMiddle - 9, 18, 18);
    const bool possible = target != layerIdx;
    const QPointF middle = box.center();
    const double side = step < 0 ? 1.5 : -1.5;
    list.polyline({middle + QPointF(side, -3.5), middle + QPointF(-side, 0), middle + QPointF(side, 3.5)},
                  possible ? theme.dim : theme.line, 1.5);
    const QString help =
        possible ? QCoreApplication::translate("eyrie::ui::card", "Show layer %1").arg(target)
                 : QCoreApplication::translate("eyrie::ui::card", "No further layer of this kind");
    const Action click = possible ? Action{action, target} : Action{};
    list.regions.push_back({box, [=](QPointF) { return Hover{help, -1, click, box}; }});
    left += 18;
  }
}

void message(DrawList& list, const ViewInput& input, const QString& text) {
  const QRectF area = content(input);
  const double widest = std::min(area.width() - 16, 420.0);
  // Lines of about equal length: no single word is left alone.
  const double whole = textWidth(text, TextRole::body);
  const double most = std::min(widest, whole / std::ceil(whole / widest) * 1.12);
  QStringList lines;
  QString line;
  for (const QString& word : text.split(QLatin1Char(' '))) {
    const QString longer = line.isEmpty() ? word : line + QLatin1Char(' ') + word;
    if (!line.isEmpty() && textWidth(longer, TextRole::body) > most) {
      lines << line;
      line = word;
    } else {
      line = longer;
    }
  }
  lines << line;
  constexpr double kLine = 20;
  double y = area.center().y() - kLine * static_cast<double>(lines.size() - 1) / 2 - 6;
  for (const QString& part : lines) {
    list.text({area.center().x(), y}, part, input.theme.dim, TextRole::body, TextAlign::centre);
    y += kLine;
  }
  list.description = text;
}

QString nothingYet(const ViewInput& input) {
  if (!input.run.model && input.run.trace.config().blocks.empty())
    return QCoreApplication::translate("eyrie::ui::card",
                                       "No model open. Drop a folder here, or press Ctrl+O.");
  if (input.run.trace.size() == 0)
    return QCoreApplication::translate("eyrie::ui::card",
                                       "Nothing recorded yet. Send a message, or read a text.");
  if (input.run.trace.layout().columns().empty())
    return QCoreApplication::translate("eyrie::ui::card",
                                       "The trace is off. Choose the trace level summary or full.");
  return {};
}

double tokenX(const TimeSpan& time, const QRectF& plot, std::int64_t token) {
  return plot.left() + (static_cast<double>(token) + 0.5 - time.first) / time.count * plot.width();
}

std::int64_t tokenAt(const TimeSpan& time, const QRectF& plot, double x) {
  return static_cast<std::int64_t>(std::floor(time.first + (x - plot.left()) / plot.width() * time.count));
}

bool tokenVisible(const TimeSpan& time, std::int64_t token) {
  const auto place = static_cast<double>(token);
  return place + 0.5 >= time.first && place + 0.5 <= time.first + time.count;
}

void timeLabels(DrawList& list, const ViewInput& input, const QRectF& plot, std::int64_t edge,
                std::int64_t token) {
  const Theme& theme = input.theme;
  const auto last = std::min<std::int64_t>(
      input.run.trace.size() - 1, static_cast<std::int64_t>(input.time.first + input.time.count) - 1);
  std::vector<Label> labels;
  if (tokenVisible(input.time, token))
    labels.push_back({tokenX(input.time, plot, token),
                      QCoreApplication::translate("eyrie::ui::card", "token %1").arg(readableCount(token)),
                      theme.text});
  const auto first = static_cast<std::int64_t>(std::ceil(input.time.first));
  labels.push_back({tokenX(input.time, plot, first), readableCount(first), theme.dim});
  labels.push_back({tokenX(input.time, plot, last), readableCount(last), theme.dim});
  if (edge > 0 && tokenVisible(input.time, edge))
    labels.push_back(
        {tokenX(input.time, plot, edge),
         QCoreApplication::translate("eyrie::ui::card", "window edge %1").arg(readableCount(edge)),
         theme.dim});
  placeLabels(list, plot, labels);
}

void timeMarks(DrawList& list, const ViewInput& input, const QRectF& plot, std::int64_t edge,
               std::int64_t token, const QColor& selected, const QColor& dashed) {
  if (edge > 0 && tokenVisible(input.time, edge))
    list.vertical(tokenX(input.time, plot, edge), plot.top(), plot.bottom(), dashed, 1, true);
  if (tokenVisible(input.time, token))
    list.vertical(tokenX(input.time, plot, token), plot.top(), plot.bottom(), selected, 1);
}

void tickLabels(DrawList& list, const ViewInput& input, const QRectF& bar, double y, const Scale& scale,
                const std::vector<double>& ticks) {
  std::vector<std::pair<double, double>> taken;
  std::vector<double> order = ticks;
  if (order.size() > 2) std::rotate(order.begin() + 1, order.end() - 1, order.end());
  for (const double tick : order) {
    const QString text = readableTick(tick);
    const double half = textWidth(text, TextRole::secondary) / 2;
    const double x =
        std::clamp(bar.left() + scale.unit(tick) * bar.width(), bar.left() + half, bar.right() - half);
    const bool clear = std::none_of(taken.begin(), taken.end(), [&](const auto& other) {
      return x - half < other.second + 6 && x + half + 6 > other.first;
    });
    if (!clear) continue;
    taken.emplace_back(x - half, x + half);
    list.text({x, y}, text, input.theme.dim, TextRole::secondary, TextAlign::centre);
  }
}

void colourBar(DrawList& list, const ViewInput& input, const QRectF& bar, ColourMap map, const Scale& scale,
               const std::vector<double>& ticks, const QString& unit, std::uint32_t slot) {
  const ColourTable& table = colourTable(map, input.theme.dark);
  QImage image(256, 1, QImage::Format_RGBA8888);
  for (int i = 0; i < 256; ++i) image.setPixel(i, 0, table[static_cast<std::size_t>(i)]);
  list.image(bar, image, slot);
  list.frame(bar, input.theme.line);
  tickLabels(list, input, bar, bar.bottom() + 10, scale, ticks);
  list.text({bar.right() + metrics::kGroup, bar.center().y()}, unit, input.theme.dim);
}

}  // namespace eyrie::ui::card
