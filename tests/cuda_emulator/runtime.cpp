// kernels/cuda/runtime.h on the CPU, but for streams and what they do (streams.cpp).
#include "kernels/cuda/runtime.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <new>

#include "kernels/cuda/device.h"
#include "tests/cuda_emulator/calls.h"
#include "tests/cuda_emulator/card.h"
#include "tests/cuda_emulator/streams.h"

namespace eyrie::emulator {
namespace {

std::size_t limit = SIZE_MAX;
std::size_t inUse = 0;
std::size_t pinnedLimit = SIZE_MAX;
std::map<const std::byte*, std::size_t, std::less<>> pinned;  // bytes from there on

}  // namespace

void limitMemory(std::size_t bytes) {
  limit = bytes;
}

std::size_t memoryInUse() {
  return inUse;
}

void limitPinned(std::size_t bytes) {
  pinnedLimit = bytes;
}

void pin(const std::byte* memory, std::size_t bytes) {
  pinned[memory] = bytes;
}

void unpin(const std::byte* memory) {
  pinned.erase(memory);
}

bool isPinned(const void* memory, std::size_t bytes) {
  const auto* const first = static_cast<const std::byte*>(memory);
  const auto next = pinned.upper_bound(first);
  if (next == pinned.begin()) return false;
  const auto& [begin, size] = *std::prev(next);
  return first + bytes <= begin + size;
}

}  // namespace eyrie::emulator

namespace eyrie::kernels::cuda {
namespace {

using emulator::checkDevice;
using emulator::checkNothingIsCaptured;
constexpr std::align_val_t kAlignment{256};

}  // namespace

DeviceList listDevices(std::size_t) {
  const int capability = emulator::capability();
  return {{{0, "emulator", capability / 10, capability % 10, std::size_t{1} << 40}}, {}, 1, 13000, 13000};
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
  return {0, "emulator", emulator::capability(), 4};
}

std::size_t freeDeviceMemory() {
  return std::min(emulator::limit - std::min(emulator::limit, emulator::inUse), std::size_t{1} << 40);
}

DeviceMemory::DeviceMemory(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  checkDevice("allocating device memory");
  checkNothingIsCaptured("allocating device memory");
  if (bytes > freeDeviceMemory()) throw OutOfDeviceMemory(bytes, freeDeviceMemory());
  data_ = static_cast<std::byte*>(::operator new(bytes, kAlignment));
  std::memset(data_, 0xff, bytes);  // NaN
  emulator::inUse += bytes;
}

DeviceMemory::~DeviceMemory() {
  if (data_ == nullptr) return;
  emulator::spoilCapture("freeing device memory");
  emulator::finishQuietly();
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
  checkNothingIsCaptured("allocating pinned memory");
  if (bytes > emulator::pinnedLimit) throw std::bad_alloc();
  data_ = static_cast<std::byte*>(::operator new(bytes, kAlignment));
  std::memset(data_, 0xff, bytes);
  emulator::pin(data_, bytes);
}

PinnedMemory::~PinnedMemory() {
  if (data_ == nullptr) return;
  emulator::spoilCapture("freeing pinned memory");
  emulator::finishQuietly();
  emulator::unpin(data_);
  ::operator delete(data_, kAlignment);
}

}  // namespace eyrie::kernels::cuda
