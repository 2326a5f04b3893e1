#include "engine/cuda/make_cuda_backend.h"
#include "engine/error.h"

namespace eyrie::engine {

std::unique_ptr<Backend> makeCudaBackend(const Weights&, const std::filesystem::path&, bool) {
  throw Error(ErrorCode::unsupported, "cuda: no device (built without CUDA); use --backend cpu");
}

}  // namespace eyrie::engine
