#include <new>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/range.h"
#include "kernels/cuda/runtime.h"

namespace eyrie::kernels::cuda {

OutOfDeviceMemory::OutOfDeviceMemory(std::size_t asked, std::size_t free)
    : CudaError("device memory: asked for " + std::to_string(asked) + " bytes, " + std::to_string(free) +
                    " are free",
                cudaErrorMemoryAllocation),
      asked_(asked),
      free_(free) {}

void useDevice(int index) {
  check(cudaSetDevice(index), "choosing the device");
}

DeviceFacts deviceFacts() {
  int index = 0;
  cudaDeviceProp properties{};
  check(cudaGetDevice(&index), "device");
  check(cudaGetDeviceProperties(&properties, index), "properties of the device");
  return {index, properties.name, 10 * properties.major + properties.minor, properties.multiProcessorCount};
}

std::size_t freeDeviceMemory() {
  std::size_t free = 0;
  std::size_t total = 0;
  check(cudaMemGetInfo(&free, &total), "memory of the device");
  return free;
}

DeviceMemory::DeviceMemory(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // forgets it: the device is as it was
    throw OutOfDeviceMemory(bytes, freeDeviceMemory());
  }
  check(status, "allocating device memory");
  data_ = static_cast<std::byte*>(data);
}

DeviceMemory::~DeviceMemory() {
  if (data_ != nullptr) cudaFree(data_);
}

DeviceArena::DeviceArena(std::size_t bytes) : left_(bytes) {
  memory_.emplace_back(bytes);
}

std::byte* DeviceArena::take(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  if (taken(bytes) > left_) throw OutOfDeviceMemory(bytes, left_);
  std::byte* const piece = memory_.front().data() + (memory_.front().bytes() - left_);
  left_ -= taken(bytes);
  return piece;
}

PinnedMemory::PinnedMemory(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  void* data = nullptr;
  const cudaError_t status = cudaMallocHost(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // forgets it, as above
    throw std::bad_alloc();
  }
  check(status, "allocating pinned memory");
  data_ = static_cast<std::byte*>(data);
}

PinnedMemory::~PinnedMemory() {
  if (data_ != nullptr) cudaFreeHost(data_);
}

OwnedStream::OwnedStream() {
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
}

OwnedStream::~OwnedStream() {
  cudaStreamDestroy(stream_);
}

void OwnedStream::wait() const {
  const Range range("waiting");
  check(cudaStreamSynchronize(stream_), "waiting for the device");
}

Event::Event() {
  check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "making an event");
}

Event::~Event() {
  cudaEventDestroy(event_);
}

void Event::record(Stream stream) {
  check(cudaEventRecord(event_, stream), "recording an event");
}

void Event::wait() const {
  check(cudaEventSynchronize(event_), "waiting for the device");
}

void Event::holdBack(Stream stream) const {
  check(cudaStreamWaitEvent(stream, event_), "waiting for another stream");
}

void copyToDevice(void* to, const void* from, std::size_t bytes, Stream stream) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream), "copying to the device");
}

void copyToHost(void* to, const void* from, std::size_t bytes, Stream stream) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream), "copying from the device");
}

void copyOnDevice(void* to, const void* from, std::size_t bytes, Stream stream) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream), "copying on the device");
}

void fillWithZeros(void* to, std::size_t bytes, Stream stream) {
  check(cudaMemsetAsync(to, 0, bytes, stream), "clearing device memory");
}

Graph::Graph(Stream stream, const std::function<void()>& enqueue) {
  const Range range("graph captured");
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capturing a graph");
  cudaGraph_t captured = nullptr;
  try {
    enqueue();
  } catch (...) {
    cudaStreamEndCapture(stream, &captured);
    if (captured != nullptr) cudaGraphDestroy(captured);
    throw;
  }
  check(cudaStreamEndCapture(stream, &captured), "capturing a graph");
  const cudaError_t status = cudaGraphInstantiate(&graph_, captured, 0);
  cudaGraphDestroy(captured);
  check(status, "making a graph");
}

Graph::~Graph() {
  if (graph_ != nullptr) cudaGraphExecDestroy(graph_);
}

void Graph::launch(Stream stream) const {
  const Range range("graph launched");
  check(cudaGraphLaunch(graph_, stream), "launching a graph");
}

}  // namespace eyrie::kernels::cuda
