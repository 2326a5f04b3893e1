// One launch of a kernel, from its first thread to its last.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/cuda_emulator/threads.h"

namespace eyrie::emulator {

class KernelRun {
 public:
  explicit KernelRun(LaunchedKernel kernel) : kernel_(std::move(kernel)) {}
  ~KernelRun();
  KernelRun(const KernelRun&) = delete;
  KernelRun& operator=(const KernelRun&) = delete;

  // Of a launch that may begin early, on a card where it does: what its first blocks do before they wait for
  // the work before it. It may be all they do. Errors are kept for finish().
  void begin();
  // All the rest, when the work before has ended; throws KernelError.
  void finish();

  // ---- for the thread that runs now ----

  static KernelRun& running();
  Thread& current() { return *current_; }
  [[noreturn]] void fail(std::string what);
  void wait(const char* at, Where where);
  void release(Thread& thread);
  void arriveAtGrid(Where where);
  void waitForPrior(Where where);

 private:
  bool isEarly() const;
  void go();
  void check() const;
  void takeOrder();
  void prepareBlocks();
  void prepare(Block& block, unsigned orderOfFirst);
  void resume(Thread& thread);
  std::string whoWaits() const;
  static void runThread(void* run);

  LaunchedKernel kernel_;
  std::vector<std::uint32_t> order_;  // of the blocks
  std::size_t next_ = 0;              // of the order
  std::vector<Block> blocks_;         // at once
  std::size_t threadsLeft_ = 0;       // of them
  ReadyQueue ready_;
  std::vector<std::unique_ptr<Fibre>> fibres_;
  Thread* current_ = nullptr;
  Barrier gridBarrier_;
  bool begun_ = false;
  bool priorEnded_ = false;
  bool waited_ = false;  // any thread, for the work before
  std::vector<Thread*> waitForPrior_;
  std::optional<std::string> error_;
};

}  // namespace eyrie::emulator
