#include "engine/engine.h"

#include <fmt/core.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <mutex>
#include <new>
#include <thread>

#include "engine/error.h"
#include "engine/outbox.h"
#include "engine/requests.h"

namespace eyrie::engine {
namespace {

struct Command {
  RequestId id = 0;
  std::stop_source stop;
  std::function<void(Requests& requests, RequestId id, const std::stop_token& stop)> work;
  bool silent = false;  // ends without an event when all went well
};

bool isLast(EventKind kind) {
  switch (kind) {
    case EventKind::loaded:
    case EventKind::finished:
    case EventKind::scored:
    case EventKind::traceWritten:
    case EventKind::failed:
    case EventKind::cancelled:
      return true;
    case EventKind::loadProgress:
    case EventKind::readProgress:
    case EventKind::token:
    case EventKind::traceProgress:
      return false;
  }
  return false;
}

EngineEvent failure(RequestId id, ErrorCode code, const std::string& message) {
  EngineEvent event;
  event.kind = code == ErrorCode::cancelled ? EventKind::cancelled : EventKind::failed;
  event.request = id;
  event.error = std::make_shared<const Error>(code, message);
  return event;
}

}  // namespace

struct Engine::Impl {
  Impl() : thread([this] { loop(); }) {}

  RequestId submit(decltype(Command::work) work, bool silent = false);
  void loop();
  void perform(const Command& command);
  void leaveCard();
  void cancelWhere(const std::function<bool(RequestId)>& chosen);

  Outbox outbox;
  std::atomic<std::int64_t> outstanding{0};  // requests whose last event has not been polled
  mutable std::mutex mutex;
  std::condition_variable arrived;
  std::deque<std::shared_ptr<Command>> queue;  // the running one is not in it
  std::shared_ptr<Command> running;
  RequestId lastId = 0;
  bool closing = false;
  Requests requests{outbox};  // engine thread only
  std::thread thread;         // last: starts when all else stands
};

RequestId Engine::Impl::submit(decltype(Command::work) work, bool silent) {
  auto command = std::make_shared<Command>();
  command->work = std::move(work);
  command->silent = silent;
  outstanding.fetch_add(1);
  {
    const std::lock_guard lock(mutex);
    command->id = ++lastId;
    queue.push_back(command);
  }
  arrived.notify_one();
  return command->id;
}

void Engine::Impl::perform(const Command& command) {
  const std::stop_token stop = command.stop.get_token();
  try {
    if (stop.stop_requested()) throw Error(ErrorCode::cancelled, "cancelled before it began");
    command.work(requests, command.id, stop);
    if (command.silent) outstanding.fetch_sub(1);
  } catch (const Error& error) {
    outbox.push(failure(command.id, error.code(), error.what()));
    if (error.code() == ErrorCode::deviceFailed) leaveCard();
  } catch (const std::bad_alloc&) {
    outbox.push(
        failure(command.id, ErrorCode::outOfMemory, "out of memory: the request needs more than there is"));
  } catch (const std::filesystem::filesystem_error& error) {
    outbox.push(failure(command.id, ErrorCode::ioFailed,
                        fmt::format("{}: {}", error.path1().string(), error.code().message())));
  } catch (const std::exception& error) {
    outbox.push(failure(command.id, ErrorCode::unsupported, fmt::format("unexpected: {}", error.what())));
  }
}

void Engine::Impl::leaveCard() {
  try {
    requests.leaveCard();
  } catch (const std::exception& error) {
    outbox.push(
        failure(0, ErrorCode::deviceFailed, fmt::format("cuda: the card failed; cpu: {}", error.what())));
  }
}

void Engine::Impl::loop() {
  for (;;) {
    std::shared_ptr<Command> command;
    {
      std::unique_lock lock(mutex);
      arrived.wait(lock, [this] { return closing || !queue.empty(); });
      if (closing) return;
      command = queue.front();
      queue.pop_front();
      running = command;
    }
    perform(*command);
    const std::lock_guard lock(mutex);
    running.reset();
  }
}

void Engine::Impl::cancelWhere(const std::function<bool(RequestId)>& chosen) {
  const std::lock_guard lock(mutex);
  if (running && chosen(running->id)) running->stop.request_stop();
  for (const auto& command : queue) {
    if (chosen(command->id)) command->stop.request_stop();
  }
}

Engine::Engine() : impl_(std::make_unique<Impl>()) {}

Engine::~Engine() {
  impl_->outbox.close();
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->closing = true;
  }
  cancelAll();
  impl_->arrived.notify_one();
  impl_->thread.join();
}

RequestId Engine::load(LoadRequest request) {
  return impl_->submit([request = std::move(request)](Requests& requests, RequestId id, const auto& stop) {
    requests.load(id, request, stop);
  });
}

RequestId Engine::run(RunRequest request) {
  return impl_->submit([request = std::move(request)](Requests& requests, RequestId id, const auto& stop) {
    requests.run(id, request, stop);
  });
}

RequestId Engine::score(std::vector<std::int32_t> tokens, std::int64_t first, Interventions interventions) {
  return impl_->submit([tokens = std::move(tokens), first, rules = std::move(interventions)](
                           Requests& requests, RequestId id, const std::stop_token& stop) {
    requests.score(id, tokens, first, rules, stop);
  });
}

RequestId Engine::trace(std::vector<std::int32_t> tokens, TraceOptions options,
                        std::shared_ptr<TraceSink> sink, Interventions interventions) {
  return impl_->submit(
      [tokens = std::move(tokens), options = std::move(options), sink = std::move(sink),
       rules = std::move(interventions)](Requests& requests, RequestId id, const std::stop_token& stop) {
        if (!sink) throw Error(ErrorCode::badArgument, "trace: expected a sink, found none");
        requests.trace(id, tokens, options, *sink, rules, stop);
      });
}

RequestId Engine::remember(std::shared_ptr<const Snapshot> snapshot) {
  const auto work = [snapshot = std::move(snapshot)](Requests& requests, RequestId, const std::stop_token&) {
    if (!snapshot) throw Error(ErrorCode::badArgument, "snapshot: expected one, found none");
    requests.remember(*snapshot);
  };
  return impl_->submit(work, true);
}

void Engine::cancel(RequestId request) {
  impl_->cancelWhere([request](RequestId id) { return id == request; });
}

void Engine::cancelAll() {
  impl_->cancelWhere([](RequestId) { return true; });
}

bool Engine::poll(EngineEvent& event) {
  if (!impl_->outbox.poll(event)) return false;
  if (event.request != 0 && isLast(event.kind)) impl_->outstanding.fetch_sub(1);
  return true;
}

bool Engine::pollFrame(TraceFrame& frame) {
  return impl_->outbox.pollFrame(frame);
}

std::uint64_t Engine::droppedFrames() const {
  return impl_->outbox.droppedFrames();
}

void Engine::setWake(std::function<void()> wake) {
  impl_->outbox.setWake(std::move(wake));
}

bool Engine::busy() const {
  return impl_->outstanding.load() > 0;
}

}  // namespace eyrie::engine
