#include "kernels/cpu/packed_linear.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/cpu/grain.h"
#include "kernels/packed_matrix.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/packed_linear.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/packed_tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {
namespace {

using AddTile = void (*)(const std::uint8_t*, const std::int16_t*, std::int64_t, const TokenCodes&, float*,
                         std::int64_t);

// Tokens of one tile: two vectors a token, six tokens and the weights fill the sixteen registers of AVX2.
constexpr std::int64_t kTileTokens = 6;

template <DType kType, bool kWide>
AddTile tileOf(std::int64_t tokens) {
  constexpr AddTile kTiles[] = {addTile<kType, 1, kWide>, addTile<kType, 2, kWide>, addTile<kType, 3, kWide>,
                                addTile<kType, 4, kWide>, addTile<kType, 5, kWide>, addTile<kType, 6, kWide>};
  return kTiles[std::min(tokens, kTileTokens) - 1];
}

bool splitsCodes(DType dtype, std::int64_t T) {
  return kByteTiles && dtype == DType::int4 && T == 1;
}

// `columns` of `blocks` blocks, of which `w` is the first one's group, and all tokens.
template <DType kType>
void addReach(const LinearArgs& args, const TokenCodes& x, const std::uint8_t* w, std::int64_t columns,
              std::int64_t blocks, float* out) {
  thread_local std::vector<std::int16_t> room;
  const std::int64_t width = blocks * kPackedRows;
  const std::int64_t blockBytes = packedBlockBytes(kType, args.weight.cols);
  const bool wide = args.T >= kWideTokens;
  const bool bytes = splitsCodes(kType, args.T);
  if (wide) {
    room.resize(static_cast<std::size_t>(blocks * kReach * kPackedRows));
    for (std::int64_t b = 0; b < blocks; ++b)
      widenWeights<kType>(w + b * blockBytes, columns, room.data() + b * kReach * kPackedRows);
  }
  for (std::int64_t t = 0; t < args.T; t += kTileTokens) {
    const AddTile add = wide ? tileOf<kType, true>(args.T - t) : tileOf<kType, false>(args.T - t);
    TokenCodes here = x;
    here.codes += t * x.stride;
    if (kType == DType::int4) here.offsets += t * x.offsetStride;
    for (std::int64_t b = 0; b < blocks; ++b) {
      float* to = out + t * width + b * kPackedRows;
      const std::int16_t* words = wide ? room.data() + b * kReach * kPackedRows : nullptr;
      if (bytes) {
        addByteTile(w + b * blockBytes, columns, here, to);
      } else {
        add(w + b * blockBytes, words, columns, here, to, width);
      }
    }
  }
}

template <DType kType>
void addBlocks(const LinearArgs& args, const TokenCodes& x, std::int64_t block, std::int64_t blocks,
               float* out) {
  const auto* w =
      static_cast<const std::uint8_t*>(args.weight.data) + block * packedBlockBytes(kType, args.weight.cols);
  const std::int64_t padded = roundUp(args.weight.cols, kPackedColumns);
  std::fill_n(out, args.T * blocks * kPackedRows, 0.0F);
  TokenCodes here = x;
  for (std::int64_t c = 0; c < padded; c += kReach) {
    const std::int64_t columns = std::min(kReach, padded - c);
    addReach<kType>(args, here, w, columns, blocks, out);
    w += packedBlockBytes(kType, columns);
    here.codes += kReach;
    if (kType == DType::int4) here.offsets += kReach / packedGroup(kType);
  }
}

void quantise(const float* x, std::int64_t count, float inverse, std::int16_t* codes) {
  const FloatTag d;
  const hn::Rebind<std::int16_t, FloatTag> dCode;
  const std::int64_t lanes = laneCount();
  for (std::int64_t i = 0; i < count; i += lanes) {
    const std::int64_t here = std::min(lanes, count - i);
    const FloatVec scaled = hn::Mul(loadUpTo(x + i, here), hn::Set(d, inverse));
    const auto code = hn::DemoteTo(dCode, hn::NearestInt(scaled));
    if (here == lanes) {
      hn::StoreU(code, dCode, codes + i);
    } else {
      HWY_ALIGN std::int16_t buffer[kMaxLanes];
      hn::Store(code, dCode, buffer);
      std::copy_n(buffer, here, codes + i);
    }
  }
}

}  // namespace

// out (T, blocks * 16) = the rows of `blocks` blocks from `block` on, in units of x's scales.
void packedBlocks(const LinearArgs& args, const TokenCodes& x, std::int64_t block, std::int64_t blocks,
                  float* out) {
  return args.weight.dtype == DType::int8 ? addBlocks<DType::int8>(args, x, block, blocks, out)
                                          : addBlocks<DType::int4>(args, x, block, blocks, out);
}

