// A stack of its own for each kernel thread. Entered once through ucontext; from then on the compiler's own
// setjmp and longjmp change stacks (with the address sanitizer, which watches them, the library's), because
// swapcontext asks the kernel about signals each time.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#include <setjmp.h>
#endif

#include <cstddef>

namespace eyrie::emulator {

// Runs its job whenever it is resumed after the last one ended. Used by one OS thread.
class Fibre {
 public:
  using Job = void (*)(void* data);

  Fibre();
  ~Fibre();
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;

  // What the next resume() begins with.
  void start(Job job, void* data);
  // From outside: goes on until the fibre pauses or its job ends.
  void resume();
  // From inside: back to where resume() was called.
  void pause();

 private:
  static void enter(unsigned high, unsigned low);
  void loop();
  void leave();

  char* memory_ = nullptr;  // a guard page, then the stack
  std::size_t stackBytes_ = 0;
  std::size_t begin_ = 0;  // bytes at the stack's beginning that are left unused
  bool entered_ = false;
  Job job_ = nullptr;
  void* data_ = nullptr;
#if defined(__SANITIZE_ADDRESS__)
  jmp_buf inside_;
  jmp_buf outside_;
#else
  void* inside_[5];
  void* outside_[5];
#endif
  void* fakeStackInside_ = nullptr;
  void* fakeStackOutside_ = nullptr;
  const void* outsideBottom_ = nullptr;
  std::size_t outsideBytes_ = 0;
};

}  // namespace eyrie::emulator
