#include "kernels/cpu/linear_dots.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "kernels/cpu/grain.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/linear_dots.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {
namespace {

// What one step of a dot product takes of a row: vectors of f32. Two bf16 are unpacked from one 32-bit lane,
// so they come as the even and then the odd elements of twice as many; x is put into that order beforehand.
template <class Stored>
constexpr int kVecs = std::is_same_v<Stored, hwy::bfloat16_t> ? 2 : 1;

template <class Stored>
std::int64_t stepCols() {
  return kVecs<Stored> * laneCount();
}

struct UpperHalves {
  HWY_ALIGN std::uint32_t lanes[kMaxLanes];
  constexpr UpperHalves() : lanes() {
    for (std::uint32_t& lane : lanes) lane = 0xffff0000U;
  }
};
constexpr UpperHalves kUpperHalves;

template <int kVec>
HWY_INLINE FloatVec unpack(const float* from) {
  return loadWide(from);
}
template <int kVec>
HWY_INLINE FloatVec unpack(const hwy::float16_t* from) {
  return loadWide(from);
}
template <int kVec>
HWY_INLINE FloatVec unpack(const hwy::bfloat16_t* from) {
  const hn::RebindToUnsigned<FloatTag> bits;
#if HWY_TARGET == HWY_SCALAR
  std::uint32_t pair;
  std::memcpy(&pair, from, sizeof pair);
  const auto pairs = hn::Set(bits, pair);
#else
  const hn::Repartition<std::uint8_t, FloatTag> bytes;
  const auto pairs = hn::BitCast(bits, hn::LoadU(bytes, reinterpret_cast<const std::uint8_t*>(from)));
#endif
  if (kVec == 0) return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(pairs));
  // From memory: a register for it would be one too many.
  const std::uint32_t* upper = kUpperHalves.lanes;
  asm("" : "+r"(upper));
  return hn::BitCast(FloatTag(), hn::And(pairs, hn::Load(bits, upper)));
}

// Columns whose sums are made together: this part of six tokens' x stays in the first-level cache.
constexpr std::int64_t kPartCols = 768;

// Parts are about as wide as one another: else the last may be so wide, or its rows so far apart, that the
// cache does not hold it.
template <class Stored>
std::int64_t partCols(std::int64_t cols) {
  const std::int64_t parts = (cols + kPartCols - 1) / kPartCols;
  const std::int64_t step = stepCols<Stored>();
  return std::max(step, ((cols + parts - 1) / std::max<std::int64_t>(parts, 1) + step - 1) / step * step);
}

// As many tokens as AVX2's 16 registers hold sums of beside weights, x and a mask.
constexpr std::int64_t kTileTokens = 6;

struct Tiles {
  std::int64_t T;
  std::int64_t count = (T + kTileTokens - 1) / kTileTokens;
  std::int64_t begin(std::int64_t tile) const { return tile * T / count; }
};

// x as its products with `Stored` weights read it: part after part of the columns, of each tile after tile of
// tokens, of each step after step what all its tokens multiply, with zeros behind the last column.
struct Arranged {
  const float* x;
  std::int64_t T;
  std::int64_t cols;  // with the zeros

  HWY_INLINE const float* tile(std::int64_t t, std::int64_t from, std::int64_t to) const {
    return x + from * T + t * (to - from);
  }
};

template <class Stored>
HWY_INLINE void arrangeStep(const float* from, float* to) {
  if constexpr (kVecs<Stored> == 2) {
    FloatVec even, odd;
    hn::LoadInterleaved2(FloatTag(), from, even, odd);
    hn::StoreU(even, FloatTag(), to);
    hn::StoreU(odd, FloatTag(), to + laneCount());
  } else {
    hn::StoreU(loadWide(from), FloatTag(), to);
  }
}

// `count` columns of one token, whose steps lie `apart`.
template <class Stored>
HWY_INLINE void arrangeRow(const float* from, std::int64_t count, float* to, std::int64_t apart) {
  const std::int64_t step = stepCols<Stored>();
  std::int64_t c = 0;
  for (; c + step <= count; c += step, to += apart) arrangeStep<Stored>(from + c, to);
  if (c == count) return;
  HWY_ALIGN float padded[2 * kMaxLanes] = {};
  std::copy_n(from + c, count - c, padded);
  arrangeStep<Stored>(padded, to);
}

