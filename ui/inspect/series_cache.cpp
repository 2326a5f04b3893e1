#include "ui/inspect/series_cache.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace eyrie::ui {
namespace {

// Frames may come later than records: the last tokens are read again every time.
constexpr std::size_t kTail = 256;

bool sameBits(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

}  // namespace

bool SeriesCache::continues(const InspectedRun& run, const std::vector<int>& layers) const {
  // A branch cuts the trace and grows it again: the token and value where the cache ends tell.
  if (run_ != &run || layers != layers_ || series_.empty()) return false;
  if (anchor_ == 0) return false;
  const auto place = static_cast<std::int64_t>(anchor_ - 1);
  if (place >= run.trace.size() || run.trace.token(place).token != anchorToken_) return false;
  const engine::TraceColumn* column = run.trace.layout().find(layers.front(), engine::Quantity::stateNorm);
  return column && sameBits(run.trace.value(*column, place), series_.front()[anchor_ - 1]);
}

const std::vector<std::vector<float>>& SeriesCache::update(const InspectedRun& run, engine::Quantity quantity,
                                                           const std::vector<int>& layers) {
  if (run_ == &run && revision_ == run.trace.revision() && layers == layers_) return series_;
  const auto size = static_cast<std::size_t>(run.trace.size());
  std::size_t from = 0;
  if (continues(run, layers)) {
    from = std::min(anchor_, size);
  } else {
    series_.assign(layers.size(), {});
    maximum_ = 0;
  }
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const engine::TraceColumn* column = run.trace.layout().find(layers[i], quantity);
    series_[i].resize(size);
    for (std::size_t t = from; t < size; ++t) {
      const float value = column ? run.trace.value(*column, static_cast<std::int64_t>(t)) : std::nanf("");
      series_[i][t] = value;
      if (value > maximum_) maximum_ = value;
    }
  }
  run_ = &run;
  layers_ = layers;
  revision_ = run.trace.revision();
  anchor_ = size > kTail ? size - kTail : 0;
  anchorToken_ = anchor_ > 0 ? run.trace.token(static_cast<std::int64_t>(anchor_ - 1)).token : -1;
  return series_;
}

std::vector<MinMax> decimate(std::span<const float> values, double first, double count, int pixels) {
  std::vector<MinMax> result;
  const auto size = static_cast<std::int64_t>(values.size());
  const std::int64_t begin = std::max<std::int64_t>(0, static_cast<std::int64_t>(first) - 1);
  const std::int64_t end = std::min(size, static_cast<std::int64_t>(std::ceil(first + count)) + 1);
  if (begin >= end || pixels < 1) return result;
  // Buckets are aligned to the token axis, so that they do not flicker while the view travels.
  const auto width = std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(count / pixels)));
  for (std::int64_t bucket = begin / width * width; bucket < end; bucket += width) {
    MinMax entry{static_cast<double>(bucket) + static_cast<double>(width) / 2, INFINITY, -INFINITY};
    for (std::int64_t t = std::max(bucket, begin); t < std::min(bucket + width, end); ++t) {
      const float value = values[static_cast<std::size_t>(t)];
      if (std::isnan(value)) continue;
      entry.low = std::min(entry.low, value);
      entry.high = std::max(entry.high, value);
    }
    if (entry.low > entry.high) entry.low = entry.high = std::nanf("");
    result.push_back(entry);
  }
  return result;
}

}  // namespace eyrie::ui
