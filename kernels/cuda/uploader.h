// Host memory to the card at the speed of the bus: all cores put the next piece into pinned memory while one
// travels.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "kernels/cuda/runtime.h"
#include "kernels/thread_pool.h"

namespace eyrie::kernels::cuda {

class Uploader {
 public:
  Uploader() {
    for (Piece& piece : pieces_) piece.memory = PinnedMemory(kPieceBytes);
  }

  // `from` is not needed afterwards.
  void copy(std::byte* to, const void* from, std::size_t bytes) {
    const auto* source = static_cast<const std::byte*>(from);
    for (std::size_t done = 0; done < bytes;) {
      Piece& piece = pieces_[next_];
      next_ = (next_ + 1) % pieces_.size();
      const std::size_t n = std::min(kPieceBytes, bytes - done);
      piece.sent.wait();
      pool_.parallelFor(static_cast<std::int64_t>(n), kGrain, [&](std::int64_t begin, std::int64_t end, int) {
        std::memcpy(piece.memory.data() + begin, source + done + begin,
                    static_cast<std::size_t>(end - begin));
      });
      copyToDevice(to + done, piece.memory.data(), n, stream_);
      piece.sent.record(stream_);
      done += n;
    }
  }

  void finish() { stream_.wait(); }
  ThreadPool& pool() { return pool_; }

 private:
  static constexpr std::size_t kPieceBytes = std::size_t{32} << 20;
  static constexpr std::int64_t kGrain = std::int64_t{1} << 18;

  struct Piece {
    PinnedMemory memory;
    Event sent;
  };

  ThreadPool pool_{0};
  OwnedStream stream_;
  std::array<Piece, 2> pieces_;
  std::size_t next_ = 0;
};

}  // namespace eyrie::kernels::cuda
