#include "tests/cuda_emulator/scheduler.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/cuda/launch.h"
#include "tests/cuda_emulator/card.h"
#include "tests/cuda_emulator/kernel_run.h"

namespace eyrie::emulator {

void fail(std::string what) {
  KernelRun::running().fail(std::move(what));
}

void waitForPrior(Where where) {
  KernelRun::running().waitForPrior(where);
}

void barrier(Scope scope, Where where) {
  KernelRun& all = KernelRun::running();
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
  return KernelRun::running().current().rank % kLanes;
}

void meet(unsigned mask, void* mine, Completion complete, Where where) {
  KernelRun& all = KernelRun::running();
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
  Block& block = *KernelRun::running().current().block;
  SharedArray& array = block.arrays[site];
  if (array == nullptr) {
    block.sharedBytes += bytes;
    block.ownBytes += bytes;
    if (block.ownBytes > kernels::cuda::kOwnSharedBytes)
      fail(fmt::format("a kernel with {} bytes of shared arrays of its own, of which launch() leaves it {}",
                       block.ownBytes, kernels::cuda::kOwnSharedBytes));
    if (block.sharedBytes > mostSharedBytes()) fail(tooMuchShared(block.sharedBytes));
    array = poisoned(bytes);
  }
  return array.get();
}

void* dynamicSharedMemory() {
  return KernelRun::running().current().block->dynamic.get();
}

void copyAsync(void* to, const void* from, std::size_t bytes) {
  const auto misaligned =
      (reinterpret_cast<std::uintptr_t>(to) | reinterpret_cast<std::uintptr_t>(from)) % bytes;
  if (misaligned != 0) fail(fmt::format("an asynchronous copy of {} bytes is not aligned to them", bytes));
  KernelRun::running().current().copies.push_back({to, from, bytes});
}

void commitCopies() {
  Thread& self = KernelRun::running().current();
  self.commits.push_back(std::move(self.copies));
  self.copies.clear();
}

void waitForCopies(std::size_t groupsLeft) {
  Thread& self = KernelRun::running().current();
  if (self.commits.size() <= groupsLeft) return;
  const auto end = self.commits.end() - static_cast<std::ptrdiff_t>(groupsLeft);
  for (auto group = self.commits.begin(); group != end; ++group)
    for (const Copy& copy : *group) std::memcpy(copy.to, copy.from, copy.bytes);
  self.commits.erase(self.commits.begin(), end);
}

}  // namespace eyrie::emulator
