// Frames of a second reading on their way from the engine's thread to the window's: a short queue that makes
// the reader wait while the window is behind.
#pragma once

#include <condition_variable>
#include <mutex>
#include <vector>

#include "engine/engine.h"

namespace eyrie::app {

class FrameQueue final : public engine::TraceSink {
 public:
  // Any thread: what has come since the last call, by rising position.
  std::vector<engine::TraceFrame> take();
  // Any thread: nothing is wanted any more, and nobody waits.
  void close();

  void begin(const engine::ModelInfo&, const engine::FrameLayout&, std::int64_t) override {}
  void token(const engine::TokenRecord&) override {}
  void frame(const engine::TraceFrame& frame) override;
  void end() override {}
  void abandon() override {}

 private:
  std::mutex mutex_;
  std::condition_variable taken_;
  std::vector<engine::TraceFrame> frames_;
  bool closed_ = false;
};

}  // namespace eyrie::app
