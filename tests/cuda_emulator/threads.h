// Threads and blocks of a launch as kernel_run.cpp keeps them.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/cuda_emulator/fibre.h"
#include "tests/cuda_emulator/scheduler.h"

namespace eyrie::emulator {

inline constexpr unsigned kLanes = 32;

struct FreeShared {
  static constexpr std::align_val_t kAlignment{128};
  void operator()(std::byte* memory) const { ::operator delete[](memory, kAlignment); }
};
using SharedArray = std::unique_ptr<std::byte[], FreeShared>;

inline SharedArray poisoned(std::size_t bytes) {
  SharedArray array(static_cast<std::byte*>(::operator new[](bytes, FreeShared::kAlignment)));
  std::memset(array.get(), 0xff, bytes);
  return array;
}

struct Copy {
  void* to;
  const void* from;
  std::size_t bytes;
};

enum class State : std::uint8_t { ready, waiting, ended };

struct Block;

struct Thread {
  Fibre* fibre = nullptr;
  Block* block = nullptr;
  unsigned rank = 0;   // within the block
  unsigned order = 0;  // within all that run at once
  uint3 index{};
  State state = State::ready;
  const char* waitsAt = "";
  Where where;
  std::vector<Copy> copies;                // not committed
  std::vector<std::vector<Copy>> commits;  // oldest first
};

// Lanes of one warp on their way to the same collective.
struct Meeting {
  unsigned mask = 0;
  unsigned arrived = 0;
  Where where;
  LanePointers lanes;  // of those that arrived

  Meeting(unsigned whose, const Where& at) : mask(whose), where(at) {}
};

struct Barrier {
  unsigned arrived = 0;
  Where where;
};

struct Block {
  uint3 index{};
  std::vector<Thread> threads;
  Barrier barrier;
  std::vector<std::vector<Meeting>> meetings;  // a list for each warp
  SharedArray dynamic;
  std::map<const void*, SharedArray> arrays;
  std::size_t sharedBytes = 0;  // all
  std::size_t ownBytes = 0;     // of its arrays
};

inline std::string nameOf(const uint3& index) {
  return fmt::format("({}, {}, {})", index.x, index.y, index.z);
}

inline std::string nameOf(const Thread& thread) {
  return fmt::format("block {}, thread {}", nameOf(thread.block->index), nameOf(thread.index));
}

inline std::string nameOf(const Where& where) {
  return fmt::format("{}:{}", where.file_name(), where.line());
}

// What fail() is given: made here, so that no string is left on a stack that is never left.
inline std::string placed(const char* format, const Where& here, const Where& there = {}) {
  return fmt::format(fmt::runtime(format), nameOf(here), nameOf(there));
}

inline bool samePlace(const Where& a, const Where& b) {
  if (a.line() != b.line() || a.column() != b.column()) return false;
  return a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0;
}

// Ready threads by falling urgency, as the order in force sees it: a bit each, the most urgent lowest.
// Shuffled, every thread that becomes ready is put where another one's bit may be the next.
class ReadyQueue {
 public:
  void reset(Order order, std::uint32_t seed, std::uint32_t threads) {
    order_ = order;
    random_.seed(seed);
    count_ = 0;
    threads_.assign(threads, nullptr);
    bits_.assign((threads + 63) / 64, 0);
    first_ = 0;
  }
  bool empty() const { return count_ == 0; }
  void push(Thread* thread) {
    const auto threads = static_cast<std::uint32_t>(threads_.size());
    std::uint32_t place = order_ == Order::backward ? threads - 1 - thread->order : thread->order;
    if (order_ == Order::shuffled) {
      place = static_cast<std::uint32_t>(random_() % threads);
      while (threads_[place] != nullptr) place = place + 1 == threads ? 0 : place + 1;
    }
    threads_[place] = thread;
    bits_[place / 64] |= std::uint64_t{1} << place % 64;
    first_ = std::min(first_, place / 64);
    ++count_;
  }
  Thread* pop() {
    while (bits_[first_] == 0) ++first_;
    std::uint64_t& bits = bits_[first_];
    const std::uint32_t place = 64 * first_ + static_cast<std::uint32_t>(std::countr_zero(bits));
    bits &= bits - 1;
    --count_;
    return std::exchange(threads_[place], nullptr);
  }

 private:
  Order order_ = Order::forward;
  std::mt19937 random_;
  std::size_t count_ = 0;
  std::vector<Thread*> threads_;
  std::vector<std::uint64_t> bits_;
  std::uint32_t first_ = 0;  // no bit is set in a word before
};

}  // namespace eyrie::emulator
