// The exact recurrent counterpart of an attention map: what of each past token is in a layer's state now.
// The recurrence is linear once its gates are known: h_t = Σ_s (∏_{u=s+1..t} a_u)·b_s, b the write. Shares
// are of magnitudes, so a complex a counts by |a|: turning changes no length.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "ui/inspect/views.h"

namespace eyrie::ui {

std::vector<float> stateShares(const InspectedRun& run, int layerIdx, std::int64_t token) {
  const engine::TraceColumn* decay = run.trace.layout().find(layerIdx, engine::Quantity::logDecay);
  if (!decay || token < 0) return {};
  std::vector<float> shares(static_cast<std::size_t>(token + 1), 0.0F);
  std::vector<double> logKept(static_cast<std::size_t>(decay->size), 0.0);
  // Once every channel has lost all but e^-30 of what was before, older tokens cannot be seen.
  constexpr double kForgotten = -30;
  double total = 0;
  for (std::int64_t s = token; s >= 0; --s) {
    const std::vector<float> written = channelValues(run, layerIdx, GateQuantity::write, s);
    const std::span<const float> decays = run.trace.values(*decay, s);
    if (written.empty() || decays.empty()) return {};
    double sum = 0;
    double longest = kForgotten;
    for (std::size_t r = 0; r < logKept.size(); ++r) {
      if (logKept[r] > kForgotten) sum += static_cast<double>(written[r]) * std::exp(logKept[r]);
      logKept[r] += static_cast<double>(decays[r]);
      longest = std::max(longest, logKept[r]);
    }
    shares[static_cast<std::size_t>(s)] = static_cast<float>(sum);
    total += sum;
    if (longest <= kForgotten) break;
  }
  if (total > 0)
    for (float& share : shares) share = static_cast<float>(static_cast<double>(share) / total);
  return shares;
}

void ShareView::bars(DrawList& list, const ViewInput& input, const QRectF& plot, std::int64_t token,
                     std::int64_t edge) const {
  const Theme& theme = input.theme;
  float most = 0;
  for (const float share : shares_) most = std::max(most, share);
  const double top = steppedTop(static_cast<double>(most));
  const double pixels = plot.width() / input.time.count;
  double lastX = plot.left() - 10;
  double tallest = 0;
  // Tokens narrower than a pixel share a bar, as tall as the largest.
  for (std::int64_t s = std::max<std::int64_t>(0, static_cast<std::int64_t>(input.time.first)); s <= token;
       ++s) {
    const double x = card::tokenX(input.time, plot, s) - pixels / 2;
    if (x > plot.right()) break;
    const double height = static_cast<double>(shares_[static_cast<std::size_t>(s)]) / top * plot.height();
    if (x - lastX < 1 && height <= tallest) continue;
    if (x - lastX >= 1) {
      lastX = x;
      tallest = 0;
    }
    tallest = std::max(tallest, height);
    const double width = std::max(1.0, pixels >= 3 ? pixels - 1 : pixels);
    list.rect(QRectF(lastX, plot.bottom() - std::max(height, 0.75), width, std::max(height, 0.75)),
              edge > 0 && s < edge ? theme.attention : theme.recurrence);
  }
  list.text({plot.left(), plot.top() + 2}, tr("%1 %").arg(readableTick(100 * top)), theme.dim);
}

// Below the bars: what only the recurrence can hold, and the selected token where there is room beside it.
void ShareView::legend(DrawList& list, const ViewInput& input, const QRectF& plot, std::int64_t token,
                       std::int64_t edge) const {
  const double y = plot.bottom() + 10;
  double taken = plot.left();
  if (edge > 0) {
    const double beyond = std::accumulate(shares_.begin(), shares_.begin() + edge, 0.0);
    const QString text = tr("beyond the window: %1 % held by recurrence alone").arg(readable(100 * beyond));
    list.text({plot.left(), y}, text, input.theme.attention);
    taken += textWidth(text, TextRole::secondary) + 12;
  }
  const QString here = tr("token %1").arg(readableCount(token));
  const double half = textWidth(here, TextRole::secondary) / 2;
  const double x = std::clamp(card::tokenX(input.time, plot, token), plot.left() + half, plot.right() - half);
  if (x - half > taken && card::tokenVisible(input.time, token))
    list.text({x, y}, here, input.theme.text, TextRole::secondary, TextAlign::centre);
}

Region ShareView::region(const ViewInput& input, const QRectF& plot, int layerIdx, std::int64_t token) const {
  Region region;
  region.rect = plot;
  region.timeAxis = true;
  region.at = [=, run = &input.run, time = input.time, shares = shares_](QPointF p) {
    Hover hover;
    const std::int64_t at = card::tokenAt(time, plot, p.x());
    if (at < 0 || at > token || at >= run->trace.size()) return hover;
    hover.token = at;
    hover.click = {ActionKind::selectToken, at};
    hover.readOut = tr("Token %1 “%2”: %3 % of layer %4's state, %5 back")
                        .arg(readableCount(at))
                        .arg(run->tokenText(at))
                        .arg(readable(100 * static_cast<double>(shares[static_cast<std::size_t>(at)])))
                        .arg(layerIdx)
                        .arg(readableCount(token - at));
    return hover;
  };
  return region;
}

// Computes the shares; else says why there are none.
QString ShareView::update(const ViewInput& input, int layerIdx, std::int64_t token) {
  if (QString nothing = card::nothingYet(input); !nothing.isEmpty()) return nothing;
  if (layerIdx < 0) return tr("This model has no recurrent layers, so no state to share.");
  shares_ = stateShares(input.run, layerIdx, token);
  if (!shares_.empty()) return {};
  return tr("Needs every channel of layer %1 from the first token on: trace level full.").arg(layerIdx);
}

DrawList ShareView::prepare(const ViewInput& input) {
  DrawList list;
  list.size = input.size;
  const int layerIdx = shownRecurrentLayer(input.run, input.selection);
  const std::int64_t token = shownToken(input.run, input.selection);
  const std::int64_t edge = windowEdge(input.run, token);
  const QString problem = update(input, layerIdx, token);
  const QString title = layerIdx < 0 ? tr("Share of each past token in the state")
                                     : tr("Share of each past token in the state of layer %1").arg(layerIdx);
  QString note;
  if (problem.isEmpty())
    note =
        edge > 0
            ? tr("exact, at token %1 · window edge at %2").arg(readableCount(token)).arg(readableCount(edge))
            : tr("exact, at token %1").arg(readableCount(token));
  card::header(list, input, 0, title, note);
  if (!problem.isEmpty()) {
    card::message(list, input, problem);
    return list;
  }
  const QRectF plot = card::content(input).adjusted(0, 0, 0, -card::kAxis + 6);
  list.horizontal(plot.bottom(), plot.left(), plot.right(), input.theme.line);
  bars(list, input, plot, token, edge);
  card::timeMarks(list, input, plot, edge, -1, input.theme.accent, input.theme.dim);
  legend(list, input, plot, token, edge);
  list.regions.push_back(region(input, plot, layerIdx, token));
  list.description =
      tr("Share of each past token in the state of layer %1 at token %2").arg(layerIdx).arg(token);
  return list;
}

}  // namespace eyrie::ui
