// Moves a large model's matrices from the mapped file into huge pages while the first tokens are computed:
// streaming through them is then a tenth faster or more. Layer by layer, so that the file's pages can go as
// the others come; from the last to the first, so that the layer loop, which goes the other way, does not
// fetch back what was just let go. Memory so never holds both.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "engine/weights.h"

namespace eyrie::engine {

class WeightMover {
 public:
  // Starts a thread of its own, where the matrices have at least `worthwhile` bytes, none was converted, and
  // the machine has memory for a copy (the file's pages can be dropped). Else all stays where it is.
  WeightMover(std::shared_ptr<const Weights> weights, std::uint64_t worthwhile);
  // Stops the thread within one matrix.
  ~WeightMover() = default;
  WeightMover(const WeightMover&) = delete;
  WeightMover& operator=(const WeightMover&) = delete;

  // Where the layer and the head lie now; values never change. Both places stay readable.
  const LayerWeights& layer(std::size_t layerIdx) const {
    return layerIdx < unmoved_.load(std::memory_order_acquire) ? weights_->layers[layerIdx]
                                                               : moved_->layers[layerIdx];
  }
  const kernels::MatrixView& head() const {
    const bool moved = unmoved_.load(std::memory_order_acquire) <= weights_->layers.size();
    return moved ? moved_->head : weights_->head;
  }
  // Until there is nothing left to do.
  void wait();

 private:
  void run(const std::stop_token& stop);
  void letGo(std::size_t layerIdx) const;  // its pages of the file

  std::shared_ptr<const Weights> weights_;
  std::shared_ptr<Weights> moved_;    // what of it is ready, `unmoved_` says
  std::atomic<std::size_t> unmoved_;  // layers still in the file; one more than all: the head as well
  std::jthread thread_;               // last: joined before the others go
};

}  // namespace eyrie::engine
