// What a stream or a graph was given, in order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <utility>
#include <variant>

#include "tests/cuda_emulator/kernel_run.h"

namespace eyrie::emulator {

using Work = std::function<void()>;
using Given = std::variant<Work, LaunchedKernel>;

class Piece {
 public:
  explicit Piece(const Given& given) {
    if (const auto* kernel = std::get_if<LaunchedKernel>(&given)) {
      run_ = std::make_unique<KernelRun>(*kernel);
      early_ = kernel->shape.early;
    } else {
      work_ = std::get<Work>(given);
    }
  }
  bool isEarly() const { return early_; }
  void begin() { run_->begin(); }
  void finish() { run_ ? run_->finish() : work_(); }

 private:
  Work work_;
  std::unique_ptr<KernelRun> run_;
  bool early_ = false;
};

class Pieces {
 public:
  void give(const Given& given) { left_.emplace_back(given); }
  void clear() { left_.clear(); }
  // The first of those left, and the beginnings of the early launches that follow it among the first `asked`.
  void doNext(std::size_t asked) {
    constexpr std::size_t kMostInFlight = 4;
    const std::size_t end = std::min(asked, kMostInFlight);
    for (std::size_t i = 1; i < end && left_[i].isEarly(); ++i) left_[i].begin();
    Piece next = std::move(left_.front());
    left_.pop_front();
    next.finish();
  }

 private:
  std::deque<Piece> left_;
};

}  // namespace eyrie::emulator
