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
// How many copies of an op that moves `bytes`, run in turns, no card's cache holds; at most two where
// `divisor` says that somebody only tries it out.
std::int64_t copiesBeyondCache(double bytes, std::int64_t divisor);
// Seconds of one `enqueue`, of which there are `kinds` in turns, among so many that starting them and waiting
// for them do not count: the median of several times.
double secondsOnCard(const std::function<void(kernels::cuda::Stream)>& enqueue, std::int64_t kinds);

// work(facts) on the card; what it says becomes an Error.
template <typename Work>
auto onCard(const Work& work) {
  return guarded([&] { return work(takeCard()); });
}

}  // namespace eyrie::engine::verify
