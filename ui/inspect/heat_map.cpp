#include "ui/inspect/heat_map.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace eyrie::ui {
namespace {

// Frames may come a little later than records: columns this close to the end are drawn again.
constexpr std::int64_t kTail = 64;

bool sameScale(const Scale& a, const Scale& b) {
  return a.low == b.low && a.high == b.high && a.logarithmic == b.logarithmic;
}

}  // namespace

bool HeatMap::keeps(const InspectedRun& run, const HeatMapRequest& request, std::int64_t first,
                    std::int64_t perColumn, QSize size) const {
  if (run_ != &run || request.layerIdx != request_.layerIdx || request.quantity != request_.quantity ||
      request.sorted != request_.sorted || request.dark != request_.dark ||
      !sameScale(request.scale, request_.scale) || perColumn != perColumn_ || size != image_.size() ||
      first < first_ || drawnTo_ <= 0 || drawnTo_ > run.trace.size())
    return false;
  // A new branch: the last token drawn is another one now.
  const engine::TokenRecord& anchor = run.trace.token(drawnTo_ - 1);
  return anchor.token == anchorToken_ &&
         std::bit_cast<std::uint32_t>(anchor.logprob) == std::bit_cast<std::uint32_t>(anchorLogprob_);
}

std::int64_t HeatMap::framesMissing(const InspectedRun& run) const {
  std::int64_t missing = 0;
  for (std::int64_t token = first_; token < drawnTo_ - kTail; ++token) missing += !run.trace.hasFrame(token);
  return missing;
}

void HeatMap::reorder(const InspectedRun& run, const HeatMapRequest& request) {
  const std::vector<float> probe =
      channelValues(run, request.layerIdx, request.quantity, std::max<std::int64_t>(0, run.trace.size() - 1));
  const std::size_t channels =
      probe.empty() ? static_cast<std::size_t>(run.trace.config().channels()) : probe.size();
  order_.resize(channels);
  for (std::size_t i = 0; i < channels; ++i) order_[i] = static_cast<int>(i);
  if (request.sorted) {
    std::vector<int> sorted = meanHalfLifeOrder(run, request.layerIdx, run.trace.size());
    if (sorted.size() == channels) order_ = std::move(sorted);
  }
  orderedAt_ = run.trace.size();
}

void HeatMap::shift(std::int64_t columns) {
  const int width = image_.width();
  const auto by = static_cast<int>(std::min<std::int64_t>(columns, width));
  for (int y = 0; y < image_.height(); ++y) {
    uchar* line = image_.scanLine(y);
    std::memmove(line, line + 4 * by, 4 * static_cast<std::size_t>(width - by));
    std::memset(line + 4 * (width - by), 0, 4 * static_cast<std::size_t>(by));
  }
}

void HeatMap::drawColumn(const InspectedRun& run, int x) {
  const auto rows = static_cast<std::size_t>(image_.height());
  const std::size_t channels = order_.size();
  std::vector<float> largest(rows, std::nanf(""));
  const std::int64_t begin = first_ + x * perColumn_;
  const std::int64_t end = std::min(begin + perColumn_, run.trace.size());
  // Of very many tokens a column, sixteen speak: a frame must not cost more the farther the view is zoomed
  // out.
  constexpr std::int64_t kMostTokens = 16;
  const std::int64_t stride = std::max<std::int64_t>(1, perColumn_ / kMostTokens);
  for (std::int64_t token = begin; token < end; token += stride) {
    const std::vector<float> values = channelValues(run, request_.layerIdx, request_.quantity, token);
    if (values.size() != channels) continue;
    for (std::size_t place = 0; place < channels; ++place) {
      float& cell = largest[place * rows / channels];
      const float value = values[static_cast<std::size_t>(order_[place])];
      if (!(value <= cell)) cell = value;
    }
  }
  const ColourTable& table = colourTable(gateColourMap(request_.quantity), request_.dark);
  for (std::size_t y = 0; y < rows; ++y)
    image_.setPixel(
        x, static_cast<int>(y),
        sampleColour(table, static_cast<float>(request_.scale.unit(static_cast<double>(largest[y])))));
  ++columnsDrawn_;
}

const QImage& HeatMap::update(const InspectedRun& run, const HeatMapRequest& request) {
  const auto count = std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(request.time.count)) + 1);
  const std::int64_t perColumn =
      std::max<std::int64_t>(1, (count + request.width - 1) / std::max(1, request.width));
  const std::int64_t first = static_cast<std::int64_t>(request.time.first) / perColumn * perColumn;
  const auto columns = static_cast<int>((count + perColumn - 1) / perColumn);
  const std::int64_t channels = std::max<std::int64_t>(1, run.trace.config().channels());
  const QSize size(columns, static_cast<int>(std::min<std::int64_t>(channels, std::max(1, request.height))));
  // Sorting again at 16, 32, 64 … tokens: rows settle instead of dancing.
  // A text that is read again gets its frames long after its records.
  const bool framesCame = run_ == &run && drawnTo_ <= run.trace.size() && framesMissing(run) < framesMissing_;
  const bool orderStale =
      order_.empty() || framesCame || run.trace.size() < orderedAt_ ||
      (orderedAt_ < 1024 && run.trace.size() >= std::max<std::int64_t>(16, 2 * orderedAt_));
  const bool kept = keeps(run, request, first, perColumn, size) && !orderStale;
  std::int64_t from = first;
  if (kept) {
    shift((first - first_) / perColumn);
    from = std::max(first, drawnTo_ - kTail);
  } else {
    image_ = QImage(size, QImage::Format_RGBA8888);
    image_.fill(Qt::transparent);
  }
  const bool sameOrder = kept || (run_ == &run && request.layerIdx == request_.layerIdx &&
                                  request.sorted == request_.sorted && !orderStale);
  if (!sameOrder) reorder(run, request);
  run_ = &run;
  request_ = request;
  first_ = first;
  perColumn_ = perColumn;
  const std::int64_t end = std::min(run.trace.size(), first + columns * perColumn);
  for (auto x = static_cast<int>((from - first) / perColumn); first + x * perColumn < end; ++x)
    drawColumn(run, x);
  drawnTo_ = end;
  framesMissing_ = framesMissing(run);
  if (end > 0) {
    anchorToken_ = run.trace.token(end - 1).token;
    anchorLogprob_ = run.trace.token(end - 1).logprob;
  }
  return image_;
}

}  // namespace eyrie::ui
