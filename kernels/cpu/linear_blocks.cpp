#include "kernels/cpu/linear_blocks.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/cpu/grain.h"
#include "kernels/cpu/parts.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/linear_blocks.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {
namespace {

// The names are those of the papers on this way to multiply (Goto, BLIS), with tokens for rows of A and rows
// of w for columns of B. A panel of w (2 vectors of rows by kBlockCols) stays in the first cache while tiles
// of 6 tokens pass; a block of panels and one of tokens stay in the second.
constexpr std::int64_t kTileTokens = 6;  // 12 sums, 2 weights and an x fill AVX2's 16 registers
constexpr std::int64_t kBlockCols = 320;
constexpr std::int64_t kBlockPanels = 8;
constexpr std::int64_t kBlockTiles = 16;

std::int64_t panelRows() {
  return 2 * laneCount();
}

Parts tilesOf(const LinearArgs& args) {
  return {args.T, kTileTokens};
}
Parts columnsOf(const LinearArgs& args) {
  return {args.weight.cols, kBlockCols, 16};
}

// x as the kernel reads it: for each part of the columns, of each tile after tile of tokens, of each column
// what all its tokens multiply.
struct Arranged {
  const float* x;
  std::int64_t T;
  HWY_INLINE const float* tile(std::int64_t t, std::int64_t from, std::int64_t cols) const {
    return x + from * T + t * cols;
  }
};

void arrangeTile(const LinearArgs& args, std::int64_t t, std::int64_t tokens, float* room) {
  const std::int64_t cols = args.weight.cols;
  const Parts parts = columnsOf(args);
  for (std::int64_t part = 0; part < parts.count; ++part) {
    const std::int64_t from = parts.begin(part);
    const std::int64_t n = parts.size(part);
    float* to = room + from * args.T + t * n;
    for (std::int64_t c = 0; c < n; ++c)
      for (std::int64_t i = 0; i < tokens; ++i) to[c * tokens + i] = args.x[(t + i) * cols + from + c];
  }
}

Arranged arrange(const LinearArgs& args, ThreadPool& pool, std::vector<float>& room) {
  room.resize(static_cast<std::size_t>(args.T * args.weight.cols));
  const Parts tiles = tilesOf(args);
  const auto perTile = static_cast<double>(kTileTokens * args.weight.cols);
  pool.parallelFor(tiles.count, grainFor(perTile), [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t tile = begin; tile < end; ++tile)
      arrangeTile(args, tiles.begin(tile), tiles.size(tile), room.data());
  });
  return {room.data(), args.T};
}

// Four rows of w, a vector of columns: the columns follow one another in `to`, a panel's rows apart.
template <class Stored>
HWY_INLINE void turnFour(const Stored* const (&rows)[4], std::int64_t at, float* to) {
#if HWY_TARGET == HWY_SCALAR
  for (int r = 0; r < 4; ++r) to[r] = hn::GetLane(loadWide(rows[r] + at));
#else
  const FloatTag d;
  const hn::RepartitionToWide<FloatTag> pairs;
  const FloatVec a = loadWide(rows[0] + at);
  const FloatVec b = loadWide(rows[1] + at);
  const FloatVec c = loadWide(rows[2] + at);
  const FloatVec e = loadWide(rows[3] + at);
  const auto abLower = hn::BitCast(pairs, hn::InterleaveLower(d, a, b));
  const auto abUpper = hn::BitCast(pairs, hn::InterleaveUpper(d, a, b));
  const auto ceLower = hn::BitCast(pairs, hn::InterleaveLower(d, c, e));
  const auto ceUpper = hn::BitCast(pairs, hn::InterleaveUpper(d, c, e));
  // Of each 128-bit block the column that its number is.
  const FloatVec turned[4] = {hn::BitCast(d, hn::InterleaveLower(pairs, abLower, ceLower)),
                              hn::BitCast(d, hn::InterleaveUpper(pairs, abLower, ceLower)),
                              hn::BitCast(d, hn::InterleaveLower(pairs, abUpper, ceUpper)),
                              hn::BitCast(d, hn::InterleaveUpper(pairs, abUpper, ceUpper))};
  const std::int64_t apart = panelRows();
  HWY_ALIGN float lanes[kMaxLanes];
  for (int i = 0; i < 4; ++i) {
    hn::Store(turned[i], d, lanes);
    for (std::int64_t block = 0; block < laneCount(); block += 4)
      std::memcpy(to + (block + i) * apart, lanes + block, 4 * sizeof(float));
  }
#endif
}

