// Whether a sanitizer watches this test: it keeps memory of its own and takes its time, so bounds on memory
// say nothing and long runs prove no more than short ones.
#pragma once

namespace eyrie {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace eyrie
