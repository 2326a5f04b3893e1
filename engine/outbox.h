// What the engine thread hands out: events, which are never dropped, and frames, which may be and are
// counted.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>

#include "engine/events.h"
#include "engine/spsc_ring.h"

namespace eyrie::engine {

class Outbox {
 public:
  Outbox();

  // Engine thread. Waits while the consumer is slow; gives up only once close() was called.
  void push(EngineEvent event);
  // Engine thread. Drops the frame when slots or memory are used up.
  void offer(const TraceFrame& frame);

  // Consumer thread. Once poll has found nothing, the next event or frame wakes again; frames that lie there
  // already wake at once.
  bool poll(EngineEvent& event);
  bool pollFrame(TraceFrame& frame);

  // Any thread.
  std::uint64_t droppedFrames() const { return dropped_.load(); }
  // After setWake returns, the former function is not running and will not be called again.
  void setWake(std::function<void()> wake);
  void close() { closed_.store(true); }

 private:
  void wakeOnce();

  SpscRing<EngineEvent> events_;
  SpscRing<TraceFrame> frames_;
  std::atomic<std::uint64_t> frameBytes_{0};  // of frames in the ring
  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<bool> closed_{false};
  std::atomic<bool> woken_{false};  // the consumer has been told and has not drained since
  std::mutex wakeMutex_;
  std::function<void()> wake_;
};

}  // namespace eyrie::engine