template <class Stored>
Arranged arrangeFor(const LinearArgs& args, std::vector<float>& room) {
  const std::int64_t cols = args.weight.cols;
  const std::int64_t step = stepCols<Stored>();
  const std::int64_t whole = (cols + step - 1) / step * step;
  if (args.T == 1 && kVecs<Stored> == 1 && whole == cols) return {args.x, 1, cols};
  constexpr std::int64_t kLine = 16;  // no vector of x lies in two lines of the cache
  room.resize(static_cast<std::size_t>(args.T * whole + kLine));
  float* base = room.data();
  while (reinterpret_cast<std::uintptr_t>(base) % (kLine * sizeof(float)) != 0) ++base;
  const Tiles tiles{args.T};
  const std::int64_t width = args.T == 1 ? whole : partCols<Stored>(cols);
  for (std::int64_t from = 0; from < cols; from += width) {
    const std::int64_t count = std::min(width, cols - from);
    const std::int64_t padded = std::min(width, whole - from);
    for (std::int64_t tile = 0; tile < tiles.count; ++tile) {
      const std::int64_t begin = tiles.begin(tile);
      const std::int64_t tokens = tiles.begin(tile + 1) - begin;
      float* to = base + from * args.T + begin * padded;
      for (std::int64_t t = 0; t < tokens; ++t)
        arrangeRow<Stored>(args.x + (begin + t) * cols + from, count, to + t * step, tokens * step);
    }
  }
  return {base, args.T, whole};
}

// Dot products of kTokens rows of x with kRows rows of w: kTokens * kRows independent sums, which hide the
// latency of the multiply-add, and each weight is unpacked once for all tokens. Whatever kTokens and kRows
// are, a sum is made in the same order: a row of x gives the same bits alone and among others.
template <int kTokens, int kRows, class Stored>
struct Dots {
  FloatVec sums[kRows][kTokens];

  HWY_INLINE void clear() {
    for (auto& row : sums) {
      for (FloatVec& sum : row) sum = hn::Zero(FloatTag());
    }
  }
  HWY_INLINE void load(const float* from) {
    for (int i = 0; i < kRows * kTokens; ++i)
      sums[i / kTokens][i % kTokens] = hn::LoadU(FloatTag(), from + i * laneCount());
  }
  HWY_INLINE void store(float* to) const {
    for (int i = 0; i < kRows * kTokens; ++i)
      hn::StoreU(sums[i / kTokens][i % kTokens], FloatTag(), to + i * laneCount());
  }
  template <int kVec>
  HWY_INLINE void addVec(const float* in, const Stored* w, std::int64_t stride) {
    FloatVec weights[kRows];
    for (int r = 0; r < kRows; ++r) weights[r] = unpack<kVec>(w + r * stride);
    for (int t = 0; t < kTokens; ++t) {
      FloatVec x = loadWide(in + (t * kVecs<Stored> + kVec) * laneCount());
      for (int r = 0; r < kRows; ++r) sums[r][t] = addProduct(sums[r][t], weights[r], x);
    }
  }
  HWY_INLINE void addStep(const float* in, const Stored* w, std::int64_t stride) {
    addVec<0>(in, w, stride);
    if constexpr (kVecs<Stored> == 2) {
      // Hides that these are the same pairs: GCC would keep them in registers, of which none is left.
      asm("" : "+r"(w));
      addVec<1>(in, w, stride);
    }
  }
  // `n` columns, whole steps, of rows of w that are `stride` apart. Meanwhile as many columns of `fetched`
  // rows from `fetch` on are brought into a cache, the first (kLocality 3) or the second (2).
  template <int kLocality>
  HWY_INLINE void add(const float* in, const Stored* w, std::int64_t stride, std::int64_t n,
                      const Stored* fetch, int fetched) {
    const std::int64_t line = std::max<std::int64_t>(64 / sizeof(Stored), stepCols<Stored>());
    std::int64_t c = 0;
    for (; c + line <= n; c += line) {
      for (int r = 0; r < fetched; ++r) __builtin_prefetch(fetch + r * stride + c, 0, kLocality);
      for (std::int64_t i = 0; i < line; i += stepCols<Stored>()) {
        addStep(in, w + c + i, stride);
        in += kTokens * stepCols<Stored>();
      }
    }
    for (; c < n; c += stepCols<Stored>()) {
      addStep(in, w + c, stride);
      in += kTokens * stepCols<Stored>();
    }
  }
  // `n` columns that fill no step; x has zeros behind them.
  HWY_INLINE void addTail(const float* in, const Stored* w, std::int64_t stride, std::int64_t n) {
    if (n == 0) return;
    HWY_ALIGN Stored padded[kRows * 2 * kMaxLanes] = {};
    for (int r = 0; r < kRows; ++r)
      std::memcpy(padded + r * 2 * kMaxLanes, w + r * stride, static_cast<std::size_t>(n) * sizeof(Stored));
    addStep(in, padded, 2 * kMaxLanes);
  }
  HWY_INLINE void finish(const LinearArgs& args, std::int64_t t, std::int64_t row) const {
    for (int i = 0; i < kTokens; ++i) {
      float* out = args.out + (t + i) * args.weight.rows + row;
      for (int r = 0; r < kRows; ++r)
        out[r] = sumOf(sums[r][i]) + (args.bias == nullptr ? 0.0F : args.bias[row + r]);
    }
  }
};

