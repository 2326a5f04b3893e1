// Sums by position: whether a model, or the difference between two, gets better or worse along a text.
#pragma once

#include <cstdint>
#include <vector>

namespace eyrie::engine {

struct BucketSums {
  std::int64_t tokens = 0;
  double logprobSum = 0;  // natural log
  // Of a second model on the same tokens, where there is one.
  double otherLogprobSum = 0;
  double divergenceSum = 0;  // KL(first || second), nats
};

class PositionBuckets {
 public:
  // width 0: [1, 2), [2, 4), [4, 8) ...; else [0, width), [width, 2 width) ...
  explicit PositionBuckets(std::int64_t width) : width_(width) {}

  // The sums of the bucket that `position` (1 or more) lies in; valid until the next call.
  BucketSums& at(std::int64_t position);
  const std::vector<BucketSums>& all() const { return sums_; }
  std::int64_t from(std::size_t bucket) const;  // first position of the bucket; from(i + 1) is its end
  void restore(std::vector<BucketSums> sums) { sums_ = std::move(sums); }

 private:
  std::int64_t width_;
  std::vector<BucketSums> sums_;
};

}  // namespace eyrie::engine
