// Tokens and packed weights (kernels/packed_matrix.h) as bytes whose products are summed four at a time;
// compiled once per instruction set (see hwy/foreach_target.h), for those that have such products.
#if defined(EYRIE_KERNELS_CPU_BYTE_TILES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef EYRIE_KERNELS_CPU_BYTE_TILES_INL_H
#undef EYRIE_KERNELS_CPU_BYTE_TILES_INL_H
#else
#define EYRIE_KERNELS_CPU_BYTE_TILES_INL_H
#endif

#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/cpu/simd-inl.h"
#include "kernels/packed_matrix.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {
namespace {

#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2

using IntTag = hn::RebindToSigned<FloatTag>;
using IntVec = hn::Vec<IntTag>;

constexpr std::int64_t kLanes = static_cast<std::int64_t>(kMaxLanes);
constexpr int kVecs = static_cast<int>(kPackedRows / kLanes);

// 12 sums, 2 weights, an x and a product fill AVX2's 16 registers.
constexpr std::int64_t kTileTokens = 12 / kVecs;
constexpr std::int64_t kQuad = 4;   // columns whose products are added at once
constexpr std::int64_t kStep = 32;  // columns whose products are added as integers
constexpr std::int64_t kSpan = 256;
constexpr std::int64_t kSteps = kSpan / kStep;
constexpr std::int64_t kPanelBytes = kSpan * kPackedRows;

// One side of a product has a scale for each step, the other for each span: x and the weights where those
// have 8 bits, the weights and x where they have 4.
template <DType kType>
constexpr bool kScaledBySteps = packedGroup(kType) == kSpan;  // x

// Pairs of products are added in 16 bits: one factor is unsigned, and no pair may exceed 2 * 127 * 127. Of
// int8, x is, around 64; of int4, the weights are, around 8.
template <DType kType>
constexpr int kMostOfX = kType == DType::int8 ? 63 : 127;
template <DType kType>
constexpr int kZeroOfX = kType == DType::int8 ? 64 : 0;
constexpr int kZeroOfNibbles = 8;

// sum + the products of each lane's four bytes.
HWY_INLINE IntVec addQuads(IntVec sum, IntVec notSigned, IntVec withSign) {
#if HWY_TARGET <= HWY_AVX3
  const __m512i pairs = _mm512_maddubs_epi16(notSigned.raw, withSign.raw);
  return hn::Add(sum, IntVec{_mm512_madd_epi16(pairs, _mm512_set1_epi16(1))});
#else
  // Else GCC computes the products of later columns first, and runs out of registers.
  static constexpr struct alignas(32) {
    std::int16_t each[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  } kOnes;
  __m256i products;
  asm("vpmaddubsw %3, %2, %0\n\tvpmaddwd %4, %0, %0\n\tvpaddd %0, %1, %1"
      : "=&x"(products), "+x"(sum.raw)
      : "x"(notSigned.raw), "x"(withSign.raw), "m"(kOnes));
  return sum;
#endif
}

template <DType kType>
HWY_INLINE IntVec addProducts(IntVec sum, IntVec x, IntVec weights) {
  return kType == DType::int8 ? addQuads(sum, x, weights) : addQuads(sum, weights, x);
}

HWY_INLINE IntVec everywhere(const std::int8_t* quad) {
  std::int32_t four = 0;
  std::memcpy(&four, quad, sizeof four);
  return hn::Set(IntTag(), four);
}

// The scale with which values are rounded to +-most: NaN where one is not finite, 0 where all are all but
// zero.
float scaleOf(const float* x, std::int64_t count, int most) {
  const float reach = reachOf(x, count);
  return reach < kSmallestReach ? 0.0F : reach / static_cast<float>(most);
}

// `count`: whole vectors.
void roundTo(float scale, const float* x, std::int64_t count, std::int32_t* codes) {
  const FloatVec inverse = hn::Set(FloatTag(), scale > 0 ? 1.0F / scale : 0.0F);
  for (std::int64_t c = 0; c < count; c += kLanes) {
    const FloatVec value = scale > 0 ? hn::Load(FloatTag(), x + c) : hn::Zero(FloatTag());
    hn::Store(hn::NearestInt(hn::Mul(value, inverse)), IntTag(), codes + c);
  }
}

// A span of one token, of which `columns` are stored: token `i` of the `tokens` of a tile.
template <DType kType>
struct SpanOfToken {
  std::int64_t columns;
  std::int64_t tokens;
  std::int8_t* codes;
  float* scales;
  std::int32_t* offsets;

  void arrange(std::int64_t i, const float* x) const {
    // The order in which 8 columns' nibbles come out of their bytes.
    constexpr std::array<std::int64_t, 8> kNibbles = {0, 4, 1, 5, 2, 6, 3, 7};
    HWY_ALIGN std::int32_t rounded[kSpan];
    constexpr std::int64_t kScaled = kScaledBySteps<kType> ? kStep : kSpan;
    for (std::int64_t c = 0; c < columns; c += kScaled) {
      const float scale = scaleOf(x + c, kScaled, kMostOfX<kType>);
      roundTo(scale, x + c, kScaled, rounded + c);
      scales[c / kScaled * tokens + i] = scale;
    }
    for (std::int64_t c = 0; c < columns; c += kStep) {
      std::int32_t sum = 0;
      for (std::int64_t k = c; k < std::min(columns, c + kStep); ++k) {
        const std::int64_t from =
            kType == DType::int8 ? k : k / 8 * 8 + kNibbles[static_cast<std::size_t>(k % 8)];
        codes[(k / kQuad * tokens + i) * kQuad + k % kQuad] =
            static_cast<std::int8_t>(kZeroOfX<kType> + rounded[from]);
        sum += rounded[k];
      }
      offsets[c / kStep * tokens + i] = -kZeroOfNibbles * sum;
    }
  }
};

HWY_INLINE IntVec quadsOf(const std::int8_t* w, int v) {
  return hn::LoadU(IntTag(), reinterpret_cast<const std::int32_t*>(w) + v * kLanes);
}

// The weights of a packed block's span, four columns a lane.
template <DType kType>
struct Panel {
  std::int64_t columns;
  alignas(64) std::int8_t weights[kPanelBytes];
  float scales[kSteps * kPackedRows];          // (steps, 16), or (1, 16)
  std::int32_t offsets[kSteps * kPackedRows];  // (steps, 16): what x's zero makes too much

  // `w` is the start of a group.
  void layOut(const std::uint8_t* w, std::int64_t stored) {
    columns = stored;
    for (std::int64_t c = 0; c < columns; c += packedGroup(kType)) {
      const std::int64_t group = std::min(packedGroup(kType), columns - c);
      float* const to = scales + c / packedGroup(kType) * kPackedRows;
      for (int v = 0; v < kVecs; ++v)
        hn::StoreU(loadWide(reinterpret_cast<const hwy::bfloat16_t*>(w) + v * kLanes), FloatTag(),
                   to + v * kLanes);
      w += kPackedScaleBytes;
      for (std::int64_t i = c; i < c + group; i += kPackedColumns) {
        layEight(w, weights + i * kPackedRows);
        w += packedWeightBytes(kType, kPackedColumns);
      }
    }
    if (kType == DType::int8) addUp();
  }

 private:
  static void layEight(const std::uint8_t* w, std::int8_t* to) {
    if constexpr (kType == DType::int8) {
      const hn::FixedTag<std::int16_t, 8> d;
      auto* out = reinterpret_cast<std::int16_t*>(to);
      for (int quad = 0; quad < 2; ++quad, w += kQuad * kPackedRows) {
        const auto* pairs = reinterpret_cast<const std::int16_t*>(w);
        for (std::int64_t row = 0; row < kPackedRows; row += 8, out += 16) {
          const auto first = hn::LoadU(d, pairs + row);
          const auto second = hn::LoadU(d, pairs + kPackedRows + row);
          hn::StoreU(hn::InterleaveLower(d, first, second), d, out);
          hn::StoreU(hn::InterleaveUpper(d, first, second), d, out + 8);
        }
      }
    } else {
      const hn::FixedTag<std::uint16_t, 8> d;
      const auto nibbles = hn::Set(d, 0x0f0f);
      auto* out = reinterpret_cast<std::uint16_t*>(to);
      for (std::int64_t i = 0; i < 32; i += 8) {
        const auto eight = hn::LoadU(d, reinterpret_cast<const std::uint16_t*>(w) + i);
        hn::StoreU(hn::And(eight, nibbles), d, out + i);
        hn::StoreU(hn::And(hn::ShiftRight<4>(eight), nibbles), d, out + 32 + i);
      }
    }
  }

  void addUp() {
    const IntVec zero = hn::Set(IntTag(), kZeroOfX<kType> * 0x01010101);
    for (std::int64_t c = 0; c < columns; c += kStep) {
      for (int v = 0; v < kVecs; ++v) {
        IntVec sum = hn::Zero(IntTag());
        for (std::int64_t k = c; k < std::min(columns, c + kStep); k += kQuad)
          sum = addQuads(sum, zero, quadsOf(weights + k * kPackedRows, v));
        hn::StoreU(hn::Neg(sum), IntTag(), offsets + c / kStep * kPackedRows + v * kLanes);
      }
    }
  }
};

// A tile's tokens of a span, as SpanOfToken lays them out.
struct TileOfTokens {
  const std::int8_t* codes;
  const float* scales;
  const std::int32_t* offsets;
};

// products += those of a step's columns.
template <DType kType, int kTokens>
HWY_INLINE void addStep(const std::int8_t* x, const std::int8_t* w, std::int64_t columns,
                        IntVec (&products)[kTokens][kVecs]) {
  for (std::int64_t c = 0; c < columns; c += kQuad, w += kQuad * kPackedRows, x += kQuad * kTokens) {
    IntVec weights[kVecs];
    for (int v = 0; v < kVecs; ++v) weights[v] = quadsOf(w, v);
    for (int t = 0; t < kTokens; ++t) {
      const IntVec in = everywhere(x + t * kQuad);
      for (int v = 0; v < kVecs; ++v) products[t][v] = addProducts<kType>(products[t][v], in, weights[v]);
    }
  }
}

// sums (kTokens, 16), `apart` from token to token, = or += (`more`) what a panel adds.
template <DType kType, int kTokens>
HWY_NOINLINE void addTile(const TileOfTokens& x, const Panel<kType>& w, bool more, float* sums,
                          std::int64_t apart) {
  const FloatTag d;
  constexpr bool kByStep = kScaledBySteps<kType>;
  const auto scaleOfX = [&](std::int64_t at) HWY_ATTR { return hn::Set(d, x.scales[at]); };
  const auto scaleOfW = [&](std::int64_t step, int v)
                            HWY_ATTR { return hn::LoadU(d, w.scales + step * kPackedRows + v * kLanes); };
  HWY_ALIGN float tile[kTokens][kPackedRows] = {};
  for (std::int64_t step = 0; step * kStep < w.columns; ++step) {
    IntVec products[kTokens][kVecs];
    for (int t = 0; t < kTokens; ++t) {
      for (int v = 0; v < kVecs; ++v) {
        products[t][v] = kType == DType::int8
                             ? hn::LoadU(IntTag(), w.offsets + step * kPackedRows + v * kLanes)
                             : hn::Set(IntTag(), x.offsets[step * kTokens + t]);
      }
    }
    addStep<kType, kTokens>(x.codes + step * kStep * kTokens, w.weights + step * kStep * kPackedRows,
                            std::min(kStep, w.columns - step * kStep), products);
    for (int t = 0; t < kTokens; ++t) {
      for (int v = 0; v < kVecs; ++v) {
        const FloatVec scale = kByStep ? scaleOfX(step * kTokens + t) : scaleOfW(step, v);
        float* const to = tile[t] + v * kLanes;
        hn::Store(hn::MulAdd(hn::ConvertTo(d, products[t][v]), scale, hn::Load(d, to)), d, to);
      }
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    for (int v = 0; v < kVecs; ++v) {
      const FloatVec scale = kByStep ? scaleOfW(0, v) : scaleOfX(t);
      float* const to = sums + t * apart + v * kLanes;
      const FloatVec before = more ? hn::LoadU(d, to) : hn::Zero(d);
      hn::StoreU(hn::MulAdd(hn::Load(d, tile[t] + v * kLanes), scale, before), d, to);
    }
  }
}

#endif

}  // namespace
}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
