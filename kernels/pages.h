// Memory of whole pages, huge ones where the system has them: streaming through them costs fewer look-ups.
#pragma once

#include <cstddef>
#include <new>
#include <span>

namespace eyrie::kernels {

// Zero-filled, aligned to a page. Throws std::bad_alloc.
class Pages {
 public:
  explicit Pages(std::size_t bytes);
  ~Pages();
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  std::span<std::byte> bytes() const { return {static_cast<std::byte*>(data_), size_}; }

 private:
  void* data_ = nullptr;
  std::size_t size_;
};

// `bytes` from the first of a huge page on, not filled. Throws std::bad_alloc.
void* allocateHugePages(std::size_t bytes);
void freeHugePages(void* data, std::size_t bytes) noexcept;  // `bytes` as allocated

// For containers that are copied while somebody waits: what takes most of a huge page gets whole ones, for
// fresh memory costs most by the number of pages (a virtual machine's host may have to find each).
template <typename T>
struct HugePageAllocator {
  using value_type = T;
  static constexpr std::size_t kFrom = std::size_t{3} << 19;  // bytes

  T* allocate(std::size_t n) {
    if (n > static_cast<std::size_t>(-1) / sizeof(T)) throw std::bad_array_new_length();
    const std::size_t bytes = n * sizeof(T);
    return static_cast<T*>(bytes < kFrom ? ::operator new(bytes) : allocateHugePages(bytes));
  }
  void deallocate(T* data, std::size_t n) noexcept {
    if (n * sizeof(T) < kFrom) {
      ::operator delete(data);
    } else {
      freeHugePages(data, n * sizeof(T));
    }
  }
  bool operator==(const HugePageAllocator&) const = default;
};

}  // namespace eyrie::kernels
