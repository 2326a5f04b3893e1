#include "tests/cuda_emulator/scheduler.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <queue>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/cuda_emulator/fibre.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace eyrie::emulator {
namespace {

constexpr unsigned kLanes = 32;
constexpr unsigned kMaxThreads = 1024;
constexpr std::size_t kMaxSharedBytes = 227 * 1024;  // of a block, on the largest cards
constexpr std::align_val_t kSharedAlignment{128};

struct Free {
  void operator()(std::byte* memory) const { ::operator delete[](memory, kSharedAlignment); }
};
using SharedArray = std::unique_ptr<std::byte[], Free>;

SharedArray poisoned(std::size_t bytes) {
  SharedArray array(static_cast<std::byte*>(::operator new[](bytes, kSharedAlignment)));
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
  std::size_t sharedBytes = 0;
};

std::string nameOf(const uint3& index) {
  return fmt::format("({}, {}, {})", index.x, index.y, index.z);
}

std::string nameOf(const Thread& thread) {
  return fmt::format("block {}, thread {}", nameOf(thread.block->index), nameOf(thread.index));
}

std::string nameOf(const Where& where) {
  return fmt::format("{}:{}", where.file_name(), where.line());
}

// What fail() is given: made here, so that no string is left on a stack that is never left.
std::string placed(const char* format, const Where& here, const Where& there = {}) {
  return fmt::format(fmt::runtime(format), nameOf(here), nameOf(there));
}

bool samePlace(const Where& a, const Where& b) {
  if (a.line() != b.line() || a.column() != b.column()) return false;
  return a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0;
}

bool anybodyLeft(const std::vector<Block>& blocks) {
  return std::any_of(blocks.begin(), blocks.end(), [](const Block& block) {
    return std::any_of(block.threads.begin(), block.threads.end(),
                       [](const Thread& thread) { return thread.state != State::ended; });
  });
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

class Scheduler {
 public:
  void useOrder(Order order, std::uint32_t seed) {
    order_ = order;
    random_.seed(seed);
  }
  void run(const LaunchShape& shape, const std::function<void()>& kernel);
  Thread& current() { return *current_; }
  [[noreturn]] void fail(std::string what);
  void wait(const char* at, Where where);
  void release(Thread& thread);
  void arriveAtGrid(Where where);

  const LaunchShape* shape = nullptr;
  std::uint64_t launches = 0;

 private:
  void runTogether(std::vector<Block>& blocks);
  void prepare(Block& block, unsigned orderOfFirst);
  void resume(Thread& thread);
  std::string whoWaits(const std::vector<Block>& blocks) const;
  std::vector<std::uint32_t> blockOrder(std::uint32_t count);
  static void runThread(void* scheduler);

  Order order_ = Order::forward;
  std::mt19937 random_;
  ReadyQueue ready_;
  std::vector<std::unique_ptr<Fibre>> fibres_;
  const std::function<void()>* kernel_ = nullptr;
  std::vector<Block>* together_ = nullptr;
  Thread* current_ = nullptr;
  Barrier gridBarrier_;
  std::optional<std::string> error_;
  const Thread* failed_ = nullptr;
};

Scheduler& scheduler() {
  static Scheduler only;
  return only;
}

void Scheduler::runThread(void* data) {
  auto& self = *static_cast<Scheduler*>(data);
  try {
    (*self.kernel_)();
  } catch (const std::exception& problem) {
    self.fail(std::string("exception: ") + problem.what());
  }
  Thread& thread = self.current();
  if (!thread.copies.empty() || !thread.commits.empty())
    self.fail("ended with asynchronous copies that it never waited for");
  thread.state = State::ended;
}

// The stack it stands on is never left, so nothing on it may own memory any more.
void Scheduler::fail(std::string what) {
  error_.emplace(std::move(what));
  failed_ = current_;
  for (;;) current_->fibre->pause();
}

void Scheduler::wait(const char* at, Where where) {
  Thread& thread = *current_;
  thread.state = State::waiting;
  thread.waitsAt = at;
  thread.where = where;
  thread.fibre->pause();
}

void Scheduler::release(Thread& thread) {
  thread.state = State::ready;
  ready_.push(&thread);
}

void Scheduler::arriveAtGrid(Where where) {
  if (!shape->cooperative) fail("waits for the whole grid in a launch that is not cooperative");
  if (gridBarrier_.arrived == 0) gridBarrier_.where = where;
  if (!samePlace(gridBarrier_.where, where))
    fail(placed("waits for the grid at {}, others at {}", where, gridBarrier_.where));
  std::size_t threads = 0;
  for (const Block& block : *together_) threads += block.threads.size();
  if (++gridBarrier_.arrived < threads) return wait("the grid's barrier", where);
  gridBarrier_.arrived = 0;
  for (Block& block : *together_) {
    for (Thread& thread : block.threads)
      if (&thread != current_) release(thread);
  }
}

void Scheduler::prepare(Block& block, unsigned orderOfFirst) {
  const dim3& size = shape->block;
  const unsigned count = size.x * size.y * size.z;
  block.threads.resize(count);
  block.meetings.resize((count + kLanes - 1) / kLanes);
  block.dynamic = poisoned(shape->sharedBytes);
  block.sharedBytes = shape->sharedBytes;
  for (unsigned rank = 0; rank < count; ++rank) {
    Thread& thread = block.threads[rank];
    thread.block = &block;
    thread.rank = rank;
    thread.order = orderOfFirst + rank;
    thread.index = {rank % size.x, rank / size.x % size.y, rank / (size.x * size.y)};
    while (fibres_.size() <= thread.order) fibres_.push_back(std::make_unique<Fibre>());
    thread.fibre = fibres_[thread.order].get();
    thread.fibre->start(runThread, this);
    release(thread);
  }
}

void Scheduler::resume(Thread& thread) {
  current_ = &thread;
  threadIdx = thread.index;
  blockIdx = thread.block->index;
  thread.fibre->resume();
}

std::string Scheduler::whoWaits(const std::vector<Block>& blocks) const {
  constexpr int kNamed = 4;
  std::string waiting;
  std::string ended;
  int named = 0;
  for (const Block& block : blocks) {
    for (const Thread& thread : block.threads) {
      if (thread.state == State::ended && ended.empty()) ended = fmt::format("{} has ended", nameOf(thread));
      if (thread.state != State::waiting) continue;
      if (++named > kNamed) continue;
      waiting += fmt::format("{} waits at {} ({}); ", nameOf(thread), thread.waitsAt, nameOf(thread.where));
    }
  }
  if (named > kNamed) waiting += fmt::format("and {} more wait; ", named - kNamed);
  return waiting + (ended.empty() ? "no thread has ended" : ended);
}

void Scheduler::runTogether(std::vector<Block>& blocks) {
  const dim3& size = shape->block;
  ready_.reset(order_, static_cast<std::uint32_t>(random_()),
               static_cast<std::uint32_t>(blocks.size()) * size.x * size.y * size.z);
  gridBarrier_ = {};
  together_ = &blocks;
  unsigned threads = 0;
  for (Block& block : blocks) {
    prepare(block, threads);
    threads += static_cast<unsigned>(block.threads.size());
  }
  while (!ready_.empty() && !error_) resume(*ready_.pop());
  if (error_) {
    error_ = fmt::format("{}: {}", nameOf(*failed_), *error_);
  } else if (anybodyLeft(blocks)) {
    error_ = fmt::format("nobody can go on: {}", whoWaits(blocks));
  }
  if (!error_) return;
  fibres_.clear();  // some stopped in the midst of a kernel
  throw KernelError(*std::exchange(error_, std::nullopt));
}

std::vector<std::uint32_t> Scheduler::blockOrder(std::uint32_t count) {
  std::vector<std::uint32_t> order(count);
  for (std::uint32_t i = 0; i < count; ++i) order[i] = order_ == Order::backward ? count - 1 - i : i;
  if (order_ == Order::shuffled) std::shuffle(order.begin(), order.end(), random_);
  return order;
}

void Scheduler::run(const LaunchShape& launched, const std::function<void()>& kernel) {
  ++launches;
  const dim3& grid = launched.grid;
  const dim3& size = launched.block;
  const std::uint64_t threads = std::uint64_t{size.x} * size.y * size.z;
  if (threads == 0 || threads > kMaxThreads) throw KernelError(fmt::format("a block of {} threads", threads));
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535)
    throw KernelError(fmt::format("a grid of {} blocks", nameOf({grid.x, grid.y, grid.z})));
  if (launched.sharedBytes > kMaxSharedBytes)
    throw KernelError(fmt::format("a block with {} bytes of shared memory", launched.sharedBytes));
  shape = &launched;
  kernel_ = &kernel;
  gridDim = grid;
  blockDim = size;
  const auto indexOf = [&](std::uint32_t i) {
    return uint3{i % grid.x, i / grid.x % grid.y, i / (grid.x * grid.y)};
  };
  const std::uint32_t count = grid.x * grid.y * grid.z;
  const std::size_t atOnce = launched.cooperative ? count : 1;
  std::vector<std::uint32_t> order = blockOrder(count);
  for (std::size_t first = 0; first < count; first += atOnce) {
    std::vector<Block> blocks(atOnce);
    for (std::size_t i = 0; i < atOnce; ++i) blocks[i].index = indexOf(order[first + i]);
    runTogether(blocks);
  }
}

}  // namespace

