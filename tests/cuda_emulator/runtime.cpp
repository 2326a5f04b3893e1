// kernels/cuda/runtime.h on the CPU.
#include "kernels/cuda/runtime.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <vector>

#include "kernels/cuda/device.h"
#include "tests/cuda_emulator/streams.h"

using Work = std::function<void()>;

struct CUstream_st {
  std::deque<Work> pending;
  std::uint64_t given = 0;
  std::uint64_t done = 0;
  std::vector<Work>* captured = nullptr;

  void runUntil(std::uint64_t count) {
    while (done < count) {
      const Work work = std::move(pending.front());
      pending.pop_front();
      ++done;
      work();
    }
  }
};

struct CUevent_st {
  CUstream_st* stream = nullptr;
  std::uint64_t count = 0;
};

struct CUgraphExec_st {
  std::vector<Work> work;
};

namespace eyrie::emulator {
namespace {

std::vector<CUstream_st*> streams;
std::size_t limit = SIZE_MAX;
std::size_t inUse = 0;
std::size_t pinnedLimit = SIZE_MAX;
std::uint64_t givenToAll = 0;
bool lost = false;

void checkDevice(const char* what) {
  if (lost) throw kernels::cuda::CudaError(std::string(what) + ": the device is lost", 46);
}

}  // namespace

void enqueue(kernels::cuda::Stream stream, Work work) {
  checkDevice("launch");
  if (stream == nullptr) return work();
  if (stream->captured != nullptr) {
    stream->captured->push_back(std::move(work));
    return;
  }
  stream->pending.push_back(std::move(work));
  ++stream->given;
  ++givenToAll;
}

std::uint64_t given() {
  return givenToAll;
}

void finishAll() {
  for (CUstream_st* stream : streams) stream->runUntil(stream->given);
}

void limitMemory(std::size_t bytes) {
  limit = bytes;
}

std::size_t memoryInUse() {
  return inUse;
}

void limitPinned(std::size_t bytes) {
  pinnedLimit = bytes;
}

void loseDevice(bool isLost) {
  lost = isLost;
  if (!lost) return;
  for (CUstream_st* stream : streams) {
    stream->pending.clear();
    stream->done = stream->given;
  }
}

}  // namespace eyrie::emulator

namespace eyrie::kernels::cuda {
namespace {

using emulator::checkDevice;
constexpr std::align_val_t kAlignment{256};

// Work whose faults nobody asks about any more.
void finishQuietly() {
  try {
    emulator::finishAll();
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch)
  }
}

}  // namespace

DeviceList listDevices(std::size_t) {
  return {{{0, "emulator", 9, 0, std::size_t{1} << 40}}, {}, 1, 13000, 13000};
}

OutOfDeviceMemory::OutOfDeviceMemory(std::size_t asked, std::size_t free)
    : CudaError("device memory: asked for " + std::to_string(asked) + " bytes, " + std::to_string(free) +
                    " are free",
                2),
      asked_(asked),
      free_(free) {}

void useDevice(int) {
  checkDevice("choosing the device");
}

DeviceFacts deviceFacts() {
  return {0, "emulator", 90, 4};
}

std::size_t freeDeviceMemory() {
  return std::min(emulator::limit - std::min(emulator::limit, emulator::inUse), std::size_t{1} << 40);
}

DeviceMemory::DeviceMemory(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  checkDevice("allocating device memory");
  if (bytes > freeDeviceMemory()) throw OutOfDeviceMemory(bytes, freeDeviceMemory());
  data_ = static_cast<std::byte*>(::operator new(bytes, kAlignment));
  std::memset(data_, 0xff, bytes);  // NaN
  emulator::inUse += bytes;
}

DeviceMemory::~DeviceMemory() {
  if (data_ == nullptr) return;
  finishQuietly();
  ::operator delete(data_, kAlignment);
  emulator::inUse -= bytes_;
}

DeviceArena::DeviceArena(std::size_t bytes) : left_(bytes) {
  if (bytes > freeDeviceMemory()) throw OutOfDeviceMemory(bytes, freeDeviceMemory());
}

std::byte* DeviceArena::take(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  if (taken(bytes) > left_) throw OutOfDeviceMemory(bytes, left_);
  left_ -= taken(bytes);
  return memory_.emplace_back(bytes).data();
}

PinnedMemory::PinnedMemory(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  checkDevice("allocating pinned memory");
  if (bytes > emulator::pinnedLimit) throw std::bad_alloc();
  data_ = static_cast<std::byte*>(::operator new(bytes, kAlignment));
  std::memset(data_, 0xff, bytes);
}

PinnedMemory::~PinnedMemory() {
  if (data_ == nullptr) return;
  finishQuietly();
  ::operator delete(data_, kAlignment);
}

OwnedStream::OwnedStream() : stream_(new CUstream_st) {
  emulator::streams.push_back(stream_);
}

OwnedStream::~OwnedStream() {
  finishQuietly();
  std::erase(emulator::streams, stream_);
  delete stream_;
}

void OwnedStream::wait() const {
  checkDevice("waiting for the device");
  stream_->runUntil(stream_->given);
}

Event::Event() : event_(new CUevent_st) {}

Event::~Event() {
  delete event_;
}

void Event::record(Stream stream) {
  checkDevice("recording an event");
  *event_ = {stream, stream->given};
}

void Event::wait() const {
  checkDevice("waiting for the device");
  if (event_->stream != nullptr) event_->stream->runUntil(event_->count);
}

void Event::holdBack(Stream stream) const {
  if (event_->stream == nullptr) return;
  emulator::enqueue(stream, [event = *event_] { event.stream->runUntil(event.count); });
}

void copyToDevice(void* to, const void* from, std::size_t bytes, Stream stream) {
  emulator::enqueue(stream, [=] { std::memcpy(to, from, bytes); });
}

void copyToHost(void* to, const void* from, std::size_t bytes, Stream stream) {
  copyToDevice(to, from, bytes, stream);
}

void copyOnDevice(void* to, const void* from, std::size_t bytes, Stream stream) {
  copyToDevice(to, from, bytes, stream);
}

void fillWithZeros(void* to, std::size_t bytes, Stream stream) {
  emulator::enqueue(stream, [=] { std::memset(to, 0, bytes); });
}

Graph::Graph(Stream stream, const std::function<void()>& enqueue) {
  auto graph = std::make_unique<CUgraphExec_st>();
  stream->captured = &graph->work;
  try {
    enqueue();
  } catch (...) {
    stream->captured = nullptr;
    throw;
  }
  stream->captured = nullptr;
  graph_ = graph.release();
}

Graph::~Graph() {
  delete graph_;
}

void Graph::launch(Stream stream) const {
  emulator::enqueue(stream, [work = graph_->work] {
    for (const Work& piece : work) piece();
  });
}

}  // namespace eyrie::kernels::cuda
