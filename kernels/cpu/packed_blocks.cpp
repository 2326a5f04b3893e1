#include "kernels/cpu/packed_blocks.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/cpu/grain.h"
#include "kernels/cpu/parts.h"
#include "kernels/packed_matrix.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/packed_blocks.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/byte_tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {
namespace {

#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2

// As in linear_blocks.cpp: a panel (the 16 rows of a packed block, a span of columns) stays in the first
// cache while tiles of tokens pass, a block of panels in the second.
constexpr std::int64_t kBlockPanels = 8;
constexpr std::int64_t kBlockRows = kBlockPanels * kPackedRows;
constexpr std::int64_t kBlockTiles = 16;

Parts tilesOf(std::int64_t T) {
  return {T, kTileTokens};
}
std::int64_t spansOf(std::int64_t cols) {
  return (cols + kSpan - 1) / kSpan;
}
// Columns of a span that are stored.
std::int64_t columnsOf(std::int64_t cols, std::int64_t span) {
  return std::min(kSpan, roundUp(cols, kPackedColumns) - span * kSpan);
}

// x as the kernel reads it: of each span of columns, of each tile after tile of tokens, of each four columns
// what all its tokens multiply.
struct Arranged {
  std::vector<std::int8_t> codes;
  std::vector<float> scales;          // of each span of each tile (steps, tokens), or (1, tokens)
  std::vector<std::int32_t> offsets;  // likewise (steps, tokens): what the weights' zero makes too much
  std::int64_t T = 0;

  void resize(std::int64_t tokens, std::int64_t cols) {
    T = tokens;
    codes.resize(static_cast<std::size_t>(T * roundUp(cols, kPackedColumns)));
    scales.resize(static_cast<std::size_t>(T * spansOf(cols) * kSteps));
    offsets.resize(scales.size());
  }
  std::int64_t codesAt(std::int64_t span, std::int64_t t, std::int64_t columns) const {
    return span * kSpan * T + t * columns;
  }
  std::int64_t scalesAt(std::int64_t span, std::int64_t t) const { return (span * T + t) * kSteps; }
  HWY_INLINE TileOfTokens tile(std::int64_t span, std::int64_t t, std::int64_t columns) const {
    const std::int64_t at = scalesAt(span, t);
    return {codes.data() + codesAt(span, t, columns), scales.data() + at, offsets.data() + at};
  }
};

template <DType kType>
void arrangeTile(const LinearArgs& args, std::int64_t t, std::int64_t tokens, Arranged& to) {
  const std::int64_t cols = args.weight.cols;
  for (std::int64_t span = 0; span < spansOf(cols); ++span) {
    const std::int64_t columns = columnsOf(cols, span);
    const SpanOfToken<kType> place{columns, tokens, to.codes.data() + to.codesAt(span, t, columns),
                                   to.scales.data() + to.scalesAt(span, t),
                                   to.offsets.data() + to.scalesAt(span, t)};
    for (std::int64_t i = 0; i < tokens; ++i) {
      HWY_ALIGN float values[kSpan] = {};
      std::copy_n(args.x + (t + i) * cols + span * kSpan, std::min(kSpan, cols - span * kSpan), values);
      place.arrange(i, values);
    }
  }
}

template <DType kType>
void arrange(const LinearArgs& args, ThreadPool& pool, Arranged& to) {
  to.resize(args.T, args.weight.cols);
  const Parts tiles = tilesOf(args.T);
  const auto perTile = static_cast<double>(kTileTokens * args.weight.cols);
  pool.parallelFor(tiles.count, grainFor(perTile), [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) arrangeTile<kType>(args, tiles.begin(i), tiles.size(i), to);
  });
}

template <DType kType>
using AddTile = void (*)(const TileOfTokens&, const Panel<kType>&, bool, float*, std::int64_t);

template <DType kType, int... kTokens>
AddTile<kType> tileAmong(std::int64_t tokens, std::integer_sequence<int, kTokens...>) {
  constexpr AddTile<kType> kTiles[] = {addTile<kType, kTokens + 1>...};
  return kTiles[tokens - 1];
}