// A panel of w: of each column what all its rows multiply, zeros for rows behind the last.
template <class Stored>
void layOut(const MatrixView& w, std::int64_t row, std::int64_t from, std::int64_t n, float* to) {
  const std::int64_t apart = panelRows();
  const std::int64_t rows = std::min(apart, w.rows - row);
  if (rows < apart) std::fill_n(to, apart * n, 0.0F);
  const Stored* first = static_cast<const Stored*>(w.data) + row * w.cols + from;
  const std::int64_t lanes = laneCount();
  std::int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    const Stored* const four[] = {first + r * w.cols, first + (r + 1) * w.cols, first + (r + 2) * w.cols,
                                  first + (r + 3) * w.cols};
    std::int64_t c = 0;
    for (; c + lanes <= n; c += lanes) turnFour<Stored>(four, c, to + c * apart + r);
    for (; c < n; ++c)
      for (int i = 0; i < 4; ++i) to[c * apart + r + i] = hn::GetLane(loadTail(four[i] + c, 1));
  }
  for (; r < rows; ++r)
    for (std::int64_t c = 0; c < n; ++c) to[c * apart + r] = hn::GetLane(loadTail(first + r * w.cols + c, 1));
}

// Where a tile's sums go, and what is added to them. Until the last part of the columns they wait in memory
// of their own: the output's rows are so far apart that each token would take a page of it.
struct Target {
  const float* before;  // null: nothing
  std::int64_t beforeApart;
  float* to;
  std::int64_t apart;  // from token to token
  std::int64_t rows;   // of the panel, that exist

  HWY_INLINE void add(int t, FloatVec lower, FloatVec upper) const {
    const float* const from = before == nullptr ? nullptr : before + t * beforeApart;
    float* const place = to + t * apart;
    if (rows >= panelRows()) {
      if (from != nullptr) {
        lower = hn::Add(lower, hn::LoadU(FloatTag(), from));
        upper = hn::Add(upper, hn::LoadU(FloatTag(), from + laneCount()));
      }
      hn::StoreU(lower, FloatTag(), place);
      hn::StoreU(upper, FloatTag(), place + laneCount());
      return;
    }
    HWY_ALIGN float sums[2 * kMaxLanes];
    hn::Store(lower, FloatTag(), sums);
    hn::Store(upper, FloatTag(), sums + laneCount());
    for (std::int64_t r = 0; r < rows; ++r) place[r] = from == nullptr ? sums[r] : sums[r] + from[r];
  }
};

template <int kTokens>
HWY_NOINLINE void tileOf(const float* x, const float* w, std::int64_t n, const Target& target) {
  const std::int64_t lanes = laneCount();
  FloatVec sums[kTokens][2];
  for (auto& token : sums) token[0] = token[1] = hn::Zero(FloatTag());
  const auto addColumn = [&](std::int64_t c) HWY_ATTR {
    const FloatVec lower = hn::LoadU(FloatTag(), w + 2 * c * lanes);
    const FloatVec upper = hn::LoadU(FloatTag(), w + (2 * c + 1) * lanes);
    for (int t = 0; t < kTokens; ++t) {
      const FloatVec factor = hn::Set(FloatTag(), x[c * kTokens + t]);
      sums[t][0] = addProduct(sums[t][0], lower, factor);
      sums[t][1] = addProduct(sums[t][1], upper, factor);
    }
  };
  constexpr std::int64_t kUnrolled = 4;
  std::int64_t c = 0;
  for (; c + kUnrolled <= n; c += kUnrolled) {
    addColumn(0);
    addColumn(1);
    addColumn(2);
    addColumn(3);
    w += kUnrolled * 2 * lanes;
    x += kUnrolled * kTokens;
  }
  for (; c < n; ++c) {
    addColumn(0);
    w += 2 * lanes;
    x += kTokens;
  }
  for (int t = 0; t < kTokens; ++t) target.add(t, sums[t][0], sums[t][1]);
}

void tile(std::int64_t tokens, const float* x, const float* w, std::int64_t n, const Target& target) {
  switch (tokens) {
    case 1:
      return tileOf<1>(x, w, n, target);
    case 2:
      return tileOf<2>(x, w, n, target);
    case 3:
      return tileOf<3>(x, w, n, target);
    case 4:
      return tileOf<4>(x, w, n, target);
    case 5:
      return tileOf<5>(x, w, n, target);
    default:
      return tileOf<6>(x, w, n, target);
  }
}

// A block of w: up to kBlockPanels panels of rows, of one part of the columns.
struct Block {
  std::int64_t row, rows;
  std::int64_t from, cols;
};

// The rows [begin, end) of w, block after block: all columns of some rows, then the rows that follow.
struct Blocks {
  std::int64_t begin, end;
  Parts cols;
  std::int64_t rows = kBlockPanels * panelRows();
  std::int64_t count = (end - begin + rows - 1) / rows * cols.count;

  Block at(std::int64_t index) const {
    const std::int64_t row = begin + index / cols.count * rows;
    const std::int64_t part = index % cols.count;
    return {row, std::min(rows, end - row), cols.begin(part), cols.size(part)};
  }
};