// So many bytes of each row are asked for ahead of those multiplied; at its end, of the rows that follow.
// Measured: more comes too early for a first cache, and less too late.
constexpr std::int64_t kBytesAhead = 384;

template <int kRows, class Stored>
HWY_INLINE void rowsOfOneToken(const LinearArgs& args, const Arranged& in, std::int64_t row) {
  const std::int64_t cols = args.weight.cols;
  const std::int64_t tail = cols % stepCols<Stored>();
  const Stored* w = static_cast<const Stored*>(args.weight.data) + row * cols;
  Dots<1, kRows, Stored> dots;
  dots.clear();
  const std::int64_t n = cols - tail;
  const std::int64_t ahead = std::min(n, kBytesAhead / static_cast<std::int64_t>(sizeof(Stored)));
  dots.template add<3>(in.x, w, cols, n - ahead, w + ahead, kRows);
  dots.template add<3>(in.x + n - ahead, w + n - ahead, cols, ahead, w + kRows * cols, kRows);
  dots.addTail(in.x + cols - tail, w + cols - tail, cols, tail);
  dots.finish(args, 0, row);
}

// Short rows come from a cache and want as many sums as hide the latency of a multiply-add. Long ones come
// from memory, which answers sooner where fewer of them are read at a time.
template <class Stored>
void oneToken(const LinearArgs& args, const Arranged& in, std::int64_t begin, std::int64_t end) {
  constexpr std::int64_t kLongRow = 4096;  // bytes
  const bool areLong = args.weight.cols * static_cast<std::int64_t>(sizeof(Stored)) >= kLongRow;
  std::int64_t row = begin;
  for (; areLong && row + 4 <= end; row += 4) rowsOfOneToken<4, Stored>(args, in, row);
  for (; row + 8 <= end; row += 8) rowsOfOneToken<8, Stored>(args, in, row);
  for (; row < end; ++row) rowsOfOneToken<1, Stored>(args, in, row);
}

// Rows of w whose parts stay in the second-level cache while all tokens pass by; sums wait in memory from one
// part to the next.
constexpr std::int64_t kPartRows = 24;

struct TokenTile {
  std::int64_t index;
  std::int64_t t;  // the first token
  const float* x;
};

// Rows of the next part to bring into the cache, counted from those that are multiplied.
struct FetchedRows {
  std::int64_t first = 0;
  int count = 0;
};

// One part of w and all tokens.
template <class Stored>
struct DotPart {
  const LinearArgs& args;
  const Arranged& in;
  std::int64_t row, rows;  // of w
  std::int64_t from, to;   // columns
  float* waiting;          // (kPartRows, T) vectors
  Tiles tiles{args.T};

  std::int64_t end = to == args.weight.cols ? in.cols : to;  // of x
  std::int64_t tail = to == args.weight.cols ? to % stepCols<Stored>() : 0;

