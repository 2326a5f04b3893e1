#include "kernels/cpu/pack_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/cpu/grain.h"
#include "kernels/cpu/widen.h"
#include "kernels/packed_matrix.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/pack_matrix.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {

// The first value of largest magnitude, NaN where one is not finite.
float extremeOf(const float* values, std::int64_t count) {
  const std::int64_t lanes = laneCount();
  const FloatTag d;
  FloatVec most = hn::Zero(d);
  FloatVec least = hn::Zero(d);
  FloatVec spoilt = hn::Zero(d);  // 0 * infinity and 0 * NaN are NaN
  for (std::int64_t i = 0; i < count; i += lanes) {
    const FloatVec value = loadUpTo(values + i, std::min(lanes, count - i));
    most = hn::Max(most, value);
    least = hn::Min(least, value);
    spoilt = hn::MulAdd(value, hn::Zero(d), spoilt);
  }
  if (std::isnan(sumOf(spoilt))) return NAN;
  const float up = maxOf(most);
  const float down = maxOf(hn::Neg(least));
  if (up != down) return up > down ? up : -down;
  for (std::int64_t i = 0; i < count; ++i) {
    if (std::abs(values[i]) == up) return values[i];
  }
  return 0;
}

// `toUnits` is -kFitUnits / extreme.
Fit fitOf(const float* values, std::int64_t count, float toUnits) {
  const std::int64_t lanes = laneCount();
  const FloatTag d;
  FloatVec valueCodes = hn::Zero(d);
  FloatVec codeCodes = hn::Zero(d);
  for (std::int64_t c = 0; c < count; c += lanes) {
    const FloatVec value = loadUpTo(values + c, std::min(lanes, count - c));
    const FloatVec units = hn::Round(hn::Mul(value, hn::Set(d, toUnits)));
    const FloatVec rounded = hn::Round(hn::Mul(units, hn::Set(d, 8.0F / kFitUnits)));
    const FloatVec code = hn::Min(hn::Max(rounded, hn::Set(d, -8.0F)), hn::Set(d, 7.0F));
    valueCodes = hn::MulAdd(units, code, valueCodes);
    codeCodes = hn::MulAdd(code, code, codeCodes);
  }
  return {sumOf(valueCodes), sumOf(codeCodes)};
}

