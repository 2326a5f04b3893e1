#include "kernels/cpu/linear_dots.h"

#include <algorithm>
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

// Else GCC loads it again for every product.
HWY_INLINE void keepInRegister(FloatVec& value) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
  asm("" : "+x"(value.raw));
#else
  (void)value;
#endif
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

// The part that begins at column `from` ends here. The last is wider where a part would be left over.
HWY_INLINE std::int64_t partEnd(std::int64_t from, std::int64_t cols) {
  return cols - from < 2 * kPartCols ? cols : from + kPartCols;
}

// x as its products with `Stored` weights read it: part after part, of each the rows of all tokens one after
// the other, with zeros behind the last column up to a whole step.
struct Arranged {
  const float* x;
  std::int64_t T;
  std::int64_t cols;  // with the zeros

  // Row t of the part from..to-1.
  HWY_INLINE const float* row(std::int64_t t, std::int64_t from, std::int64_t to) const {
    return x + from * T + t * (to - from);
  }
};

template <class Stored>
HWY_INLINE void arrangeRow(const float* from, std::int64_t count, std::int64_t whole, float* to) {
  std::fill(std::copy_n(from, count, to), to + whole, 0.0F);
  if constexpr (kVecs<Stored> == 2) {
    for (std::int64_t c = 0; c < whole; c += stepCols<Stored>()) {
      FloatVec even, odd;
      hn::LoadInterleaved2(FloatTag(), to + c, even, odd);
      hn::StoreU(even, FloatTag(), to + c);
      hn::StoreU(odd, FloatTag(), to + c + laneCount());
    }
  }
}

template <class Stored>
Arranged arrangeFor(const LinearArgs& args, std::vector<float>& room) {
  const std::int64_t cols = args.weight.cols;
  const std::int64_t step = stepCols<Stored>();
  const std::int64_t whole = (cols + step - 1) / step * step;
  if (args.T == 1 && kVecs<Stored> == 1 && whole == cols) return {args.x, 1, cols};
  room.resize(static_cast<std::size_t>(args.T * whole));
  const Arranged in{room.data(), args.T, whole};
  for (std::int64_t from = 0, to = 0; from < cols; from = to) {
    to = partEnd(from, cols);
    const std::int64_t padded = to == cols ? whole : to;
    for (std::int64_t t = 0; t < args.T; ++t) {
      float* row = room.data() + (in.row(t, from, padded) - in.x);
      arrangeRow<Stored>(args.x + t * cols + from, to - from, padded - from, row);
    }
  }
  return in;
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
  HWY_INLINE void addVec(const float* in, std::int64_t width, const Stored* w, std::int64_t stride) {
    FloatVec weights[kRows];
    for (int r = 0; r < kRows; ++r) weights[r] = unpack<kVec>(w + r * stride);
    for (int t = 0; t < kTokens; ++t) {
      FloatVec x = loadWide(in + t * width + kVec * laneCount());
      keepInRegister(x);
      for (int r = 0; r < kRows; ++r) sums[r][t] = hn::MulAdd(weights[r], x, sums[r][t]);
    }
  }
  HWY_INLINE void addStep(const float* in, std::int64_t width, const Stored* w, std::int64_t stride) {
    addVec<0>(in, width, w, stride);
    if constexpr (kVecs<Stored> == 2) {
      // Hides that these are the same pairs: GCC would keep them in registers, of which none is left.
      asm("" : "+r"(w));
      addVec<1>(in, width, w, stride);
    }
  }
  // `n` columns, whole steps, of rows of x that are `width` apart, and rows of w that are `stride` apart.
  // Weights `ahead` bytes behind those read are fetched for later; 0: none.
  HWY_INLINE void add(const float* in, std::int64_t width, const Stored* w, std::int64_t stride,
                      std::int64_t n, std::int64_t ahead) {
    for (std::int64_t c = 0; c < n; c += stepCols<Stored>()) {
      if (ahead != 0) {
        for (int r = 0; r < kRows; ++r)
          __builtin_prefetch(reinterpret_cast<const char*>(w + r * stride + c) + ahead, 0, 2);
      }
      addStep(in + c, width, w + c, stride);
    }
  }
  // `n` columns that fill no step; x has zeros behind them.
  HWY_INLINE void addTail(const float* in, std::int64_t width, const Stored* w, std::int64_t stride,
                          std::int64_t n) {
    if (n == 0) return;
    HWY_ALIGN Stored padded[kRows * 2 * kMaxLanes] = {};
    for (int r = 0; r < kRows; ++r)
      std::memcpy(padded + r * 2 * kMaxLanes, w + r * stride, static_cast<std::size_t>(n) * sizeof(Stored));
    addStep(in, width, padded, 2 * kMaxLanes);
  }
  HWY_INLINE void finish(const LinearArgs& args, std::int64_t t, std::int64_t row) const {
    for (int i = 0; i < kTokens; ++i) {
      float* out = args.out + (t + i) * args.weight.rows + row;
      for (int r = 0; r < kRows; ++r)
        out[r] = sumOf(sums[r][i]) + (args.bias == nullptr ? 0.0F : args.bias[row + r]);
    }
  }
};

