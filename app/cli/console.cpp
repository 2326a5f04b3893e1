#include "app/cli/console.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <string>
#include <thread>

#include "app/cli/command.h"
#include "engine/error.h"

namespace eyrie::app {

void wrongUsage(const std::string& message) {
  throw CLI::ValidationError(message);
}

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) {
    throw engine::Error(engine::ErrorCode::ioFailed, "writing to standard output failed");
  }
}

void flushOutput() {
  if (std::fflush(stdout) != 0) {
    throw engine::Error(engine::ErrorCode::ioFailed, "writing to standard output failed");
  }
}

void printLine(const Json& object) {
  print(object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  flushOutput();
}

void note(std::string_view message) {
  std::fwrite(message.data(), 1, message.size(), stderr);
  std::fputc('\n', stderr);
}

void complain(std::string_view message) {
  note("eyrie-cli: " + plain(message));
}

std::string plain(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0U;
    const bool wide = c == 0xC2 && next >= 0x80 && next < 0xA0;  // U+0080 to U+009F in UTF-8
    out += c < 0x20 || c == 0x7f || wide ? '?' : text[i];
    if (wide) ++i;
  }
  return out;
}

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

namespace {

// The handler may only do what is safe in one: it writes to a pipe, and a thread passes the request on.
constexpr std::array kStopSignals = {SIGINT, SIGTERM, SIGHUP};
std::atomic<int> pipeEnd{-1};
volatile sig_atomic_t presses = 0;

void onInterrupt(int) {
  presses = presses + 1;
  if (presses > 1) _exit(kCancelled);
  const char byte = 1;
  [[maybe_unused]] const auto written = write(pipeEnd.load(), &byte, 1);
}

}  // namespace

struct Interrupt::Impl {
  std::stop_source source;
  int ends[2] = {-1, -1};
  std::array<struct sigaction, kStopSignals.size()> before = {};
  std::thread watcher;
};

Interrupt::Interrupt() : impl_(std::make_unique<Impl>()) {
  if (pipe(impl_->ends) != 0) throw engine::Error(engine::ErrorCode::ioFailed, "no pipe for Ctrl-C");
  pipeEnd = impl_->ends[1];
  impl_->watcher = std::thread([impl = impl_.get()] {
    char byte = 0;
    while (read(impl->ends[0], &byte, 1) == 1) {
      if (byte == 0) return;
      impl->source.request_stop();
    }
  });
  struct sigaction action = {};
  action.sa_handler = onInterrupt;
  action.sa_flags = SA_RESTART;
  for (std::size_t i = 0; i < kStopSignals.size(); ++i) {
    sigaction(kStopSignals[i], nullptr, &impl_->before[i]);
    const bool nohup = kStopSignals[i] == SIGHUP && impl_->before[i].sa_handler == SIG_IGN;
    if (!nohup) sigaction(kStopSignals[i], &action, nullptr);
  }
}

Interrupt::~Interrupt() {
  for (std::size_t i = 0; i < kStopSignals.size(); ++i)
    sigaction(kStopSignals[i], &impl_->before[i], nullptr);
  const char done = 0;
  [[maybe_unused]] const auto written = write(impl_->ends[1], &done, 1);
  impl_->watcher.join();
  close(impl_->ends[0]);
  close(impl_->ends[1]);
}

std::stop_token Interrupt::token() const {
  return impl_->source.get_token();
}

}  // namespace eyrie::app
