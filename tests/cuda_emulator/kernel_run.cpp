#include "tests/cuda_emulator/kernel_run.h"

#include <algorithm>
#include <utility>

#include "tests/cuda_emulator/card.h"
#include "tests/cuda_emulator/kernel_name.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace eyrie::emulator {
namespace {

constexpr unsigned kMaxThreads = 1024;

Order orderInForce = Order::forward;
std::mt19937 randomOrder;
std::uint64_t launched = 0;

KernelRun* runsNow = nullptr;
// Sets of them, each left by a launch whose threads have all ended.
std::vector<std::vector<std::unique_ptr<Fibre>>> spareFibres;

std::size_t countOf(const dim3& size) {
  return std::size_t{size.x} * size.y * size.z;
}

}  // namespace

void useOrder(Order order, std::uint32_t seed) {
  orderInForce = order;
  randomOrder.seed(seed);
}

std::uint64_t launches() {
  return launched;
}

KernelRun& KernelRun::running() {
  return *runsNow;
}

// Fibres that stopped in the midst of a kernel are of no use to another one.
KernelRun::~KernelRun() {
  if (!fibres_.empty() && threadsLeft_ == 0) spareFibres.push_back(std::move(fibres_));
}

bool KernelRun::isEarly() const {
  return kernel_.shape.early && kernelsOverlap();
}

void KernelRun::begin() {
  if (begun_ || !isEarly()) return;
  begun_ = true;
  go();
}

void KernelRun::finish() {
  priorEnded_ = true;
  for (Thread* thread : std::exchange(waitForPrior_, {})) release(*thread);
  if (!error_) go();
  if (!error_ && isEarly() && !waited_)
    error_ = "launched early, but no thread of it waited for the work before it";
  if (error_) throw KernelError(fmt::format("{}: {}", kernelName(kernel_.function), *error_));
}

// Until all blocks have ended, or those at hand wait for the work before.
void KernelRun::go() {
  try {
    if (order_.empty()) takeOrder();
  } catch (const KernelError& problem) {
    error_ = problem.what();
    return;
  }
  gridDim = kernel_.shape.grid;
  blockDim = kernel_.shape.block;
  while (threadsLeft_ > 0 || next_ < order_.size()) {
    if (threadsLeft_ == 0) prepareBlocks();
    while (!ready_.empty() && !error_) resume(*ready_.pop());
    if (error_ || !waitForPrior_.empty()) return;
    if (threadsLeft_ > 0) error_ = fmt::format("nobody can go on: {}", whoWaits());
    if (error_) return;
  }
}

void KernelRun::check() const {
  const dim3& grid = kernel_.shape.grid;
  const std::size_t threads = countOf(kernel_.shape.block);
  if (threads == 0 || threads > kMaxThreads) throw KernelError(fmt::format("a block of {} threads", threads));
  if (countOf(grid) == 0 || grid.y > 65535 || grid.z > 65535)
    throw KernelError(fmt::format("a grid of {} blocks", nameOf({grid.x, grid.y, grid.z})));
  if (kernel_.shape.sharedBytes > mostSharedBytes())
    throw KernelError(tooMuchShared(kernel_.shape.sharedBytes));
}

void KernelRun::takeOrder() {
  ++launched;
  check();
  const auto count = static_cast<std::uint32_t>(countOf(kernel_.shape.grid));
  order_.resize(count);
  for (std::uint32_t i = 0; i < count; ++i) order_[i] = orderInForce == Order::backward ? count - 1 - i : i;
  if (orderInForce == Order::shuffled) std::shuffle(order_.begin(), order_.end(), randomOrder);
}

// The next block; all of a cooperative launch; before the work before has ended, as many as a card might
// have room for.
void KernelRun::prepareBlocks() {
  const dim3& grid = kernel_.shape.grid;
  const std::size_t threads = countOf(kernel_.shape.block);
  std::size_t atOnce = priorEnded_ ? 1 : kMaxThreads / threads;
  if (kernel_.shape.cooperative) atOnce = order_.size();
  blocks_ = std::vector<Block>(std::min(atOnce, order_.size() - next_));
  ready_.reset(orderInForce, static_cast<std::uint32_t>(randomOrder()),
               static_cast<std::uint32_t>(blocks_.size() * threads));
  threadsLeft_ = blocks_.size() * threads;
  gridBarrier_ = {};
  if (fibres_.empty() && !spareFibres.empty()) {
    fibres_ = std::move(spareFibres.back());
    spareFibres.pop_back();
  }
  unsigned first = 0;
  for (Block& block : blocks_) {
    const std::uint32_t i = order_[next_++];
    block.index = {i % grid.x, i / grid.x % grid.y, i / (grid.x * grid.y)};
    prepare(block, first);
    first += static_cast<unsigned>(threads);
  }
}

void KernelRun::prepare(Block& block, unsigned orderOfFirst) {
  const dim3& size = kernel_.shape.block;
  const auto count = static_cast<unsigned>(countOf(size));
  block.threads.resize(count);
  block.meetings.resize((count + kLanes - 1) / kLanes);
  block.dynamic = poisoned(kernel_.shape.sharedBytes);
  block.sharedBytes = kernel_.shape.sharedBytes;
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

void KernelRun::resume(Thread& thread) {
  runsNow = this;
  current_ = &thread;
  threadIdx = thread.index;
  blockIdx = thread.block->index;
  thread.fibre->resume();
}

void KernelRun::runThread(void* run) {
  auto& self = *static_cast<KernelRun*>(run);
  try {
    self.kernel_.body();
  } catch (const std::exception& problem) {
    self.fail(std::string("exception: ") + problem.what());
  }
  Thread& thread = self.current();
  if (!thread.copies.empty() || !thread.commits.empty())
    self.fail("ended with asynchronous copies that it never waited for");
  thread.state = State::ended;
  --self.threadsLeft_;
}

// The stack it stands on is never left, so nothing on it may own memory any more.
void KernelRun::fail(std::string what) {
  error_.emplace(std::move(what));
  error_->insert(0, nameOf(*current_) + ": ");
  for (;;) current_->fibre->pause();
}

void KernelRun::wait(const char* at, Where where) {
  Thread& thread = *current_;
  thread.state = State::waiting;
  thread.waitsAt = at;
  thread.where = where;
  thread.fibre->pause();
}

void KernelRun::release(Thread& thread) {
  thread.state = State::ready;
  ready_.push(&thread);
}

void KernelRun::arriveAtGrid(Where where) {
  if (!kernel_.shape.cooperative) fail("waits for the whole grid in a launch that is not cooperative");
  if (gridBarrier_.arrived == 0) gridBarrier_.where = where;
  if (!samePlace(gridBarrier_.where, where))
    fail(placed("waits for the grid at {}, others at {}", where, gridBarrier_.where));
  std::size_t threads = 0;
  for (const Block& block : blocks_) threads += block.threads.size();
  if (++gridBarrier_.arrived < threads) return wait("the grid's barrier", where);
  gridBarrier_.arrived = 0;
  for (Block& block : blocks_) {
    for (Thread& thread : block.threads)
      if (&thread != current_) release(thread);
  }
}

void KernelRun::waitForPrior(Where where) {
  waited_ = true;
  if (priorEnded_) return;
  waitForPrior_.push_back(current_);
  wait("waitForPrior", where);
}

std::string KernelRun::whoWaits() const {
  constexpr int kNamed = 4;
  std::string waiting;
  std::string ended;
  int named = 0;
  for (const Block& block : blocks_) {
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

}  // namespace eyrie::emulator