  // The next part of the weights lies behind this one in the same rows.
  template <int kTokens, int kRows>
  HWY_INLINE float* tile(const TokenTile& tokens, std::int64_t r, FetchedRows fetched, float* sums) const {
    const std::int64_t cols = args.weight.cols;
    const std::int64_t n = to - from - tail;
    const Stored* w = static_cast<const Stored*>(args.weight.data) + (row + r) * cols + from;
    const Stored* next = w + (to < cols ? to - from : kPartRows * cols - from) + fetched.first * cols;
    Dots<kTokens, kRows, Stored> dots;
    if (from == 0) {
      dots.clear();
    } else {
      dots.load(sums);
    }
    dots.template add<2>(tokens.x, w, cols, n, next, fetched.count);
    dots.addTail(tokens.x + kTokens * n, w + n, cols, tail);
    if (to == cols) {
      dots.finish(args, tokens.t, row + r);
    } else {
      dots.store(sums);
    }
    return sums + kTokens * kRows * laneCount();
  }

  // Each tile of tokens fetches some of the next part's rows, so that memory is kept busy evenly.
  template <int kTokens, int kRows>
  HWY_INLINE float* allRows(const TokenTile& tokens, float* sums) const {
    const std::int64_t first = kRows * tokens.index / tiles.count;
    const std::int64_t last = kRows * (tokens.index + 1) / tiles.count;
    const FetchedRows fetched{first, static_cast<int>(last - first)};
    std::int64_t r = 0;
    for (; r + kRows <= rows; r += kRows) sums = tile<kTokens, kRows>(tokens, r, fetched, sums);
    for (; r < rows; ++r) sums = tile<kTokens, 1>(tokens, r, {}, sums);
    return sums;
  }

  HWY_INLINE float* oneTile(std::int64_t tileIdx, float* sums) const {
    const std::int64_t t = tiles.begin(tileIdx);
    const TokenTile tokens{tileIdx, t, in.tile(t, from, end)};
    switch (tiles.begin(tileIdx + 1) - t) {
      case 1:
        return allRows<1, 8>(tokens, sums);
      case 2:
        return allRows<2, 4>(tokens, sums);
      case 3:
        return allRows<3, 3>(tokens, sums);
      case 4:
        return allRows<4, 2>(tokens, sums);
      case 5:
        return allRows<5, 2>(tokens, sums);
      default:
        return allRows<6, 2>(tokens, sums);
    }
  }

  void all() const {
    float* sums = waiting;
    for (std::int64_t tileIdx = 0; tileIdx < tiles.count; ++tileIdx) sums = oneTile(tileIdx, sums);
  }
};

template <class Stored>
void manyTokens(const LinearArgs& args, const Arranged& in, std::int64_t begin, std::int64_t end) {
  thread_local std::vector<float> waiting;
  waiting.resize(static_cast<std::size_t>(kPartRows * args.T * laneCount()));
  const std::int64_t cols = args.weight.cols;
  const std::int64_t width = partCols<Stored>(cols);
  for (std::int64_t row = begin; row < end; row += kPartRows) {
    std::int64_t from = 0;
    do {
      const std::int64_t to = std::min(cols, from + width);
      DotPart<Stored>{args, in, row, std::min(kPartRows, end - row), from, to, waiting.data()}.all();
      from = to;
    } while (from < cols);
  }
}

template <class Stored>
void dotsOf(const LinearArgs& args, ThreadPool& pool) {
  thread_local std::vector<float> room;
  const Arranged in = arrangeFor<Stored>(args, room);
  const double perRow = 0.1 * static_cast<double>(args.weight.cols * args.T);
  pool.parallelFor(args.weight.rows, grainFor(perRow, args.T == 1 ? 16 : kPartRows),
                   [&](std::int64_t begin, std::int64_t end, int) {
                     if (args.T == 1) return oneToken<Stored>(args, in, begin, end);
                     manyTokens<Stored>(args, in, begin, end);
                   });
}

}  // namespace

void linearDots(const LinearArgs& args, ThreadPool& pool) {
  withStored(args.weight.dtype, [&](auto element) HWY_ATTR { dotsOf<decltype(element)>(args, pool); });
}

}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::kernels::cpu {

HWY_EXPORT(linearDots);

void linearByDots(const LinearArgs& args, ThreadPool& pool) {
  HWY_DYNAMIC_DISPATCH(linearDots)(args, pool);
}

}  // namespace eyrie::kernels::cpu
#endif
