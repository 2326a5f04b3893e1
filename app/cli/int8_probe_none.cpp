#include "app/cli/int8_probe.h"

namespace eyrie::app {

std::unique_ptr<Int8Probe> openInt8Probe(int threads, std::vector<kernels::cpu::GemmShape> /*shapes*/,
                                         std::string& whyNot) {
  static_cast<void>(threads);
  whyNot = "built without oneDNN";
  return nullptr;
}

}  // namespace eyrie::app
