#include "kernels/embed.h"

namespace eyrie::kernels::cpu {

void embed(const EmbedArgs& args, ThreadPool&) {
  reference::embed(args);
}

}  // namespace eyrie::kernels::cpu
