// Streams of the emulator: work is kept until somebody waits for it, so that a result read too early, or a
// buffer written again too soon, shows. The null stream does its work at once. While a stream is captured,
// its work goes into a graph instead, and whatever CUDA does not let the capturing thread do fails: waiting,
// taking and giving back memory, copies from and to memory that is not pinned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "kernels/cuda/stream.h"
#include "tests/cuda_emulator/scheduler.h"

namespace eyrie::emulator {

void enqueue(kernels::cuda::Stream stream, std::function<void()> work);
void enqueue(kernels::cuda::Stream stream, LaunchedKernel kernel);
// Pieces of work given to streams so far: a kernel, a copy, a graph.
std::uint64_t given();
// From now on launches are shown to `look` and run nothing; null: they run again.
void watchLaunches(std::function<void(const LaunchedKernel&)> look);
// All work of all streams, as far as it depends on nothing that was not given.
void finishAll();

// Device memory there is from now on, what is taken included; more fails. Without a limit at the start.
void limitMemory(std::size_t bytes);
std::size_t memoryInUse();
// Pieces of pinned memory larger than that fail from now on.
void limitPinned(std::size_t bytes);
// Every call of the runtime fails from now on, as on a card that fell off the bus.
void loseDevice(bool lost);

}  // namespace eyrie::emulator
