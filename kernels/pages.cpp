#include "kernels/pages.h"

#include <sys/mman.h>

#include <cstdint>

namespace eyrie::kernels {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::size_t wholeHugePages(std::size_t bytes) {
  return (bytes + kHugePage - 1) / kHugePage * kHugePage;
}

void* mapMemory(std::size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) throw std::bad_alloc();
  return data;
}

void preferHugePages([[maybe_unused]] void* data, [[maybe_unused]] std::size_t bytes) {
#ifdef MADV_HUGEPAGE
  madvise(data, bytes, MADV_HUGEPAGE);
#endif
}

}  // namespace

Pages::Pages(std::size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  data_ = mapMemory(bytes);
  preferHugePages(data_, bytes);
}

Pages::~Pages() {
  if (data_ != nullptr) munmap(data_, size_);
}

// A mapping begins on any page: of one huge page more, what lies before and after the wanted ones goes back.
void* allocateHugePages(std::size_t bytes) {
  const std::size_t wanted = wholeHugePages(bytes);
  if (wanted < bytes || wanted + kHugePage < wanted) throw std::bad_alloc();
  auto* mapped = static_cast<std::byte*>(mapMemory(wanted + kHugePage));
  const auto address = reinterpret_cast<std::uintptr_t>(mapped);
  const std::size_t before = wholeHugePages(address) - address;
  if (before > 0) munmap(mapped, before);
  if (before < kHugePage) munmap(mapped + before + wanted, kHugePage - before);
  preferHugePages(mapped + before, wanted);
  return mapped + before;
}

void freeHugePages(void* data, std::size_t bytes) noexcept {
  munmap(data, wholeHugePages(bytes));
}

}  // namespace eyrie::kernels
