#include "kernels/rg_lru.h"

namespace eyrie::kernels::cpu {

void rgLru(const RgLruArgs& args, ThreadPool&) {
  reference::rgLru(args);
}

}  // namespace eyrie::kernels::cpu