template <int kRows, class Stored>
HWY_INLINE void rowsOfOneToken(const LinearArgs& args, const Arranged& in, std::int64_t row) {
  const std::int64_t cols = args.weight.cols;
  const std::int64_t tail = cols % stepCols<Stored>();
  const Stored* w = static_cast<const Stored*>(args.weight.data) + row * cols;
  Dots<1, kRows, Stored> dots;
  dots.clear();
  // The next rows lie behind these.
  dots.add(in.x, 0, w, cols, cols - tail, kRows * cols * static_cast<std::int64_t>(sizeof(Stored)));
  dots.addTail(in.x + cols - tail, 0, w + cols - tail, cols, tail);
  dots.finish(args, 0, row);
}

template <class Stored>
void oneToken(const LinearArgs& args, const Arranged& in, std::int64_t begin, std::int64_t end) {
  std::int64_t row = begin;
  for (; row + 8 <= end; row += 8) rowsOfOneToken<8, Stored>(args, in, row);
  for (; row < end; ++row) rowsOfOneToken<1, Stored>(args, in, row);
}

// Rows of w whose parts stay in the second-level cache while all tokens pass by; sums wait in memory from one
// part to the next.
constexpr std::int64_t kPartRows = 24;

// One part of w and all tokens.
template <class Stored>
struct DotPart {
  const LinearArgs& args;
  const Arranged& in;
  std::int64_t row, rows;                 // of w
  std::int64_t from, to;                  // columns
  float* waiting;                         // (kPartRows, T) vectors
  std::int64_t tiles = (args.T + 5) / 6;  // of tokens

  // The next part of the weights lies behind this one in the same rows. Each tile of tokens fetches a share
  // of it, so that memory is kept busy evenly.
  std::int64_t ahead(std::int64_t tile, std::int64_t step) const {
    const std::int64_t cols = args.weight.cols;
    const std::int64_t next = to < cols ? to - from : kPartRows * cols - from;
    return step % tiles == tile ? next * static_cast<std::int64_t>(sizeof(Stored)) : 0;
  }

  template <int kTokens, int kRows>
  HWY_INLINE float* tile(std::int64_t t, std::int64_t r, std::int64_t ahead, float* sums) const {
    const std::int64_t cols = args.weight.cols;
    const std::int64_t end = to == cols ? in.cols : to;  // of x
    const std::int64_t tail = to == cols ? cols % stepCols<Stored>() : 0;
    const std::int64_t n = to - from - tail;
    const float* x = in.row(t, from, end);
    const Stored* w = static_cast<const Stored*>(args.weight.data) + (row + r) * cols + from;
    Dots<kTokens, kRows, Stored> dots;
    if (from == 0) {
      dots.clear();
    } else {
      dots.load(sums);
    }
    dots.add(x, end - from, w, cols, n, ahead);
    dots.addTail(x + n, end - from, w + n, cols, tail);
    if (to == cols) {
      dots.finish(args, t, row + r);
    } else {
      dots.store(sums);
    }
    return sums + kTokens * kRows * laneCount();
  }

  template <int kTokens, int kRows>
  HWY_INLINE float* tokens(std::int64_t tileIdx, std::int64_t t, float* sums) const {
    std::int64_t r = 0;
    for (; r + kRows <= rows; r += kRows) sums = tile<kTokens, kRows>(t, r, ahead(tileIdx, r / kRows), sums);
    for (; r < rows; ++r) sums = tile<kTokens, 1>(t, r, 0, sums);
    return sums;
  }

  // As many sums as AVX2's 16 registers hold beside weights, x and a mask.
  HWY_INLINE float* someTokens(std::int64_t n, std::int64_t tileIdx, std::int64_t t, float* sums) const {
    switch (n) {
      case 1:
        return tokens<1, 8>(tileIdx, t, sums);
      case 2:
        return tokens<2, 4>(tileIdx, t, sums);
      case 3:
        return tokens<3, 3>(tileIdx, t, sums);
      case 4:
        return tokens<4, 2>(tileIdx, t, sums);
      case 5:
        return tokens<5, 2>(tileIdx, t, sums);
      default:
        return tokens<6, 2>(tileIdx, t, sums);
    }
  }

  void all() const {
    float* sums = waiting;
    for (std::int64_t tileIdx = 0; tileIdx < tiles; ++tileIdx) {
      const std::int64_t t = tileIdx * args.T / tiles;
      sums = someTokens((tileIdx + 1) * args.T / tiles - t, tileIdx, t, sums);
    }
  }
};

template <class Stored>
void manyTokens(const LinearArgs& args, const Arranged& in, std::int64_t begin, std::int64_t end) {
  thread_local std::vector<float> waiting;
  waiting.resize(static_cast<std::size_t>(kPartRows * args.T * laneCount()));
  const std::int64_t cols = args.weight.cols;
  for (std::int64_t row = begin; row < end; row += kPartRows) {
    std::int64_t from = 0;
    do {
      const std::int64_t to = partEnd(from, cols);
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
  switch (args.weight.dtype) {
    case DType::f32:
      return dotsOf<float>(args, pool);
    case DType::f16:
      return dotsOf<hwy::float16_t>(args, pool);
    case DType::bf16:
      return dotsOf<hwy::bfloat16_t>(args, pool);
    case DType::int8:
    case DType::int4:
      return;  // packed_linear.cpp
  }
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
