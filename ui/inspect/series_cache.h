// One number a token and layer, kept contiguous while the trace grows, so that drawing 100,000 tokens does
// not walk the trace's chunks every frame.
#pragma once

#include <span>
#include <vector>

#include "ui/inspect/inspected_run.h"

namespace eyrie::ui {

class SeriesCache {
 public:
  // The series of `quantity` (a scalar) for `layers`; NaN where there is no frame. Valid until the next call.
  const std::vector<std::vector<float>>& update(const InspectedRun& run, engine::Quantity quantity,
                                                const std::vector<int>& layers);
  float maximum() const { return maximum_; }  // over everything seen since the trace began

 private:
  bool continues(const InspectedRun& run, const std::vector<int>& layers) const;

  std::vector<std::vector<float>> series_;
  std::vector<int> layers_;
  std::uint64_t revision_ = 0;
  const InspectedRun* run_ = nullptr;
  std::int32_t anchorToken_ = -1;
  std::size_t anchor_ = 0;
  float maximum_ = 0;
};

// Least and largest of each pixel's values as points of a line, at most two a pixel; values themselves where
// there is room. `first` and `count` in tokens.
struct MinMax {
  double token = 0;
  float low = 0;
  float high = 0;
};
std::vector<MinMax> decimate(std::span<const float> values, double first, double count, int pixels);

}  // namespace eyrie::ui
