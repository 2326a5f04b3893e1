#include "tests/cuda_emulator/fibre.h"

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace eyrie::emulator {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kStackBytes = 256 * 1024;
void beginSwitch(void** fakeStack, const void* bottom, std::size_t bytes) {
  __sanitizer_start_switch_fiber(fakeStack, bottom, bytes);
}
void endSwitch(void* fakeStack, const void** bottom, std::size_t* bytes) {
  __sanitizer_finish_switch_fiber(fakeStack, bottom, bytes);
}
void forgetFrames(char* bottom, std::size_t bytes) {
  __asan_unpoison_memory_region(bottom, bytes);
}
#define EYRIE_SET_JUMP(place) _setjmp(place)
#define EYRIE_LONG_JUMP(place) _longjmp(place, 1)
#else
#define EYRIE_SET_JUMP(place) __builtin_setjmp(place)
#define EYRIE_LONG_JUMP(place) __builtin_longjmp(place, 1)
constexpr std::size_t kStackBytes = 64 * 1024;
void beginSwitch(void**, const void*, std::size_t) {}
void endSwitch(void*, const void**, std::size_t*) {}
void forgetFrames(char*, std::size_t) {}
#endif

std::size_t pageBytes() {
  static const auto bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

}  // namespace

// Stacks begin at different places of a page: all of a warp's are in use by turns, and would share the few
// lines of the cache that one place has.
Fibre::Fibre() : stackBytes_(kStackBytes) {
  static std::size_t made = 0;
  constexpr std::size_t kPlaces = 31;
  begin_ = made++ % kPlaces * 128;
  void* memory = mmap(nullptr, pageBytes() + stackBytes_, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, pageBytes(), PROT_NONE);
  memory_ = static_cast<char*>(memory);
}

Fibre::~Fibre() {
  forgetFrames(memory_ + pageBytes(), stackBytes_);
  munmap(memory_, pageBytes() + stackBytes_);
}

void Fibre::start(Job job, void* data) {
  job_ = job;
  data_ = data;
}

void Fibre::resume() {
  if (EYRIE_SET_JUMP(outside_) == 0) {
    beginSwitch(&fakeStackOutside_, memory_ + pageBytes(), stackBytes_);
    if (entered_) EYRIE_LONG_JUMP(inside_);
    entered_ = true;
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = memory_ + pageBytes();
    context.uc_stack.ss_size = stackBytes_ - begin_;
    context.uc_link = nullptr;
    const auto self = reinterpret_cast<std::uintptr_t>(this);
    makecontext(&context, reinterpret_cast<void (*)()>(enter), 2, static_cast<unsigned>(self >> 32),
                static_cast<unsigned>(self));
    setcontext(&context);
  }
  endSwitch(fakeStackOutside_, nullptr, nullptr);
}

void Fibre::pause() {
  if (EYRIE_SET_JUMP(inside_) == 0) leave();
  endSwitch(fakeStackInside_, &outsideBottom_, &outsideBytes_);
}

void Fibre::leave() {
  beginSwitch(&fakeStackInside_, outsideBottom_, outsideBytes_);
  EYRIE_LONG_JUMP(outside_);
}

void Fibre::enter(unsigned high, unsigned low) {
  auto* self = reinterpret_cast<Fibre*>(std::uintptr_t{high} << 32 | low);
  endSwitch(nullptr, &self->outsideBottom_, &self->outsideBytes_);
  self->loop();
}

void Fibre::loop() {
  for (;;) {
    job_(data_);
    pause();
  }
}

}  // namespace eyrie::emulator
