#include "engine/outbox.h"

#include <chrono>
#include <thread>

namespace eyrie::engine {
namespace {

constexpr std::size_t kEventSlots = 8192;
constexpr std::size_t kFrameSlots = 4096;
constexpr std::uint64_t kFrameBudget = std::uint64_t{128} << 20;

}  // namespace

Outbox::Outbox() : events_(kEventSlots), frames_(kFrameSlots) {}

void Outbox::push(EngineEvent event) {
  while (!events_.tryPush(event)) {
    if (closed_.load()) return;
    wakeOnce();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  wakeOnce();
}

void Outbox::offer(const TraceFrame& frame) {
  const std::uint64_t bytes = frame.values.size() * sizeof(float);
  if (frameBytes_.load() + bytes > kFrameBudget) {
    dropped_.fetch_add(1);
    return;
  }
  TraceFrame copy = frame;
  frameBytes_.fetch_add(bytes);
  if (frames_.tryPush(copy)) {
    wakeOnce();
    return;
  }
  frameBytes_.fetch_sub(bytes);
  dropped_.fetch_add(1);
}

bool Outbox::poll(EngineEvent& event) {
  if (events_.tryPop(event)) return true;
  // Looked empty: ask to be woken again, then look once more for what arrived in between.
  woken_.exchange(false);
  if (events_.tryPop(event)) return true;
  if (!frames_.empty()) wakeOnce();  // offered while events were read: its producer woke nobody
  return false;
}

bool Outbox::pollFrame(TraceFrame& frame) {
  if (!frames_.tryPop(frame)) return false;
  frameBytes_.fetch_sub(frame.values.size() * sizeof(float));
  return true;
}

void Outbox::setWake(std::function<void()> wake) {
  const std::lock_guard lock(wakeMutex_);
  wake_ = std::move(wake);
}

void Outbox::wakeOnce() {
  if (woken_.exchange(true)) return;
  const std::lock_guard lock(wakeMutex_);
  if (wake_) wake_();
}

}  // namespace eyrie::engine
