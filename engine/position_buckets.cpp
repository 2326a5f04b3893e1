#include "engine/position_buckets.h"

#include <bit>

namespace eyrie::engine {

BucketSums& PositionBuckets::at(std::int64_t position) {
  const auto place = static_cast<std::uint64_t>(position);
  const std::size_t bucket = width_ > 0 ? static_cast<std::size_t>(position / width_)
                                        : static_cast<std::size_t>(std::bit_width(place)) - 1;
  if (bucket >= sums_.size()) sums_.resize(bucket + 1);
  return sums_[bucket];
}

std::int64_t PositionBuckets::from(std::size_t bucket) const {
  return width_ > 0 ? static_cast<std::int64_t>(bucket) * width_ : std::int64_t{1} << bucket;
}

}  // namespace eyrie::engine