void useOrder(Order order, std::uint32_t seed) {
  scheduler().useOrder(order, seed);
}

void run(const LaunchShape& shape, const std::function<void()>& kernel) {
  scheduler().run(shape, kernel);
}

std::uint64_t launches() {
  return scheduler().launches;
}

void fail(std::string what) {
  scheduler().fail(std::move(what));
}

void barrier(Scope scope, Where where) {
  Scheduler& all = scheduler();
  if (scope == Scope::grid) return all.arriveAtGrid(where);
  Block& block = *all.current().block;
  Barrier& barrier = block.barrier;
  if (barrier.arrived == 0) barrier.where = where;
  if (!samePlace(barrier.where, where))
    fail(placed("waits at the barrier {}, others of its block at {}", where, barrier.where));
  if (++barrier.arrived < block.threads.size()) return all.wait("__syncthreads", where);
  barrier.arrived = 0;
  for (Thread& thread : block.threads)
    if (&thread != &all.current()) all.release(thread);
}

unsigned laneId() {
  return scheduler().current().rank % kLanes;
}

void meet(unsigned mask, void* mine, Completion complete, Where where) {
  Scheduler& all = scheduler();
  Thread& self = all.current();
  const unsigned warp = self.rank / kLanes;
  const unsigned bit = 1U << self.rank % kLanes;
  if ((mask & bit) == 0) fail(placed("takes part in a collective ({}) whose mask leaves it out", where));
  std::vector<Meeting>& meetings = self.block->meetings[warp];
  auto meeting =
      std::find_if(meetings.begin(), meetings.end(), [&](const Meeting& m) { return (m.mask & mask) != 0; });
  if (meeting == meetings.end()) {
    meetings.emplace_back(mask, where);
    meeting = meetings.end() - 1;
  }
  if (meeting->mask != mask || !samePlace(meeting->where, where))
    fail(placed("collective at {} while other lanes of its warp are at {}", where, meeting->where));
  meeting->arrived |= bit;
  meeting->lanes[self.rank % kLanes] = mine;
  if (meeting->arrived != mask) return all.wait("a warp's collective", where);
  complete(mask, meeting->lanes);
  meetings.erase(meeting);
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if ((mask >> lane & 1U) == 0) continue;
    Thread& other = self.block->threads[warp * kLanes + lane];
    if (&other != &self) all.release(other);
  }
}

