// What a backend needs of CUDA beside kernels: memory, copies, streams, events, graphs. No CUDA headers, so
// that host code compiled once runs on a card (runtime.cu) and on the tests' emulator
// (tests/cuda_emulator/runtime.cpp). Everything throws CudaError; what a kernel did wrong shows at the next
// wait. Destructors never throw. Belongs to the device that the calling thread uses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cuda/stream.h"

struct CUevent_st;
struct CUgraphExec_st;

namespace eyrie::kernels::cuda {

constexpr std::size_t floatBytes(std::int64_t n) {
  return static_cast<std::size_t>(n) * sizeof(float);
}

// A CudaError with the numbers that an "out of memory" needs.
class OutOfDeviceMemory : public CudaError {
 public:
  OutOfDeviceMemory(std::size_t asked, std::size_t free);
  std::size_t asked() const { return asked_; }  // bytes
  std::size_t free() const { return free_; }

 private:
  std::size_t asked_;
  std::size_t free_;
};

struct DeviceFacts {
  int index = 0;  // Device::index
  std::string name;
  int capability = 0;  // 90 is 9.0
  int processors = 0;  // multiprocessors
};

// Of the calling thread from now on; `index` is Device::index.
void useDevice(int index);
DeviceFacts deviceFacts();  // of the calling thread's device
std::size_t freeDeviceMemory();

// `bytes` on the card, 256-byte aligned; 0 bytes: null. Giving it back waits for the card.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  explicit DeviceMemory(std::size_t bytes);  // throws OutOfDeviceMemory
  ~DeviceMemory();
  DeviceMemory(DeviceMemory&& other) noexcept { swap(other); }
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    DeviceMemory(std::move(other)).swap(*this);
    return *this;
  }

  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void swap(DeviceMemory& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }

  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// Device memory asked for once and handed out in pieces, which live as long as it does.
class DeviceArena {
 public:
  DeviceArena() = default;
  explicit DeviceArena(std::size_t bytes);  // throws OutOfDeviceMemory

  // What a piece of `bytes` takes of it.
  static constexpr std::size_t taken(std::size_t bytes) { return (bytes + 255) / 256 * 256; }
  // 256-byte aligned; 0 bytes: null. Throws OutOfDeviceMemory where so much is not left.
  std::byte* take(std::size_t bytes);

 private:
  std::vector<DeviceMemory> memory_;  // one; on the emulator one for each piece, whose ends asan then guards
  std::size_t left_ = 0;
};

// Host memory that the card copies from and to by itself. Where the host has no more to pin, the card is as
// well as before: that is no CudaError but std::bad_alloc.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  explicit PinnedMemory(std::size_t bytes);  // throws std::bad_alloc
  ~PinnedMemory();
  PinnedMemory(PinnedMemory&& other) noexcept { swap(other); }
  PinnedMemory& operator=(PinnedMemory&& other) noexcept {
    PinnedMemory(std::move(other)).swap(*this);
    return *this;
  }

  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void swap(PinnedMemory& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }

  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// Work given to a stream is done in order, after the call has returned.
class OwnedStream {
 public:
  OwnedStream();
  ~OwnedStream();
  OwnedStream(const OwnedStream&) = delete;
  OwnedStream& operator=(const OwnedStream&) = delete;

  operator Stream() const { return stream_; }  // NOLINT(google-explicit-constructor)
  void wait() const;

 private:
  Stream stream_ = nullptr;
};

// A place in a stream's work.
class Event {
 public:
  Event();
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(Stream stream);
  // Until the work before the place last recorded is done; at once where none was.
  void wait() const;
  // Likewise, but it is `stream` that waits.
  void holdBack(Stream stream) const;

 private:
  CUevent_st* event_ = nullptr;
};

// Memory of the host should be pinned: else a copy may wait. It is read or written until the copy is done.
void copyToDevice(void* to, const void* from, std::size_t bytes, Stream stream);
void copyToHost(void* to, const void* from, std::size_t bytes, Stream stream);
void copyOnDevice(void* to, const void* from, std::size_t bytes, Stream stream);
void fillWithZeros(void* to, std::size_t bytes, Stream stream);

// A stretch of a stream's work, launched at one go. What a launch is given by value stays as it was when the
// stretch was captured; what changes is read from memory (trap 41).
class Graph {
 public:
  // Captures what `enqueue` gives to `stream`; nothing of it is done yet. What `enqueue` throws comes
  // through.
  Graph(Stream stream, const std::function<void()>& enqueue);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void launch(Stream stream) const;

 private:
  CUgraphExec_st* graph_ = nullptr;
};

}  // namespace eyrie::kernels::cuda
