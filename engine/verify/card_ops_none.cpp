// The checks of a card where the build has no CUDA.
#include "engine/error.h"
#include "engine/verify/card_ops.h"

namespace eyrie::engine::verify {
namespace {

[[noreturn]] void noCuda() {
  throw Error(ErrorCode::unsupported, "cuda: no device (built without CUDA)");
}

}  // namespace

std::vector<CheckResult> checkCardOps() {
  noCuda();
}

std::vector<CardTime> timeCardOps(std::int64_t) {
  noCuda();
}

CardCrossover measureCrossover(std::int64_t) {
  noCuda();
}

}  // namespace eyrie::engine::verify
