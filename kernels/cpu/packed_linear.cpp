#include "kernels/cpu/packed_linear.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/cpu/grain.h"
#include "kernels/packed_matrix.h"
#include "kernels/thread_pool.h"

// The file is compiled once per instruction set; this part of it once.
#ifndef EYRIE_PACKED_LINEAR_ONCE
#define EYRIE_PACKED_LINEAR_ONCE
namespace eyrie::kernels::cpu {
namespace {

struct PackedProduct {
  DType dtype = DType::int8;
  const std::uint8_t* weights = nullptr;
  std::int64_t cols = 0;
  std::int64_t T = 0;
  const std::int16_t* codes = nullptr;  // (T, stride): x over its row's scale, zeros from cols on
  std::int64_t stride = 0;
};

// A row of x below this counts as zero: its inverse would overflow.
constexpr float kSmallestRow = 1e-30F;

}  // namespace
}  // namespace eyrie::kernels::cpu
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/packed_linear.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {
namespace {

using IntTag = hn::RebindToSigned<FloatTag>;
using IntVec = hn::Vec<IntTag>;

constexpr std::int64_t kLanes = static_cast<std::int64_t>(kMaxLanes);
constexpr int kVecs = static_cast<int>(kPackedRows / kLanes);  // of one block's rows

// Columns whose products fit 32 bits: 256 * 127 * 32767 < 2^31.
constexpr std::int64_t kReach = 256;

#if HWY_TARGET == HWY_SCALAR

struct Pairs {  // of one row
  std::int16_t first, second;
};

HWY_INLINE Pairs loadWords(const void* from) {
  Pairs pairs;
  std::memcpy(&pairs, from, sizeof pairs);
  return pairs;
}
HWY_INLINE Pairs loadCodes(const std::int8_t* from) {
  return {from[0], from[1]};
}
HWY_INLINE Pairs everywhere(const std::int16_t* from) {
  return {from[0], from[1]};
}
template <int j>
HWY_INLINE Pairs nibbles(Pairs words) {
  const auto nibble = [](int word) { return static_cast<std::int16_t>(((word >> (4 * j) & 0xf) ^ 8) - 8); };
  return {nibble(words.first), nibble(words.second)};
}
HWY_INLINE IntVec addProducts(IntVec sum, Pairs weights, Pairs x) {
  return hn::Add(sum, hn::Set(IntTag(), weights.first * x.first + weights.second * x.second));
}

#else

using ShortTag = hn::Repartition<std::int16_t, IntTag>;
using Pairs = hn::Vec<ShortTag>;  // two columns a row

HWY_INLINE Pairs loadWords(const void* from) {
  return hn::LoadU(ShortTag(), static_cast<const std::int16_t*>(from));
}
HWY_INLINE Pairs loadCodes(const std::int8_t* from) {
  return hn::PromoteTo(ShortTag(), hn::LoadU(hn::Rebind<std::int8_t, ShortTag>(), from));
}
// The same two columns for every row.
HWY_INLINE Pairs everywhere(const std::int16_t* from) {
  std::int32_t pair = 0;
  std::memcpy(&pair, from, sizeof pair);
  return hn::BitCast(ShortTag(), hn::Set(IntTag(), pair));
}
// Nibble j of each word, with its sign.
template <int j>
HWY_INLINE Pairs nibbles(Pairs words) {
  return hn::ShiftRight<12>(hn::ShiftLeft<12 - 4 * j>(words));
}
// sum + the products of each row's two columns.
HWY_INLINE IntVec addProducts(IntVec sum, Pairs weights, Pairs x) {
#if HWY_ARCH_X86
  IntVec unused = hn::Zero(IntTag());
  IntVec added = hn::ReorderWidenMulAccumulate(IntTag(), weights, x, sum, unused);
  // Else GCC computes the products of later columns first, and runs out of registers.
  asm volatile("" : "+x"(added.raw));
  return added;
#else
  const IntTag d;
  const auto first = [d](Pairs pairs) {
    return hn::ShiftRight<16>(hn::ShiftLeft<16>(hn::BitCast(d, pairs)));
  };
  const auto second = [d](Pairs pairs) { return hn::ShiftRight<16>(hn::BitCast(d, pairs)); };
  return hn::Add(sum, hn::Add(hn::Mul(first(weights), first(x)), hn::Mul(second(weights), second(x))));
#endif
}

#endif

template <int kTokens>
HWY_INLINE void addPairs(const Pairs (&pairs)[kVecs], const std::int16_t* x, std::int64_t stride,
                         IntVec (&sums)[kTokens][kVecs]) {
  for (int t = 0; t < kTokens; ++t) {
    const Pairs in = everywhere(x + t * stride);
    for (int v = 0; v < kVecs; ++v) sums[t][v] = addProducts(sums[t][v], pairs[v], in);
  }
}

template <int j, int kTokens>
HWY_INLINE void addNibbles(const Pairs (&words)[kVecs], const std::int16_t* x, std::int64_t stride,
                           IntVec (&sums)[kTokens][kVecs]) {
  Pairs pairs[kVecs];
  for (int v = 0; v < kVecs; ++v) pairs[v] = nibbles<j>(words[v]);
  addPairs<kTokens>(pairs, x + 2 * j, stride, sums);
}

// Weights needed a little later: the processor's own look-ahead ends at each page of 4096 bytes.
template <std::int64_t kBytes>
HWY_INLINE void prefetchAhead(const std::uint8_t* w) {
  constexpr std::int64_t kAhead = 1024;
  for (std::int64_t i = 0; i < kBytes; i += 64) hwy::Prefetch(w + kAhead + i);
}

// sums += the products of 8 columns of 16 rows.
template <DType kType, int kTokens>
HWY_INLINE void addColumns(const std::uint8_t* w, const std::int16_t* x, std::int64_t stride,
                           IntVec (&sums)[kTokens][kVecs]) {
  Pairs pairs[kVecs];
  if constexpr (kType == DType::int8) {
    for (int c = 0; c < 8; c += 2) {
      const auto* codes = reinterpret_cast<const std::int8_t*>(w + c * kPackedRows);
      for (int v = 0; v < kVecs; ++v) pairs[v] = loadCodes(codes + 2 * v * kLanes);
      addPairs<kTokens>(pairs, x + c, stride, sums);
    }
  } else {
    for (int v = 0; v < kVecs; ++v) pairs[v] = loadWords(w + 4 * v * kLanes);
    addNibbles<0, kTokens>(pairs, x, stride, sums);
    addNibbles<1, kTokens>(pairs, x, stride, sums);
    addNibbles<2, kTokens>(pairs, x, stride, sums);
    addNibbles<3, kTokens>(pairs, x, stride, sums);
  }
}

// out (kTokens, outStride) += what at most kReach columns of 16 rows add, in units of x's scales. `w` is the
// start of a group.
template <DType kType, int kTokens>
HWY_NOINLINE void addTile(const std::uint8_t* w, std::int64_t columns, const std::int16_t* x,
                          std::int64_t stride, float* out, std::int64_t outStride) {
  const FloatTag d;
  const hn::Rebind<hwy::bfloat16_t, FloatTag> dScale;
  HWY_ALIGN float tile[kTokens][kPackedRows] = {};
  for (std::int64_t first = 0; first < columns; first += packedGroup(kType)) {
    const std::int64_t end = std::min(first + packedGroup(kType), columns);
    const auto* scales = reinterpret_cast<const hwy::bfloat16_t*>(w);
    w += kPackedScaleBytes;
    IntVec sums[kTokens][kVecs];
    for (int t = 0; t < kTokens; ++t) {
      for (int v = 0; v < kVecs; ++v) sums[t][v] = hn::Zero(IntTag());
    }
    for (std::int64_t c = first; c < end; c += kPackedColumns) {
      prefetchAhead<packedWeightBytes(kType, kPackedColumns)>(w);
      addColumns<kType, kTokens>(w, x + c, stride, sums);
      w += packedWeightBytes(kType, kPackedColumns);
    }
    for (int v = 0; v < kVecs; ++v) {
      const FloatVec scale = hn::PromoteTo(d, hn::LoadU(dScale, scales + v * kLanes));
      for (int t = 0; t < kTokens; ++t) {
        float* to = tile[t] + v * kLanes;
        hn::Store(hn::MulAdd(hn::ConvertTo(d, sums[t][v]), scale, hn::Load(d, to)), d, to);
      }
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    for (std::int64_t r = 0; r < kPackedRows; r += kLanes) {
      float* to = out + t * outStride + r;
      hn::StoreU(hn::Add(hn::LoadU(d, to), hn::Load(d, tile[t] + r)), d, to);
    }
  }
}

using AddTile = void (*)(const std::uint8_t*, std::int64_t, const std::int16_t*, std::int64_t, float*,
                         std::int64_t);

// Tokens of one tile: two vectors a token, six tokens and the weights fill the sixteen registers of AVX2.
constexpr std::int64_t kTileTokens = 6;

template <DType kType>
AddTile tileOf(std::int64_t tokens) {
  constexpr AddTile kTiles[] = {addTile<kType, 1>, addTile<kType, 2>, addTile<kType, 3>,
                                addTile<kType, 4>, addTile<kType, 5>, addTile<kType, 6>};
  return kTiles[std::min(tokens, kTileTokens) - 1];
}

template <DType kType>
void addBlocks(const PackedProduct& args, std::int64_t block, std::int64_t blocks, float* out) {
  const std::int64_t width = blocks * kPackedRows;
  const std::int64_t blockBytes = packedBlockBytes(kType, args.cols);
  const std::uint8_t* w = args.weights + block * blockBytes;
  const std::int64_t padded = roundUp(args.cols, kPackedColumns);
  std::fill_n(out, args.T * width, 0.0F);
  for (std::int64_t c = 0; c < padded; c += kReach) {
    const std::int64_t columns = std::min(kReach, padded - c);
    for (std::int64_t t = 0; t < args.T; t += kTileTokens) {
      const AddTile add = tileOf<kType>(args.T - t);
      for (std::int64_t b = 0; b < blocks; ++b) {
        add(w + b * blockBytes, columns, args.codes + t * args.stride + c, args.stride,
            out + t * width + b * kPackedRows, width);
      }
    }
    w += packedBlockBytes(kType, columns);
  }
}

}  // namespace

// out (T, blocks * 16) = the rows of `blocks` blocks from `block` on, in units of x's scales.
void packedBlocks(const PackedProduct& args, std::int64_t block, std::int64_t blocks, float* out) {
  return args.dtype == DType::int8 ? addBlocks<DType::int8>(args, block, blocks, out)
                                   : addBlocks<DType::int4>(args, block, blocks, out);
}

// codes = x / scale, rounded; returns the scale: NaN where x is not finite, 0 where it is all but zero.
float quantiseRow(const float* x, std::int64_t count, std::int16_t* codes) {
  const FloatTag d;
  const hn::Rebind<std::int16_t, FloatTag> dCode;
  const std::int64_t lanes = laneCount();
  FloatVec most = hn::Zero(d);
  FloatVec spoilt = hn::Zero(d);  // 0 * infinity and 0 * NaN are NaN
  for (std::int64_t i = 0; i < count; i += lanes) {
    const FloatVec value = loadUpTo(x + i, std::min(lanes, count - i));
    most = hn::Max(most, hn::Abs(value));
    spoilt = hn::MulAdd(value, hn::Zero(d), spoilt);
  }
  const float largest = maxOf(most);
  const bool finite = !std::isnan(sumOf(spoilt));
  if (!finite || largest < kSmallestRow) {
    std::fill_n(codes, count, static_cast<std::int16_t>(0));
    return finite ? 0.0F : NAN;
  }
  const FloatVec inverse = hn::Set(d, 32767.0F / largest);
  for (std::int64_t i = 0; i < count; i += lanes) {
    const std::int64_t here = std::min(lanes, count - i);
    const auto code = hn::DemoteTo(dCode, hn::NearestInt(hn::Mul(loadUpTo(x + i, here), inverse)));
    if (here == lanes) {
      hn::StoreU(code, dCode, codes + i);
    } else {
      HWY_ALIGN std::int16_t buffer[kMaxLanes];
      hn::Store(code, dCode, buffer);
      std::copy_n(buffer, here, codes + i);
    }
  }
  return largest / 32767.0F;
}

}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::kernels::cpu {
namespace {

HWY_EXPORT(packedBlocks);
HWY_EXPORT(quantiseRow);

// Blocks of 16 rows whose 256 columns stay in the first cache while many tokens pass; for few tokens one
// after the other, as they lie in memory.
std::int64_t blocksAtOnce(std::int64_t T) {
  return T > 6 ? 4 : 1;
}

class Activations {
 public:
  Activations(const LinearArgs& args, ThreadPool& pool)
      : cols_(args.weight.cols), stride_(roundUp(cols_, kPackedColumns) + kSpread) {
    codes_.resize(static_cast<std::size_t>(args.T * stride_));
    scales_.resize(static_cast<std::size_t>(args.T));
    const auto quantise = HWY_DYNAMIC_DISPATCH(quantiseRow);
    pool.parallelFor(args.T, grainFor(0.3 * static_cast<double>(cols_)),
                     [&](std::int64_t begin, std::int64_t end, int) {
                       for (std::int64_t t = begin; t < end; ++t) {
                         std::int16_t* codes = codes_.data() + t * stride_;
                         std::fill(codes + cols_, codes + stride_, static_cast<std::int16_t>(0));
                         scales_[static_cast<std::size_t>(t)] = quantise(args.x + t * cols_, cols_, codes);
                       }
                     });
  }
  PackedProduct product(const LinearArgs& args) const {
    return {args.weight.dtype,
            static_cast<const std::uint8_t*>(args.weight.data),
            cols_,
            args.T,
            codes_.data(),
            stride_};
  }
  float scale(std::int64_t t) const { return scales_[static_cast<std::size_t>(t)]; }

 private:
  // Rows a power of two apart would share the cache's few places.
  static constexpr std::int64_t kSpread = 32;
  std::int64_t cols_;
  std::int64_t stride_;
  std::vector<std::int16_t> codes_;
  std::vector<float> scales_;
};

void finishRows(const LinearArgs& args, const Activations& x, std::int64_t row, std::int64_t width,
                const float* sums) {
  const std::int64_t rows = std::min(width, args.weight.rows - row);
  for (std::int64_t t = 0; t < args.T; ++t) {
    float* out = args.out + t * args.weight.rows + row;
    const float* from = sums + t * width;
    const float scale = x.scale(t);
    for (std::int64_t r = 0; r < rows; ++r) {
      out[r] = from[r] * scale + (args.bias == nullptr ? 0.0F : args.bias[row + r]);
    }
  }
}

}  // namespace

void packedLinear(const LinearArgs& args, ThreadPool& pool) {
  const Activations x(args, pool);
  const PackedProduct product = x.product(args);
  const auto blocksOf = HWY_DYNAMIC_DISPATCH(packedBlocks);
  const std::int64_t atOnce = blocksAtOnce(args.T);
  const std::int64_t blocks = (args.weight.rows + kPackedRows - 1) / kPackedRows;
  const double perBlock = 0.03 * static_cast<double>(kPackedRows * args.weight.cols * args.T);
  pool.parallelFor(blocks, grainFor(perBlock, atOnce), [&](std::int64_t begin, std::int64_t end, int) {
    thread_local std::vector<float> sums;
    sums.resize(static_cast<std::size_t>(args.T * atOnce * kPackedRows));
    for (std::int64_t block = begin; block < end; block += atOnce) {
      const std::int64_t here = std::min(atOnce, end - block);
      blocksOf(product, block, here, sums.data());
      finishRows(args, x, block * kPackedRows, here * kPackedRows, sums.data());
    }
  });
}

}  // namespace eyrie::kernels::cpu
#endif