// The packed blocks [begin, end) and all tokens.
template <DType kType>
class BlockProduct {
 public:
  BlockProduct(const LinearArgs& args, const Arranged& in) : args_(args), in_(in) {
    panels_.resize(kBlockPanels);
    waiting_.resize(static_cast<std::size_t>(args.T * kBlockRows));
  }

  void run(std::int64_t begin, std::int64_t end) {
    for (std::int64_t first = begin; first < end; first += kBlockPanels) {
      const std::int64_t count = std::min(kBlockPanels, end - first);
      for (std::int64_t span = 0; span < spansOf(args_.weight.cols); ++span) multiply(first, count, span);
      finish(first * kPackedRows, count * kPackedRows);
    }
  }

 private:
  void multiply(std::int64_t first, std::int64_t count, std::int64_t span) {
    const std::int64_t cols = args_.weight.cols;
    const auto* w =
        static_cast<const std::uint8_t*>(args_.weight.data) + packedBlockBytes(kType, span * kSpan);
    for (std::int64_t i = 0; i < count; ++i)
      panel(i).layOut(w + (first + i) * packedBlockBytes(kType, cols), columnsOf(cols, span));
    const Parts tiles = tilesOf(args_.T);
    for (std::int64_t begin = 0; begin < tiles.count; begin += kBlockTiles)
      for (std::int64_t i = 0; i < count; ++i)
        addTiles(i, span, begin, std::min(tiles.count, begin + kBlockTiles));
  }

  void addTiles(std::int64_t place, std::int64_t span, std::int64_t begin, std::int64_t end) {
    const Panel<kType>& w = panel(place);
    const Parts tiles = tilesOf(args_.T);
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t t = tiles.begin(i);
      const auto add = tileAmong<kType>(tiles.size(i), std::make_integer_sequence<int, kTileTokens>());
      add(in_.tile(span, t, w.columns), w, span > 0, waiting_.data() + t * kBlockRows + place * kPackedRows,
          kBlockRows);
    }
  }

  void finish(std::int64_t row, std::int64_t width) {
    const std::int64_t rows = std::min(width, args_.weight.rows - row);
    for (std::int64_t t = 0; t < args_.T; ++t) {
      float* const out = args_.out + t * args_.weight.rows + row;
      const float* const sums = waiting_.data() + t * kBlockRows;
      for (std::int64_t r = 0; r < rows; ++r)
        out[r] = sums[r] + (args_.bias == nullptr ? 0.0F : args_.bias[row + r]);
    }
  }

  static Panel<kType>& panel(std::int64_t place) { return panels_[static_cast<std::size_t>(place)]; }

  const LinearArgs& args_;
  const Arranged& in_;
  inline static thread_local std::vector<Panel<kType>> panels_;
  inline static thread_local std::vector<float> waiting_;  // (T, kBlockRows): sums of the spans so far
};

template <DType kType>
void productOf(const LinearArgs& args, ThreadPool& pool) {
  thread_local Arranged room;
  Arranged& in = room;  // this thread's, for all
  arrange<kType>(args, pool, in);
  const std::int64_t blocks = (args.weight.rows + kPackedRows - 1) / kPackedRows;
  const double perBlock = 0.02 * static_cast<double>(kPackedRows * args.weight.cols * args.T);
  pool.parallelFor(blocks, grainFor(perBlock, kBlockPanels), [&](std::int64_t begin, std::int64_t end, int) {
    BlockProduct<kType>(args, in).run(begin, end);
  });
}

bool byteProducts() {
  return true;
}

void packedProduct(const LinearArgs& args, ThreadPool& pool) {
  return args.weight.dtype == DType::int8 ? productOf<DType::int8>(args, pool)
                                          : productOf<DType::int4>(args, pool);
}

#else

bool byteProducts() {
  return false;
}

void packedProduct(const LinearArgs&, ThreadPool&) {}

#endif

}  // namespace
}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::kernels::cpu {
namespace {

HWY_EXPORT(byteProducts);
HWY_EXPORT(packedProduct);

}  // namespace

bool multipliesBytes() {
  return HWY_DYNAMIC_DISPATCH(byteProducts)();
}

void packedByBlocks(const LinearArgs& args, ThreadPool& pool) {
  HWY_DYNAMIC_DISPATCH(packedProduct)(args, pool);
}

}  // namespace eyrie::kernels::cpu
#endif
