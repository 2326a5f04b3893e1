// In place of CUDA's own headers where kernels are compiled as C++ to be run by tests; see scheduler.h.
// Included by kernels/cuda/device_code.h alone, which gives the parts that differ the same names on both
// sides.
#pragma once

#include "tests/cuda_emulator/intrinsics.h"
#include "tests/cuda_emulator/matrices.h"
#include "tests/cuda_emulator/scheduler.h"
#include "tests/cuda_emulator/streams.h"
#include "tests/cuda_emulator/vector_types.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

#define EYRIE_SHARED(type, name, dimensions) \
  typedef type name##Array dimensions;       \
  static const char name##Site = 0;          \
  name##Array& name =                        \
      *static_cast<name##Array*>(eyrie::emulator::sharedMemory(&name##Site, sizeof(name##Array)))

#define EYRIE_DYNAMIC_SHARED(type, name) \
  type* const name = static_cast<type*>(eyrie::emulator::dynamicSharedMemory())

namespace eyrie::kernels::cuda {

inline void copyAsync16(void* to, const void* from) {
  emulator::copyAsync(to, from, 16);
}
inline void commitCopies() {
  emulator::commitCopies();
}
template <int kGroupsLeft>
void waitForCopies() {
  emulator::waitForCopies(kGroupsLeft);
}
inline void syncGrid(emulator::Where where = emulator::Where::current()) {
  emulator::barrier(emulator::Scope::grid, where);
}
// The next kernel begins as early as it may, whatever this one says.
inline void letNextBegin() {}
inline void waitForPrior(emulator::Where where = emulator::Where::current()) {
  emulator::waitForPrior(where);
}

}  // namespace eyrie::kernels::cuda
