// Memory of whole pages, huge ones where the system has them: streaming through them costs fewer look-ups.
#pragma once

#include <cstddef>
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

}  // namespace eyrie::kernels
