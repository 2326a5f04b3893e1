// Moves a large model's matrices from the mapped file into huge pages while the first tokens are computed
// from the file: streaming through them is then a tenth faster or more.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>

#include "engine/weights.h"

namespace eyrie::engine {

class WeightMover {
 public:
  // Starts a thread of its own, where the matrices have at least `worthwhile` bytes, none was converted, and
  // the machine has memory for a copy (the file's pages can be dropped). Else there is nothing to take.
  WeightMover(std::shared_ptr<const Weights> weights, std::uint64_t worthwhile);
  // Stops the thread within one matrix.
  ~WeightMover() = default;
  WeightMover(const WeightMover&) = delete;
  WeightMover& operator=(const WeightMover&) = delete;

  // The same weights in huge pages, once, when they are ready; null before and after.
  std::shared_ptr<const Weights> take();
  // Until there is nothing left to do.
  void wait();

 private:
  std::mutex mutex_;
  std::shared_ptr<const Weights> moved_;
  std::jthread thread_;  // last: joined before the others go
};

}  // namespace eyrie::engine
