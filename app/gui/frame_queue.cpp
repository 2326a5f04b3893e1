#include "app/gui/frame_queue.h"

namespace eyrie::app {

namespace {
constexpr std::size_t kMost = 256;  // some megabytes of a small model's frames
}

std::vector<engine::TraceFrame> FrameQueue::take() {
  std::vector<engine::TraceFrame> frames;
  const std::lock_guard lock(mutex_);
  frames.swap(frames_);
  taken_.notify_all();
  return frames;
}

void FrameQueue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  frames_.clear();
  taken_.notify_all();
}

void FrameQueue::frame(const engine::TraceFrame& frame) {
  std::unique_lock lock(mutex_);
  taken_.wait(lock, [&] { return closed_ || frames_.size() < kMost; });
  if (!closed_) frames_.push_back(frame);
}

}  // namespace eyrie::app