void* sharedMemory(const void* site, std::size_t bytes) {
  Block& block = *scheduler().current().block;
  SharedArray& array = block.arrays[site];
  if (array == nullptr) {
    block.sharedBytes += bytes;
    if (block.sharedBytes > kMaxSharedBytes)
      fail(fmt::format("its block has {} bytes of shared memory", block.sharedBytes));
    array = poisoned(bytes);
  }
  return array.get();
}

void* dynamicSharedMemory() {
  return scheduler().current().block->dynamic.get();
}

void copyAsync(void* to, const void* from, std::size_t bytes) {
  const auto misaligned =
      (reinterpret_cast<std::uintptr_t>(to) | reinterpret_cast<std::uintptr_t>(from)) % bytes;
  if (misaligned != 0) fail(fmt::format("an asynchronous copy of {} bytes is not aligned to them", bytes));
  scheduler().current().copies.push_back({to, from, bytes});
}

void commitCopies() {
  Thread& self = scheduler().current();
  self.commits.push_back(std::move(self.copies));
  self.copies.clear();
}

void waitForCopies(std::size_t groupsLeft) {
  Thread& self = scheduler().current();
  if (self.commits.size() <= groupsLeft) return;
  const auto end = self.commits.end() - static_cast<std::ptrdiff_t>(groupsLeft);
  for (auto group = self.commits.begin(); group != end; ++group)
    for (const Copy& copy : *group) std::memcpy(copy.to, copy.from, copy.bytes);
  self.commits.erase(self.commits.begin(), end);
}

}  // namespace eyrie::emulator
