// Bounded queue between one producer thread and one consumer thread, without locks.
#pragma once

#include <atomic>
#include <cstddef>
#include <utility>
#include <vector>

namespace eyrie::engine {

// Slots are made once. A popped slot is moved from, so it keeps no memory alive.
template <typename T>
class SpscRing {
 public:
  explicit SpscRing(std::size_t capacity) : slots_(capacity + 1) {}
  SpscRing(const SpscRing&) = delete;
  SpscRing& operator=(const SpscRing&) = delete;

  // Producer. False, and `value` untouched, when full.
  bool tryPush(T& value) {
    const std::size_t tail = tail_.load(std::memory_order_relaxed);
    const std::size_t next = after(tail);
    if (next == head_.load(std::memory_order_acquire)) return false;
    slots_[tail] = std::move(value);
    tail_.store(next, std::memory_order_release);
    return true;
  }

  // Consumer. False when empty.
  bool tryPop(T& value) {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_.load(std::memory_order_acquire)) return false;
    value = std::move(slots_[head]);
    slots_[head] = T();
    head_.store(after(head), std::memory_order_release);
    return true;
  }

  // Consumer.
  bool empty() const {
    return head_.load(std::memory_order_relaxed) == tail_.load(std::memory_order_acquire);
  }

 private:
  std::size_t after(std::size_t index) const { return index + 1 == slots_.size() ? 0 : index + 1; }

  std::vector<T> slots_;  // one stays free to tell full from empty
  // Apart, so that the two threads do not share a cache line.
  alignas(64) std::atomic<std::size_t> head_{0};
  alignas(64) std::atomic<std::size_t> tail_{0};
};

}  // namespace eyrie::engine
