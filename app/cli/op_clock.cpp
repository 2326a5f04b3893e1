#include "app/cli/op_clock.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "kernels/cpu/ceilings.h"
#include "kernels/packed_matrix.h"

namespace eyrie::app {
namespace {

using engine::CpuOps;

struct Clock {
  bool running = false;
  // Alone is counted: where threads run ops side by side, its share of them takes as long as all do.
  std::thread::id thread;
  bool afterRecurrence = false;
  OpSeconds seconds{};
};
Clock clock;
bool readsOnly = false;

TimedOp placeOf(TimedOp op) {
  if (op == TimedOp::mlpGate && clock.afterRecurrence) op = TimedOp::outputGate;
  clock.afterRecurrence = op == TimedOp::recurrence;
  return op;
}

template <auto kernel, TimedOp op>
struct Timed;

template <class Result, class... Args, Result (*CpuOps::*kernel)(Args...), TimedOp op>
struct Timed<kernel, op> {
  static Result run(Args... args) {
    const auto call = engine::fastOps().*kernel;
    if (!clock.running || clock.thread != std::this_thread::get_id()) return call(args...);
    struct Lap {
      std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
      ~Lap() {
        const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
        clock.seconds[static_cast<std::size_t>(placeOf(op))] += passed.count();
      }
    };
    const Lap lap;
    return call(args...);
  }
};

void linear(const kernels::LinearArgs& args, kernels::ThreadPool& pool) {
  if (!readsOnly || args.T != 1) return Timed<&CpuOps::linear, TimedOp::linear>::run(args, pool);
  kernels::cpu::readAll(args.weight.data, kernels::matrixBytes(args.weight), pool);
  std::fill_n(args.out, args.weight.rows, 0.0F);
}

CpuOps makeTimedOps() {
  CpuOps ops = engine::fastOps();
  ops.embed = &Timed<&CpuOps::embed, TimedOp::rest>::run;
  ops.rmsNorm = &Timed<&CpuOps::rmsNorm, TimedOp::rest>::run;
  ops.linear = &linear;
  ops.blockLinear = &Timed<&CpuOps::blockLinear, TimedOp::gates>::run;
  ops.conv1d = &Timed<&CpuOps::conv1d, TimedOp::convolution>::run;
  ops.rgLru = &Timed<&CpuOps::rgLru, TimedOp::recurrence>::run;
  ops.complexRgLru = &Timed<&CpuOps::complexRgLru, TimedOp::recurrence>::run;
  ops.gatedActivation = &Timed<&CpuOps::gatedActivation, TimedOp::mlpGate>::run;
  ops.rope = &Timed<&CpuOps::rope, TimedOp::attention>::run;
  ops.attention = &Timed<&CpuOps::attention, TimedOp::attention>::run;
  ops.softCap = &Timed<&CpuOps::softCap, TimedOp::rest>::run;
  ops.logitStats = &Timed<&CpuOps::logitStats, TimedOp::rest>::run;
  ops.topK = &Timed<&CpuOps::topK, TimedOp::rest>::run;
  return ops;
}

}  // namespace

const CpuOps& timedOps() {
  static const CpuOps ops = makeTimedOps();
  return ops;
}

void startOpClock() {
  clock = {.running = true, .thread = std::this_thread::get_id()};
}

OpSeconds stopOpClock() {
  clock.running = false;
  return clock.seconds;
}

ReadInsteadOfMultiplying::ReadInsteadOfMultiplying() {
  readsOnly = true;
}

ReadInsteadOfMultiplying::~ReadInsteadOfMultiplying() {
  readsOnly = false;
}

}  // namespace eyrie::app