// Brings the weights of a block into the second cache, line by line, while the one before is multiplied.
class Fetch {
 public:
  Fetch() = default;
  Fetch(const MatrixView& w, std::int64_t element, const Block& block)
      : at_(static_cast<const std::byte*>(w.data) + (block.row * w.cols + block.from) * element),
        apart_(w.cols * element),
        bytes_(block.cols * element),
        rows_(block.rows) {}

  HWY_INLINE void lines(int n) {
    constexpr std::int64_t kLine = 64;
    for (; n > 0 && rows_ > 0; --n) {
      __builtin_prefetch(at_ + line_, 0, 2);
      line_ += kLine;
      if (line_ < bytes_) continue;
      line_ = 0;
      at_ += apart_;
      --rows_;
    }
  }

 private:
  const std::byte* at_ = nullptr;
  std::int64_t apart_ = 0;
  std::int64_t bytes_ = 0;
  std::int64_t rows_ = 0;
  std::int64_t line_ = 0;
};

// The rows [begin, end) of w and all tokens.
template <class Stored>
class BlockProduct {
 public:
  BlockProduct(const LinearArgs& args, const Arranged& in) : args_(args), in_(in) {}

  void run(std::int64_t begin, std::int64_t end) {
    const std::int64_t height = panelRows();
    const Blocks blocks{begin, end, columnsOf(args_)};
    panels_.resize(static_cast<std::size_t>(blocks.rows * kBlockCols));
    waiting_.resize(static_cast<std::size_t>(blocks.rows * args_.T));
    for (std::int64_t index = 0; index < blocks.count; ++index) {
      const Block block = blocks.at(index);
      for (std::int64_t r = 0; r < block.rows; r += height)
        layOut<Stored>(args_.weight, block.row + r, block.from, block.cols, panels_.data() + r * block.cols);
      Fetch next;
      if (index + 1 < blocks.count) next = Fetch(args_.weight, sizeof(Stored), blocks.at(index + 1));
      multiply(block, next);
    }
  }

 private:
  void multiply(const Block& block, Fetch& next) {
    constexpr int kLinesATile = 2;  // of a block all, where there are 500 tokens
    const Parts tiles = tilesOf(args_);
    for (std::int64_t first = 0; first < tiles.count; first += kBlockTiles) {
      const std::int64_t last = std::min(tiles.count, first + kBlockTiles);
      for (std::int64_t r = 0; r < block.rows; r += panelRows()) {
        for (std::int64_t i = first; i < last; ++i) {
          const std::int64_t t = tiles.begin(i);
          next.lines(kLinesATile);
          tile(tiles.size(i), in_.tile(t, block.from, block.cols), panels_.data() + r * block.cols,
               block.cols, target(block, r, t));
        }
      }
    }
  }

  HWY_INLINE Target target(const Block& block, std::int64_t r, std::int64_t t) {
    const std::int64_t row = block.row + r;
    const std::int64_t rows = args_.weight.rows;
    const std::int64_t width = kBlockPanels * panelRows();
    float* const waiting = waiting_.data() + t * width + r;
    Target target{waiting, width, waiting, width, panelRows()};
    if (block.from == 0) {
      target.before = args_.bias == nullptr ? nullptr : args_.bias + row;
      target.beforeApart = 0;
    }
    if (block.from + block.cols == args_.weight.cols) {
      target.to = args_.out + t * rows + row;
      target.apart = rows;
    }
    target.rows = std::min(panelRows(), rows - row);
    return target;
  }

  const LinearArgs& args_;
  const Arranged& in_;
  inline static thread_local std::vector<float> panels_;   // of a block, laid out
  inline static thread_local std::vector<float> waiting_;  // (T, rows of a block)
};

template <class Stored>
void productOf(const LinearArgs& args, ThreadPool& pool) {
  thread_local std::vector<float> room;
  const Arranged in = arrange(args, pool, room);
  const double perRow = 0.03 * static_cast<double>(args.weight.cols * args.T);
  pool.parallelFor(
      args.weight.rows, grainFor(perRow, kBlockPanels * panelRows()),
      [&](std::int64_t begin, std::int64_t end, int) { BlockProduct<Stored>(args, in).run(begin, end); });
}

}  // namespace

void linearBlocks(const LinearArgs& args, ThreadPool& pool) {
  withStored(args.weight.dtype, [&](auto element) HWY_ATTR { productOf<decltype(element)>(args, pool); });
}

}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::kernels::cpu {

HWY_EXPORT(linearBlocks);

void linearByBlocks(const LinearArgs& args, ThreadPool& pool) {
  HWY_DYNAMIC_DISPATCH(linearBlocks)(args, pool);
}

}  // namespace eyrie::kernels::cpu
#endif