// codes = x / scale, rounded; returns the scale: NaN where x is not finite, 0 where it is all but zero.
float quantiseRow(const float* x, std::int64_t count, std::int16_t* codes) {
  const float reach = reachOf(x, count);
  if (!(reach >= kSmallestReach)) {
    std::fill_n(codes, count, static_cast<std::int16_t>(0));
    return std::isnan(reach) ? reach : 0.0F;
  }
  constexpr auto kMost = static_cast<float>(kLargestCode);
  quantise(x, count, kMost / reach, codes);
  return reach / kMost;
}

// For int4, after the codes of T tokens are known: what TokenCodes says of one of them, and its codes as
// packedBlocks() wants them.
void offsetRow(std::int64_t count, std::int64_t T, std::int16_t* codes, std::int32_t* offsets) {
  constexpr std::int64_t kGroup = packedGroup(DType::int4);
  for (std::int64_t first = 0; first < count; first += kGroup) {
    std::int32_t sum = 0;
    for (std::int64_t c = first; c < std::min(count, first + kGroup); ++c) sum += codes[c];
    offsets[first / kGroup] = -8 * sum;
  }
  if (splitsCodes(DType::int4, T)) splitCodes(codes, count);
}

}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::kernels::cpu {
namespace {

HWY_EXPORT(offsetRow);
HWY_EXPORT(packedBlocks);
HWY_EXPORT(quantiseRow);

// Blocks of 16 rows whose 256 columns stay in the first cache while many tokens pass, three where they are
// widened; for few tokens one after the other, as they lie in memory.
std::int64_t blocksAtOnce(std::int64_t T) {
  if (T >= kWideTokens) return 3;
  return T > 6 ? 4 : 1;
}

class Activations {
 public:
  Activations(const LinearArgs& args, ThreadPool& pool)
      : cols_(args.weight.cols), stride_(roundUp(cols_, kPackedColumns) + kSpread) {
    codes_.resize(static_cast<std::size_t>(args.T * stride_));
    scales_.resize(static_cast<std::size_t>(args.T));
    if (args.weight.dtype == DType::int4) {
      offsetStride_ = roundUp(cols_, packedGroup(DType::int4)) / packedGroup(DType::int4);
      offsets_.resize(static_cast<std::size_t>(args.T * offsetStride_));
    }
    pool.parallelFor(args.T, grainFor(0.3 * static_cast<double>(cols_)),
                     [&](std::int64_t begin, std::int64_t end, int) {
                       for (std::int64_t t = begin; t < end; ++t) fillRow(args, t);
                     });
  }
  TokenCodes codes() const { return {codes_.data(), stride_, offsets_.data(), offsetStride_}; }
  float scale(std::int64_t t) const { return scales_[static_cast<std::size_t>(t)]; }

 private:
  // Rows a power of two apart would share the cache's few places.
  static constexpr std::int64_t kSpread = 32;

  void fillRow(const LinearArgs& args, std::int64_t t) {
    std::int16_t* codes = codes_.data() + t * stride_;
    std::fill(codes + cols_, codes + stride_, static_cast<std::int16_t>(0));
    scales_[static_cast<std::size_t>(t)] =
        HWY_DYNAMIC_DISPATCH(quantiseRow)(args.x + t * cols_, cols_, codes);
    if (offsets_.empty()) return;
    HWY_DYNAMIC_DISPATCH(offsetRow)
    (roundUp(cols_, kPackedColumns), args.T, codes, offsets_.data() + t * offsetStride_);
  }

  std::int64_t cols_;
  std::int64_t stride_;
  std::int64_t offsetStride_ = 0;
  std::vector<std::int16_t> codes_;
  std::vector<std::int32_t> offsets_;
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
  const TokenCodes codes = x.codes();
  const auto blocksOf = HWY_DYNAMIC_DISPATCH(packedBlocks);
  const std::int64_t atOnce = blocksAtOnce(args.T);
  const std::int64_t blocks = (args.weight.rows + kPackedRows - 1) / kPackedRows;
  const double perBlock = 0.03 * static_cast<double>(kPackedRows * args.weight.cols * args.T);
  pool.parallelFor(blocks, grainFor(perBlock, atOnce), [&](std::int64_t begin, std::int64_t end, int) {
    thread_local std::vector<float> sums;
    sums.resize(static_cast<std::size_t>(args.T * atOnce * kPackedRows));
    for (std::int64_t block = begin; block < end; block += atOnce) {
      const std::int64_t here = std::min(atOnce, end - block);
      blocksOf(args, codes, block, here, sums.data());
      finishRows(args, x, block * kPackedRows, here * kPackedRows, sums.data());
    }
  });
}

}  // namespace eyrie::kernels::cpu
#endif