void quantise(const float* values, std::int64_t count, float inverse, float bottom, float top,
              signed char* codes) {
  const std::int64_t lanes = laneCount();
  const FloatTag d;
  const hn::Rebind<std::int8_t, FloatTag> dCode;
  for (std::int64_t i = 0; i < count; i += lanes) {
    const std::int64_t here = std::min(lanes, count - i);
    FloatVec scaled = hn::Mul(loadUpTo(values + i, here), hn::Set(d, inverse));
    scaled = hn::Min(hn::Max(scaled, hn::Set(d, bottom)), hn::Set(d, top));
    const auto code = hn::DemoteTo(dCode, hn::NearestInt(scaled));
    if (here == lanes) {
      hn::StoreU(code, dCode, codes + i);
    } else {
      HWY_ALIGN std::int8_t buffer[kMaxLanes];
      hn::Store(code, dCode, buffer);
      std::memcpy(codes + i, buffer, static_cast<std::size_t>(here));
    }
  }
}

}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::kernels::cpu {
namespace {

HWY_EXPORT(extremeOf);
HWY_EXPORT(fitOf);
HWY_EXPORT(quantise);

// Below this a row counts as zero: its inverse would overflow.
constexpr float kSmallest = 1e-30F;

GroupScale scaleOf(DType to, const float* values, std::int64_t count) {
  const float extreme = HWY_DYNAMIC_DISPATCH(extremeOf)(values, count);
  const GroupScale plain = groupScale(to, extreme);
  if (to == DType::int8 || plain.inverse == 0) return plain;
  return fittedScale(extreme, HWY_DYNAMIC_DISPATCH(fitOf)(values, count, -kFitUnits / extreme));
}

void packBlock(const MatrixView& from, DType to, std::int64_t firstRow, std::byte* out) {
  const std::int64_t group = packedGroup(to);
  const std::int64_t rows = std::min(kPackedRows, from.rows - firstRow);
  const auto quantiseRow = HWY_DYNAMIC_DISPATCH(quantise);
  const float top = to == DType::int8 ? 127.0F : 7.0F;
  const float bottom = to == DType::int8 ? -127.0F : -8.0F;
  thread_local std::vector<float> values;
  values.resize(static_cast<std::size_t>(rows * from.cols));
  widenElements(from.data, from.dtype, firstRow * from.cols, rows * from.cols, 1.0F, values.data());
  std::vector<signed char> codes(static_cast<std::size_t>(kPackedRows * group));
  for (std::int64_t col = 0; col < from.cols; col += group) {
    const std::int64_t count = std::min(group, from.cols - col);
    if (count < group) std::fill(codes.begin(), codes.end(), static_cast<signed char>(0));
    std::uint16_t scales[kPackedRows] = {};
    for (std::int64_t r = 0; r < rows; ++r) {
      float* row = values.data() + r * from.cols + col;
      const GroupScale scale = scaleOf(to, row, count);
      scales[r] = scale.bits;
      signed char* code = codes.data() + r * group;
      if (scale.inverse == 0) {
        std::fill_n(code, count, static_cast<signed char>(0));
      } else {
        quantiseRow(row, count, scale.inverse, bottom, top, code);
      }
    }
    std::memcpy(out, scales, sizeof scales);
    const std::int64_t padded = roundUp(count, kPackedColumns);
    interleaveCodes(to, codes.data(), group, padded, out + kPackedScaleBytes);
    out += kPackedScaleBytes + packedWeightBytes(to, padded);
  }
}

}  // namespace

GroupScale groupScale(DType to, float extreme) {
  if (std::isnan(extreme)) return {0x7fc0U, 0};
  if (std::abs(extreme) < kSmallest) return {};
  const float exact = to == DType::int8 ? std::abs(extreme) / 127.0F : extreme / -8.0F;
  auto bits = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(exact) >> 16);
  if (bf16ToFloat(bits) != exact) ++bits;  // away from zero, so that the extreme stays within the codes
  return {bits, 1.0F / bf16ToFloat(bits)};
}

GroupScale fittedScale(float extreme, const Fit& fit) {
  const std::uint16_t bits = floatToBf16(fit.valueCodes / fit.codeCodes * (extreme / -kFitUnits));
  return {bits, 1.0F / bf16ToFloat(bits)};
}

void interleaveCodes(DType to, const signed char* codes, std::int64_t stride, std::int64_t columns,
                     std::byte* out) {
  if (to == DType::int8) {
    for (std::int64_t c = 0; c < columns; c += 2) {
      for (std::int64_t r = 0; r < kPackedRows; ++r, out += 2) std::memcpy(out, codes + r * stride + c, 2);
    }
    return;
  }
  for (std::int64_t c = 0; c < columns; c += 8) {
    for (std::int64_t r = 0; r < kPackedRows; ++r) {
      const signed char* at = codes + r * stride + c;
      for (int odd = 0; odd < 2; ++odd, out += 2) {
        unsigned word = 0;
        for (int j = 0; j < 4; ++j) word |= static_cast<unsigned>(at[2 * j + odd] + 8) << (4 * j);
        const auto stored = static_cast<std::uint16_t>(word);
        std::memcpy(out, &stored, 2);
      }
    }
  }
}

void pack(const MatrixView& from, DType to, std::byte* out, ThreadPool& pool) {
  const std::int64_t blocks = (from.rows + kPackedRows - 1) / kPackedRows;
  const std::int64_t blockBytes = packedBlockBytes(to, from.cols);
  const auto part = [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t block = begin; block < end; ++block) {
      packBlock(from, to, block * kPackedRows, out + block * blockBytes);
    }
  };
  pool.parallelFor(blocks, grainFor(static_cast<double>(kPackedRows * from.cols)), part);
}

}  // namespace eyrie::kernels::cpu
#endif
