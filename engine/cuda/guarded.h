// What the card or the driver says becomes an Error.
#pragma once

#include <fmt/core.h>

#include <new>

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
  } catch (const std::bad_alloc&) {  // nothing that the card is to blame for
    throw Error(ErrorCode::outOfMemory,
                "cuda: this machine has too little memory beside the card's; use --backend cpu");
  }
}

}  // namespace eyrie::engine
