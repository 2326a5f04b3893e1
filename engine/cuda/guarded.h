// What the card or the driver says becomes an Error.
#pragma once

#include <fmt/core.h>

#include "engine/error.h"
#include "kernels/cuda/runtime.h"

namespace eyrie::engine {

template <typename Work>
auto guarded(const Work& work) -> decltype(work()) {
  constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
  try {
    return work();
  } catch (const kernels::cuda::OutOfDeviceMemory& error) {
    throw Error(ErrorCode::outOfMemory,
                fmt::format("cuda: {:.2f} GiB of device memory needed, {:.2f} GiB free; use --backend cpu",
                            double(error.asked()) / kGiB, double(error.free()) / kGiB));
  } catch (const kernels::cuda::CudaError& error) {
    throw Error(ErrorCode::deviceFailed, fmt::format("cuda: {}; use --backend cpu", error.what()));
  }
}

}  // namespace eyrie::engine
