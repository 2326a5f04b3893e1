// The card under the checks, and its time.
#pragma once

#include <functional>

#include "engine/cuda/guarded.h"
#include "engine/verify/card_cases.h"

namespace eyrie::engine::verify {

inline constexpr std::uint64_t kCardSeed = 11;

// Of RecurrentGemma 9B.
CardShape largeCardShape(std::int64_t divisor);
// The first card, used by this thread from now on. Throws Error(unsupported).
kernels::cuda::DeviceFacts takeCard();
// Seconds of one `enqueue` among so many that starting them and waiting for them do not count.
double secondsOnCard(const std::function<void(kernels::cuda::Stream)>& enqueue);

// work(facts) on the card; what it says becomes an Error.
template <typename Work>
auto onCard(const Work& work) {
  return guarded([&] { return work(takeCard()); });
}

}  // namespace eyrie::engine::verify
