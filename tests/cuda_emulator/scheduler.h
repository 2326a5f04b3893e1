// Runs CUDA kernels compiled as C++: every kernel thread is a fibre of the one OS thread that launches, and
// gives control away only where it meets others (barriers, warp collectives, the grid's barrier). What a
// kernel may not rely on is chosen by the test: the order in which threads go on. What it may not do is an
// error with the numbers of block and thread, never a hang: a barrier that not all threads of a block reach,
// a collective that not all named lanes reach at the same place, an asynchronous copy nobody waits for. (A
// loop that spins on memory does hang: nothing here takes control away.)
//
// A launch that may begin early does: its first blocks go on until each of their threads has ended or waits
// for the work before, and only then is that done. So a thread that reads before it waits sees what was
// there, and what it writes is there too soon. No thread that waits is an error.
//
// Shared memory is a heap block for each array of each block, exactly as large as declared and filled with
// 0xff (NaN, -1), so that the address sanitizer sees overruns and results show what was never written.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <stdexcept>
#include <string>

#include "tests/cuda_emulator/vector_types.h"

// CUDA's own names, of the thread that runs now.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace eyrie::emulator {

using Where = std::source_location;

// What a kernel did wrong.
class KernelError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Forward and backward let the first (last) warp run as far ahead of the others as barriers allow; shuffled
// takes any thread that can go on.
enum class Order : std::uint8_t { forward, backward, shuffled };

// Of all launches from now on.
void useOrder(Order order, std::uint32_t seed = 0);

struct LaunchShape {
  dim3 grid;
  dim3 block;
  std::size_t sharedBytes = 0;  // dynamic shared memory of a block
  bool cooperative = false;     // all blocks at once, so that they may wait for each other
  bool early = false;           // may begin before the work before it has ended
};

struct LaunchedKernel {
  LaunchShape shape;
  const void* function;        // whose name errors begin with
  std::function<void()> body;  // of each thread
};

// Kernels launched so far.
std::uint64_t launches();

// ---- what the intrinsics are made of, called by kernel threads ----

[[noreturn]] void fail(std::string what);

enum class Scope : std::uint8_t { block, grid };
void barrier(Scope scope, Where where);

// Until the work before this launch has ended.
void waitForPrior(Where where);

unsigned laneId();

// All lanes of `mask` come here with a pointer each; the last to come runs `complete` for all of them.
using LanePointers = std::array<void*, 32>;
using Completion = void (*)(unsigned mask, const LanePointers& lanes);
void meet(unsigned mask, void* mine, Completion complete, Where where);

// Memory of this block for the declaration that `site` is the address of; the same at every call.
void* sharedMemory(const void* site, std::size_t bytes);
void* dynamicSharedMemory();

// Performed when waited for, not before.
void copyAsync(void* to, const void* from, std::size_t bytes);
void commitCopies();
void waitForCopies(std::size_t groupsLeft);

}  // namespace eyrie::emulator
