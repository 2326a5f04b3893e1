#include "sessions/export/trace_arrays.h"

#include <algorithm>

#include "sessions/export/half.h"
#include "sessions/export/trace_metadata.h"

namespace eyrie::sessions {
namespace {

bool isGlobal(const engine::ModelInfo& model, const engine::TraceColumn& column) {
  const auto& blocks = model.summary.config.blocks;
  return column.quantity == engine::Quantity::attention && std::size_t(column.layerIdx) < blocks.size() &&
         blocks[std::size_t(column.layerIdx)] == engine::BlockKind::globalAttention;
}

}  // namespace

std::int64_t bytesOf(ArrayType type) {
  switch (type) {
    case ArrayType::u8:
      return 1;
    case ArrayType::f16:
      return 2;
    default:
      return 4;
  }
}

std::int64_t TraceArray::rowElements() const {
  std::int64_t elements = 1;
  for (const auto size : shape) elements *= size;
  return elements;
}

std::vector<TraceArray> planArrays(const engine::ModelInfo& model, const engine::FrameLayout& layout,
                                   TracePrecision precision, std::int64_t tokens) {
  constexpr std::int64_t K = engine::kTopTokens;
  std::vector<TraceArray> arrays;
  const auto add = [&](std::string name, ArrayType type, std::vector<std::int64_t> shape, int column) {
    TraceArray array;
    array.name = std::move(name);
    array.type = type;
    array.shape = std::move(shape);
    array.column = column;
    arrays.push_back(std::move(array));
  };
  add("tokens", ArrayType::i32, {}, -1);
  add("logprob", ArrayType::f32, {}, -1);
  add("output.entropy", ArrayType::f32, {}, -1);
  add("output.topk_tokens", ArrayType::i32, {K}, -1);
  add("output.topk_logprobs", ArrayType::f32, {K}, -1);
  const bool half = precision == TracePrecision::f16;
  for (std::size_t i = 0; i < layout.columns().size(); ++i) {
    const auto& column = layout.columns()[i];
    if (half && column.quantity == engine::Quantity::decay) continue;
    add(column.name, half && !isSummary(column.quantity) ? ArrayType::f16 : ArrayType::f32, column.shape,
        int(i));
    if (isGlobal(model, column)) arrays.back().span = column.shape.back();
  }
  cutSpans(arrays, tokens);
  return arrays;
}

void cutSpans(std::vector<TraceArray>& arrays, std::int64_t tokens) {
  for (auto& array : arrays) {
    if (array.span > 0) array.shape.back() = std::min(array.span, tokens);
  }
}

void appendRow(const TraceArray& array, std::span<const float> values, std::string& out) {
  const auto put = [&](std::span<const float> part) {
    if (array.type == ArrayType::f32) {
      out.append(reinterpret_cast<const char*>(part.data()), part.size_bytes());
      return;
    }
    for (const float value : part) {
      const std::uint16_t half = toHalf(value);
      out.append(reinterpret_cast<const char*>(&half), 2);
    }
  };
  if (array.span == 0) return put(values);
  const auto span = std::size_t(array.span);
  const auto kept = std::size_t(array.shape.back());
  for (std::size_t head = 0; head * span < values.size(); ++head) {
    put(values.subspan(head * span + (span - kept), kept));
  }
}

}  // namespace eyrie::sessions
