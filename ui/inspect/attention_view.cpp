// One attention layer at one token: a row a head, a cell a key, oldest left.
#include <algorithm>
#include <cmath>

#include "ui/inspect/views.h"

namespace eyrie::ui {
namespace {

constexpr std::uint32_t kSlot = 300;
constexpr double kLabels = 50;

// Most weights are small: the cube root lets a hundredth be seen beside a half. The legend says so.
float shade(float weight) {
  return std::cbrt(std::max(0.0F, weight));
}

}  // namespace

void AttentionView::weights(DrawList& list, const ViewInput& input, const QRectF& area, int layerIdx,
                            std::int64_t token, std::span<const float> values) const {
  const Theme& theme = input.theme;
  const std::int64_t heads = std::max<std::int64_t>(1, input.run.trace.config().H);
  const auto span = static_cast<std::int64_t>(values.size()) / heads;
  const std::int64_t visible = std::min(span, token + 1);
  const ColourTable& table = colourTable(ColourMap::weights, theme.dark);
  const double pitch = std::min(40.0, area.height() / static_cast<double>(heads));
  const double gap = pitch >= 14 ? 5 : 1;
  const int every = static_cast<int>(std::ceil(13 / pitch));
  const double cell = area.width() / static_cast<double>(span);
  for (std::int64_t head = 0; head < heads; ++head) {
    const QRectF bar(area.left(), area.top() + static_cast<double>(head) * pitch, area.width(), pitch - gap);
    QImage image(static_cast<int>(span), 1, QImage::Format_RGBA8888);
    for (std::int64_t key = 0; key < span; ++key)
      image.setPixel(static_cast<int>(key), 0,
                     key < span - visible
                         ? theme.window.rgb()
                         : sampleColour(table, shade(values[static_cast<std::size_t>(head * span + key)])));
    list.image(bar, image, kSlot + static_cast<std::uint32_t>(head));
    list.frame(bar, theme.line);
    if (head % every == 0) list.text({card::kPad, bar.center().y()}, tr("Head %1").arg(head), theme.dim);
  }
  const QRectF rows(area.left(), area.top(), area.width(), static_cast<double>(heads) * pitch - gap);
  const std::vector<float> copy(values.begin(), values.end());
  const InspectedRun* run = &input.run;
  list.regions.push_back(
      {rows, [=](QPointF p) {
         Hover hover;
         const auto head =
             std::clamp<std::int64_t>(static_cast<std::int64_t>((p.y() - rows.top()) / pitch), 0, heads - 1);
         const auto key =
             std::clamp<std::int64_t>(static_cast<std::int64_t>((p.x() - rows.left()) / cell), 0, span - 1);
         const std::int64_t back = span - 1 - key;
         if (back > token) {
           hover.readOut = tr("Before the first token");
           return hover;
         }
         hover.token = token - back;
         hover.click = {ActionKind::selectToken, token - back};
         hover.mark = QRectF(rows.left() + static_cast<double>(key) * cell - 1,
                             rows.top() + static_cast<double>(head) * pitch - 1, cell + 2, pitch - gap + 2);
         hover.readOut =
             tr("Layer %1, head %2 looks %3 back at token %4 “%5”: weight %6")
                 .arg(layerIdx)
                 .arg(head)
                 .arg(readableCount(back))
                 .arg(readableCount(token - back))
                 .arg(run->tokenText(token - back),
                      readable(static_cast<double>(copy[static_cast<std::size_t>(head * span + key)])));
         return hover;
       }});
  if (input.selection.hovered() >= 0 && token - input.selection.hovered() >= 0 &&
      token - input.selection.hovered() < span)
    list.vertical(rows.right() - (static_cast<double>(token - input.selection.hovered()) + 0.5) * cell,
                  rows.top(), rows.bottom(), theme.accent);
  labels(list, input, rows, layerIdx, span);
}

void AttentionView::labels(DrawList& list, const ViewInput& input, const QRectF& rows, int layerIdx,
                           std::int64_t span) const {
  const Theme& theme = input.theme;
  const double middle = rows.bottom() + 12;
  const bool edge = input.run.trace.config().blocks[static_cast<std::size_t>(layerIdx)] ==
                    engine::BlockKind::localAttention;
  if (edge) list.vertical(rows.left(), rows.top() - 3, rows.bottom() + 4, theme.dim, 1, true);
  const QString oldest = readableCount(span - 1);
  list.text({rows.left(), middle}, edge ? tr("%1 back (edge)").arg(oldest) : tr("%1 back").arg(oldest),
            theme.dim);
  list.text({rows.center().x(), middle}, readableCount((span - 1) / 2), theme.dim, TextRole::secondary,
            TextAlign::centre);
  list.text({rows.right(), middle}, tr("this token"), theme.dim, TextRole::secondary, TextAlign::right);
  const QRectF bar(rows.left(), middle + 13, 120, 5);
  const ColourTable& table = colourTable(ColourMap::weights, theme.dark);
  QImage legend(256, 1, QImage::Format_RGBA8888);
  for (int i = 0; i < 256; ++i) legend.setPixel(i, 0, table[static_cast<std::size_t>(i)]);
  list.image(bar, legend, kSlot - 1);
  list.frame(bar, theme.line);
  for (const double weight : {0.0, 0.1, 1.0}) {
    const double half = textWidth(readableTick(weight), TextRole::secondary) / 2;
    const double x = bar.left() + static_cast<double>(shade(static_cast<float>(weight))) * bar.width();
    list.text({std::clamp(x, bar.left() + half, bar.right() - half), bar.bottom() + 10}, readableTick(weight),
              theme.dim, TextRole::secondary, TextAlign::centre);
  }
  list.text({bar.right() + metrics::kGroup, bar.center().y()}, tr("weight"), theme.dim);
}

void AttentionView::summary(DrawList& list, const ViewInput& input, const QRectF& area, int layerIdx,
                            std::int64_t token) const {
  const Theme& theme = input.theme;
  const engine::FrameLayout& layout = input.run.trace.layout();
  const engine::TraceColumn* entropy = layout.find(layerIdx, engine::Quantity::attentionEntropy);
  const engine::TraceColumn* first = layout.find(layerIdx, engine::Quantity::attentionFirst);
  if (!entropy || !first) return;
  const std::int64_t heads = entropy->size;
  const double pitch = std::min(40.0, area.height() / static_cast<double>(heads));
  // Entropy in nats as the number of keys it is worth, against the window.
  const auto keys = static_cast<double>(std::max<std::int64_t>(2, input.run.trace.config().W + 1));
  for (std::int64_t head = 0; head < heads; ++head) {
    const double y = area.top() + (static_cast<double>(head) + 0.5) * pitch;
    const double nats = static_cast<double>(input.run.trace.value(*entropy, token, head));
    const double mass = static_cast<double>(input.run.trace.value(*first, token, head));
    list.text({card::kPad, y}, tr("Head %1").arg(head), theme.dim);
    const QRectF track(area.left(), y - 3, area.width() - 190, 6);
    list.rect(track, theme.line, 3);
    if (nats > 0)
      list.rect(QRectF(track.left(), track.top(), track.width() * std::min(1.0, nats / std::log(keys)), 6),
                theme.attention, 3);
    list.text({area.right(), y},
              tr("%1 keys wide · first token %2").arg(readable(std::exp(nats)), readable(mass)), theme.dim,
              TextRole::secondary, TextAlign::right);
  }
  list.text({area.left(), area.bottom() + 12},
            tr("Width from the entropy. Single weights: trace level full."), theme.dim);
}

DrawList AttentionView::prepare(const ViewInput& input) {
  DrawList list;
  list.size = input.size;
  const engine::ModelConfig& config = input.run.trace.config();
  const std::vector<int> layers = attentionLayers(config);
  const int layerIdx = shownAttentionLayer(input.run, input.selection);
  QString problem = card::nothingYet(input);
  if (problem.isEmpty() && layers.empty())
    problem = tr("Hawk has no attention layers, so this panel stays empty.");
  const bool local =
      layerIdx >= 0 && config.blocks[static_cast<std::size_t>(layerIdx)] == engine::BlockKind::localAttention;
  const QString title = layerIdx < 0 ? tr("Local attention")
                        : local      ? tr("Layer %1 local attention").arg(layerIdx)
                                     : tr("Layer %1 global attention").arg(layerIdx);
  const QString note =
      layerIdx < 0 ? QString()
      : local ? tr("%n heads · window %1", nullptr, static_cast<int>(config.H)).arg(readableCount(config.W))
              : tr("%n heads · every token", nullptr, static_cast<int>(config.H));
  const double end = card::header(list, input, 'A', title, note);
  card::layerSteps(list, input, end + metrics::kStep, layers, layerIdx, ActionKind::selectAttentionLayer);
  if (!problem.isEmpty()) {
    card::message(list, input, problem);
    return list;
  }
  const std::int64_t token = shownToken(input.run, input.selection);
  const QRectF area = card::content(input).adjusted(kLabels, 0, 0, -38);
  const engine::TraceColumn* column = input.run.trace.layout().find(layerIdx, engine::Quantity::attention);
  const std::span<const float> values =
      column ? input.run.trace.values(*column, token) : std::span<const float>();
  if (values.empty() && !(input.run.trace.hasFrame(token))) {
    card::message(list, input, tr("Token %1 was not recorded.").arg(readableCount(token)));
    return list;
  }
  if (values.empty()) {
    summary(list, input, area, layerIdx, token);
  } else {
    weights(list, input, area, layerIdx, token, values);
  }
  list.description = tr("Attention of layer %1 at token %2, one row a head").arg(layerIdx).arg(token);
  return list;
}

}  // namespace eyrie::ui
