// Products of packed weights (kernels/packed_matrix.h) and tokens of 16-bit integers, 16 rows and a few
// hundred columns at a time; compiled once per instruction set (see hwy/foreach_target.h).
#if defined(EYRIE_KERNELS_CPU_PACKED_TILES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef EYRIE_KERNELS_CPU_PACKED_TILES_INL_H
#undef EYRIE_KERNELS_CPU_PACKED_TILES_INL_H
#else
#define EYRIE_KERNELS_CPU_PACKED_TILES_INL_H
#endif

#include <hwy/cache_control.h>

#include <algorithm>

#include "kernels/cpu/simd-inl.h"
#include "kernels/packed_matrix.h"

// This part once for all instruction sets.
#ifndef EYRIE_KERNELS_CPU_TOKEN_CODES
#define EYRIE_KERNELS_CPU_TOKEN_CODES
namespace eyrie::kernels::cpu {

// Tokens as integers: (T, stride), |code| <= kLargestCode, zeros beyond the columns.
struct TokenCodes {
  const std::int16_t* codes = nullptr;
  std::int64_t stride = 0;
  // (T, offsetStride), for int4: -8 times the sum of the codes of each group of columns, since nibbles are 8
  // more than what they mean.
  const std::int32_t* offsets = nullptr;
  std::int64_t offsetStride = 0;
};

// Such that rounding to a multiple of 256 leaves the upper byte within -127..127.
inline constexpr int kLargestCode = 127 * 256 + 127;

// From so many tokens on weights are widened once for all of them.
inline constexpr std::int64_t kWideTokens = 24;

}  // namespace eyrie::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {
namespace {

using IntTag = hn::RebindToSigned<FloatTag>;
using IntVec = hn::Vec<IntTag>;

constexpr std::int64_t kLanes = static_cast<std::int64_t>(kMaxLanes);
constexpr int kVecs = static_cast<int>(kPackedRows / kLanes);  // of one block's rows
constexpr std::int64_t kWordsOfAPair = 2 * kPackedRows;        // of two columns of all rows

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
HWY_INLINE void storeWords(Pairs pairs, std::int16_t* to) {
  std::memcpy(to, &pairs, sizeof pairs);
}
HWY_INLINE Pairs loadCodes(const std::int8_t* from) {
  return {from[0], from[1]};
}
HWY_INLINE Pairs everywhere(const std::int16_t* from) {
  return {from[0], from[1]};
}
template <int j>
HWY_INLINE Pairs nibbles(Pairs words) {
  const auto nibble = [](int word) { return static_cast<std::int16_t>(word >> (4 * j) & 0xf); };
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
HWY_INLINE void storeWords(Pairs pairs, std::int16_t* to) {
  hn::StoreU(pairs, ShortTag(), to);
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
// Nibble j of each word.
template <int j>
HWY_INLINE Pairs nibbles(Pairs words) {
  const hn::RebindToUnsigned<ShortTag> d;
  return hn::BitCast(ShortTag(), hn::ShiftRight<12>(hn::ShiftLeft<12 - 4 * j>(hn::BitCast(d, words))));
}
// sum + the products of each row's two columns.
HWY_INLINE IntVec addProducts(IntVec sum, Pairs weights, Pairs x) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_EMU128
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

// Weights of 8 columns needed a little later (how much was measured for each type): the processor's own
// look-ahead ends at each page of 4096 bytes.
template <DType kType>
HWY_INLINE void prefetchAhead(const std::uint8_t* w) {
  constexpr std::int64_t kAhead = kType == DType::int8 ? 1024 : 2048;
  for (std::int64_t i = 0; i < packedWeightBytes(kType, kPackedColumns); i += 64)
    hwy::Prefetch(w + kAhead + i);
}

// The weights of 16 rows as words, as addColumns() makes them: for many tokens, which would each time do so
// anew. `w` is the start of a group.
template <DType kType>
HWY_NOINLINE void widenWeights(const std::uint8_t* w, std::int64_t columns, std::int16_t* to) {
  for (std::int64_t c = 0; c < columns; c += kPackedColumns) {
    if (c % packedGroup(kType) == 0) w += kPackedScaleBytes;
    for (int v = 0; v < kVecs; ++v) {
      std::int16_t* const out = to + 2 * v * kLanes;
      if constexpr (kType == DType::int8) {
        const auto* codes = reinterpret_cast<const std::int8_t*>(w) + 2 * v * kLanes;
        for (int pair = 0; pair < 4; ++pair)
          storeWords(loadCodes(codes + pair * kWordsOfAPair), out + pair * kWordsOfAPair);
      } else {
        const Pairs words = loadWords(w + 4 * v * kLanes);
        storeWords(nibbles<0>(words), out);
        storeWords(nibbles<1>(words), out + kWordsOfAPair);
        storeWords(nibbles<2>(words), out + 2 * kWordsOfAPair);
        storeWords(nibbles<3>(words), out + 3 * kWordsOfAPair);
      }
    }
    w += packedWeightBytes(kType, kPackedColumns);
    to += 4 * kWordsOfAPair;
  }
}

// sums += the products of 8 columns of 16 rows, whose weights are words.
template <int kTokens>
HWY_INLINE void addWideColumns(const std::int16_t* words, const std::int16_t* x, std::int64_t stride,
                               IntVec (&sums)[kTokens][kVecs]) {
  for (int c = 0; c < 8; c += 2, words += kWordsOfAPair) {
    Pairs pairs[kVecs];
    for (int v = 0; v < kVecs; ++v) pairs[v] = loadWords(words + 2 * v * kLanes);
    addPairs<kTokens>(pairs, x + c, stride, sums);
  }
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

HWY_INLINE FloatVec loadScale(const std::uint8_t* group, int v) {
  const hn::Rebind<hwy::bfloat16_t, FloatTag> dScale;
  return hn::PromoteTo(FloatTag(),
                       hn::LoadU(dScale, reinterpret_cast<const hwy::bfloat16_t*>(group) + v * kLanes));
}

// out (kTokens, outStride) += what at most kReach columns of 16 rows add, in units of x's scales. `w` is the
// start of a group. kWide: `words` are its weights, by widenWeights().
template <DType kType, int kTokens, bool kWide>
HWY_NOINLINE void addTile(const std::uint8_t* w, const std::int16_t* words, std::int64_t columns,
                          const TokenCodes& x, float* out, std::int64_t outStride) {
  const FloatTag d;
  HWY_ALIGN float tile[kTokens][kPackedRows] = {};
  for (std::int64_t first = 0; first < columns; first += packedGroup(kType)) {
    const std::int64_t end = std::min(first + packedGroup(kType), columns);
    const std::uint8_t* scales = w;
    w += kPackedScaleBytes;
    IntVec sums[kTokens][kVecs];
    for (int t = 0; t < kTokens; ++t) {
      std::int32_t offset = 0;
      if constexpr (kType == DType::int4) offset = x.offsets[t * x.offsetStride + first / packedGroup(kType)];
      for (int v = 0; v < kVecs; ++v) sums[t][v] = hn::Set(IntTag(), offset);
    }
    for (std::int64_t c = first; c < end; c += kPackedColumns) {
      if constexpr (kWide) {
        addWideColumns<kTokens>(words + c * kPackedRows, x.codes + c, x.stride, sums);
      } else {
        prefetchAhead<kType>(w);
        addColumns<kType, kTokens>(w, x.codes + c, x.stride, sums);
      }
      w += packedWeightBytes(kType, kPackedColumns);
    }
    for (int v = 0; v < kVecs; ++v) {
      const FloatVec scale = loadScale(scales, v);
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

// The same for one token and int4, from the two bytes of each of its codes: half the multiplications.
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_SSSE3

constexpr bool kByteTiles = true;

using ByteTag = hn::Repartition<std::uint8_t, IntTag>;
using Bytes = hn::Vec<ByteTag>;

// Sums of two neighbours' products, 0..15 times -128..127.
HWY_INLINE Pairs pairSums(Bytes weights, Bytes x) {
#if HWY_TARGET <= HWY_AVX3
  return Pairs{_mm512_maddubs_epi16(weights.raw, x.raw)};
#elif HWY_TARGET == HWY_AVX2
  return Pairs{_mm256_maddubs_epi16(weights.raw, x.raw)};
#else
  return Pairs{_mm_maddubs_epi16(weights.raw, x.raw)};
#endif
}

// Each 8 codes of a row to 16 bytes, in place: the upper ones (-127..127) in the order of the low nibbles'
// columns and of the high ones', then the lower ones (-128..127).
HWY_INLINE void splitCodes(std::int16_t* codes, std::int64_t count) {
  const hn::FixedTag<std::int16_t, 8> d;
  const hn::FixedTag<std::int8_t, 8> dHalf;
  HWY_ALIGN static constexpr std::int16_t kOrder[8] = {0x0100, 0x0908, 0x0302, 0x0b0a,
                                                       0x0504, 0x0d0c, 0x0706, 0x0f0e};
  for (std::int64_t c = 0; c < count; c += 8) {
    const auto code = hn::TableLookupBytes(hn::LoadU(d, codes + c), hn::Load(d, kOrder));
    const auto upper = hn::ShiftRight<8>(hn::Add(code, hn::Set(d, 128)));
    const auto lower = hn::Sub(code, hn::ShiftLeft<8>(upper));
    auto* bytes = reinterpret_cast<std::int8_t*>(codes + c);
    hn::StoreU(hn::DemoteTo(dHalf, upper), dHalf, bytes);
    hn::StoreU(hn::DemoteTo(dHalf, lower), dHalf, bytes + 8);
  }
}

// tile += what a group's `steps` times 8 columns add. `steps` is a constant wherever speed matters.
HWY_INLINE void addByteGroup(const std::uint8_t* group, int steps, const std::int16_t* x, std::int32_t offset,
                             FloatVec (&tile)[kVecs]) {
  const ByteTag dBytes;
  const ShortTag dShort;
  const Bytes nibble = hn::Set(dBytes, 0xf);
  const auto four = [dBytes](const std::int16_t* codes) { return hn::BitCast(dBytes, everywhere(codes)); };
  const std::uint8_t* w = group + kPackedScaleBytes;
  // At most 8 sums of two products each: below 2^15.
  Pairs upper[kVecs];
  Pairs lower[kVecs];
  for (int v = 0; v < kVecs; ++v) upper[v] = lower[v] = hn::Zero(dShort);
  for (int step = 0; step < steps; ++step, w += 4 * kPackedRows, x += kPackedColumns) {
    prefetchAhead<DType::int4>(w);
    for (int v = 0; v < kVecs; ++v) {
      const Pairs words = loadWords(w + 4 * v * kLanes);
      const Bytes low = hn::And(hn::BitCast(dBytes, words), nibble);
      const Bytes high = hn::And(hn::BitCast(dBytes, hn::ShiftRight<4>(words)), nibble);
      upper[v] = hn::Add(upper[v], hn::Add(pairSums(low, four(x)), pairSums(high, four(x + 2))));
      lower[v] = hn::Add(lower[v], hn::Add(pairSums(low, four(x + 4)), pairSums(high, four(x + 6))));
      asm volatile("" : "+x"(upper[v].raw), "+x"(lower[v].raw));  // as in addProducts()
    }
  }
  for (int v = 0; v < kVecs; ++v) {
    IntVec sum = hn::Set(IntTag(), offset);
    sum = addProducts(sum, lower[v], hn::Set(dShort, 1));
    sum = addProducts(sum, upper[v], hn::Set(dShort, 256));
    tile[v] = hn::MulAdd(hn::ConvertTo(FloatTag(), sum), loadScale(group, v), tile[v]);
  }
}

HWY_NOINLINE void addByteTile(const std::uint8_t* w, std::int64_t columns, const TokenCodes& x, float* out) {
  const FloatTag d;
  constexpr std::int64_t kGroup = packedGroup(DType::int4);
  constexpr int kSteps = static_cast<int>(kGroup / kPackedColumns);
  FloatVec tile[kVecs];
  for (auto& sum : tile) sum = hn::Zero(d);
  std::int64_t first = 0;
  for (; first + kGroup <= columns; first += kGroup) {
    addByteGroup(w, kSteps, x.codes + first, x.offsets[first / kGroup], tile);
    w += kPackedScaleBytes + packedWeightBytes(DType::int4, kGroup);
  }
  if (first < columns) {
    addByteGroup(w, static_cast<int>((columns - first) / kPackedColumns), x.codes + first,
                 x.offsets[first / kGroup], tile);
  }
  for (int v = 0; v < kVecs; ++v) {
    float* to = out + v * kLanes;
    hn::StoreU(hn::Add(hn::LoadU(d, to), tile[v]), d, to);
  }
}

#else

constexpr bool kByteTiles = false;
HWY_INLINE void splitCodes(std::int16_t*, std::int64_t) {}
HWY_INLINE void addByteTile(const std::uint8_t*, std::int64_t, const TokenCodes&, float*) {}

#endif

}  // namespace
}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
