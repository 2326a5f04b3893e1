#include "tests/cuda_emulator/streams.h"

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/runtime.h"
#include "tests/cuda_emulator/calls.h"
#include "tests/cuda_emulator/pieces.h"

using eyrie::emulator::Given;
using eyrie::emulator::Pieces;
using eyrie::emulator::Work;

struct CUstream_st {
  Pieces pending;
  std::uint64_t given = 0;
  std::uint64_t done = 0;

  void runUntil(std::uint64_t count) {
    while (done < count) pending.doNext(count - done++);
  }
};

struct CUevent_st {
  CUstream_st* stream = nullptr;
  std::uint64_t count = 0;
};

struct CUgraphExec_st {
  std::vector<Given> work;
};

namespace eyrie::emulator {
namespace {

struct Capture {
  CUstream_st* stream = nullptr;
  std::vector<Given> work;
  std::string spoiledBy;  // what was done that may not be; empty: nothing
};

std::vector<CUstream_st*> streams;
std::unique_ptr<Capture> capture;
std::uint64_t givenToAll = 0;
std::function<void(const LaunchedKernel&)> watcher;
bool lost = false;

bool isCaptured(CUstream_st* stream) {
  return capture && capture->stream == stream;
}

void give(CUstream_st* stream, Given given) {
  checkDevice("launch");
  if (isCaptured(stream)) {
    capture->work.push_back(std::move(given));
  } else if (stream == nullptr) {
    Piece(given).finish();
  } else {
    stream->pending.give(given);
    ++stream->given;
    ++givenToAll;
  }
}

// `host`: the side of it that is not the card's.
void copy(void* to, const void* from, std::size_t bytes, CUstream_st* stream, const void* host,
          const char* what) {
  if (isCaptured(stream) && !isPinned(host, bytes)) checkNothingIsCaptured(what);
  give(stream, [=] { std::memcpy(to, from, bytes); });
}

}  // namespace

void checkDevice(const char* what) {
  if (lost) throw kernels::cuda::CudaError(std::string(what) + ": the device is lost", 46);
}

void checkNothingIsCaptured(const char* what) {
  if (!capture) return;
  constexpr int kCaptureUnsupported = 900;
  spoilCapture(what);
  throw kernels::cuda::CudaError(std::string(what) + ": not while a graph is captured", kCaptureUnsupported);
}

void spoilCapture(const char* what) {
  if (capture) capture->spoiledBy = what;
}

void finishQuietly() {
  try {
    finishAll();
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch)
  }
}

void enqueue(kernels::cuda::Stream stream, Work work) {
  give(stream, std::move(work));
}

void enqueue(kernels::cuda::Stream stream, LaunchedKernel kernel) {
  if (watcher) return watcher(kernel);
  give(stream, std::move(kernel));
}

void watchLaunches(std::function<void(const LaunchedKernel&)> look) {
  watcher = std::move(look);
}

std::uint64_t given() {
  return givenToAll;
}

void finishAll() {
  for (CUstream_st* stream : streams) stream->runUntil(stream->given);
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

using emulator::checkDevice;
using emulator::checkNothingIsCaptured;

OwnedStream::OwnedStream() : stream_(new CUstream_st) {
  emulator::streams.push_back(stream_);
}

OwnedStream::~OwnedStream() {
  emulator::finishQuietly();
  std::erase(emulator::streams, stream_);
  delete stream_;
}

void OwnedStream::wait() const {
  checkDevice("waiting for the device");
  checkNothingIsCaptured("waiting for a stream");
  stream_->runUntil(stream_->given);
}

Event::Event() : event_(new CUevent_st) {}

Event::~Event() {
  delete event_;
}

// A captured one would be a place in the graph, which nobody here needs.
void Event::record(Stream stream) {
  checkDevice("recording an event");
  if (emulator::isCaptured(stream)) checkNothingIsCaptured("recording an event");
  *event_ = {stream, stream->given};
}

void Event::wait() const {
  checkDevice("waiting for the device");
  checkNothingIsCaptured("waiting for an event");
  if (event_->stream != nullptr) event_->stream->runUntil(event_->count);
}

void Event::holdBack(Stream stream) const {
  if (event_->stream == nullptr) return;
  if (emulator::isCaptured(stream)) checkNothingIsCaptured("waiting for another stream");
  emulator::enqueue(stream, [event = *event_] { event.stream->runUntil(event.count); });
}

void copyToDevice(void* to, const void* from, std::size_t bytes, Stream stream) {
  emulator::copy(to, from, bytes, stream, from, "copying to the device from memory that is not pinned");
}

void copyToHost(void* to, const void* from, std::size_t bytes, Stream stream) {
  emulator::copy(to, from, bytes, stream, to, "copying from the device to memory that is not pinned");
}

void copyOnDevice(void* to, const void* from, std::size_t bytes, Stream stream) {
  emulator::enqueue(stream, [=] { std::memcpy(to, from, bytes); });
}

void fillWithZeros(void* to, std::size_t bytes, Stream stream) {
  emulator::enqueue(stream, [=] { std::memset(to, 0, bytes); });
}

Graph::Graph(Stream stream, const std::function<void()>& enqueue) {
  checkNothingIsCaptured("capturing another graph");
  emulator::capture = std::make_unique<emulator::Capture>();
  emulator::capture->stream = stream;
  try {
    enqueue();
  } catch (...) {
    emulator::capture.reset();
    throw;
  }
  const auto captured = std::exchange(emulator::capture, nullptr);
  if (!captured->spoiledBy.empty())
    throw CudaError("capturing a graph: not with " + captured->spoiledBy + " in it", 901);
  graph_ = new CUgraphExec_st{std::move(captured->work)};
}

Graph::~Graph() {
  delete graph_;
}

void Graph::launch(Stream stream) const {
  emulator::enqueue(stream, [work = graph_->work] {
    Pieces pieces;
    for (const Given& given : work) pieces.give(given);
    for (std::size_t left = work.size(); left > 0; --left) pieces.doNext(left);
  });
}

}  // namespace eyrie::kernels::cuda
