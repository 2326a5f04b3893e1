#include "kernels/pages.h"

#include <sys/mman.h>

#include <cstdint>

namespace eyrie::kernels {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::size_t wholeHugePages(std::size_t bytes) {
  return (bytes + kHugePage - 1) / kHugePage * kHugePage;
}

}  // namespace

Pages::Pages(std::size_t bytes) : size_(bytes) {
  if (bytes > 0) data_ = allocateHugePages(bytes);
}

Pages::~Pages() {
  if (data_ != nullptr) freeHugePages(data_, size_);
}

// A mapping begins on any page: of one huge page more, what lies before and after the wanted ones goes back.
void* allocateHugePages(std::size_t bytes) {
  const std::size_t wanted = wholeHugePages(bytes);
  if (wanted < bytes || wanted + kHugePage < wanted) throw std::bad_alloc();
  void* const memory =
      mmap(nullptr, wanted + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  auto* const mapped = static_cast<std::byte*>(memory);
  const auto address = reinterpret_cast<std::uintptr_t>(mapped);
  const std::size_t before = wholeHugePages(address) - address;
  if (before > 0) munmap(mapped, before);
  if (before < kHugePage) munmap(mapped + before + wanted, kHugePage - before);
#ifdef MADV_HUGEPAGE
  madvise(mapped + before, wanted, MADV_HUGEPAGE);
#endif
  return mapped + before;
}

void freeHugePages(void* data, std::size_t bytes) noexcept {
  munmap(data, wholeHugePages(bytes));
}

}  // namespace eyrie::kernels
