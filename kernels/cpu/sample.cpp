#include "kernels/sample.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/cpu/grain.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/sample.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::kernels::cpu::HWY_NAMESPACE {

// First index >= begin whose value is above `threshold`, at a vector's precision: the vector that holds it.
// `end` where there is none. NaN is above nothing.
std::int64_t nextAbove(const float* values, std::int64_t begin, std::int64_t end, float threshold) {
  const FloatTag d;
  const std::int64_t lanes = laneCount();
  const FloatVec bound = hn::Set(d, threshold);
  std::int64_t i = begin;
  for (; i + lanes <= end; i += lanes) {
    if (!hn::AllFalse(d, hn::Gt(loadWide(values + i), bound))) break;
  }
  while (i < end && !(values[i] > threshold)) ++i;
  return i;
}

}  // namespace eyrie::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::kernels::cpu {
namespace {

HWY_EXPORT(nextAbove);

struct Candidate {
  float value = 0;
  std::int32_t index = 0;
};

// Larger logit first, then the smaller index.
bool before(const Candidate& a, const Candidate& b) {
  return a.value > b.value || (a.value == b.value && a.index < b.index);
}

Candidate candidateAt(const float* logits, std::int64_t index) {
  const float value = logits[index];
  const bool isNumber = value == value;
  return {isNumber ? value : -std::numeric_limits<float>::infinity(), static_cast<std::int32_t>(index)};
}

// The k best of [begin, end) as a heap whose front is the worst of them.
std::vector<Candidate> bestOf(const TopKArgs& args, std::int64_t begin, std::int64_t end) {
  const auto next = HWY_DYNAMIC_DISPATCH(nextAbove);
  std::vector<Candidate> heap;
  const std::int64_t first = std::min(end, begin + args.k);
  for (std::int64_t i = begin; i < first; ++i) heap.push_back(candidateAt(args.logits, i));
  std::make_heap(heap.begin(), heap.end(), before);
  // A later equal logit never displaces an earlier one: indices rise.
  for (std::int64_t i = next(args.logits, first, end, heap.front().value); i < end;
       i = next(args.logits, i + 1, end, heap.front().value)) {
    std::pop_heap(heap.begin(), heap.end(), before);
    heap.back() = candidateAt(args.logits, i);
    std::push_heap(heap.begin(), heap.end(), before);
  }
  return heap;
}

void writeBest(const TopKArgs& args, std::vector<Candidate>& candidates) {
  const auto middle = candidates.begin() + static_cast<std::ptrdiff_t>(args.k);
  std::partial_sort(candidates.begin(), middle, candidates.end(), before);
  for (std::int64_t i = 0; i < args.k; ++i) {
    args.indices[i] = candidates[static_cast<std::size_t>(i)].index;
    args.values[i] = candidates[static_cast<std::size_t>(i)].value;
  }
}

void sortAll(const TopKArgs& args) {
  std::vector<Candidate> all(static_cast<std::size_t>(args.V));
  for (std::int64_t i = 0; i < args.V; ++i) all[static_cast<std::size_t>(i)] = candidateAt(args.logits, i);
  if (args.k < args.V) {
    std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(args.k), all.end(), before);
    all.resize(static_cast<std::size_t>(args.k));
  }
  writeBest(args, all);
}

}  // namespace

void topK(const TopKArgs& args, ThreadPool& pool) {
  constexpr std::int64_t kHeapLimit = 256;  // beyond it a heap loses to selection
  if (args.k > kHeapLimit) return sortAll(args);
  std::vector<std::vector<Candidate>> parts(static_cast<std::size_t>(pool.maxParts()));
  const auto body = [&](std::int64_t begin, std::int64_t end, int part) {
    parts[static_cast<std::size_t>(part)] = bestOf(args, begin, end);
  };
  pool.parallelFor(args.V, std::max<std::int64_t>(grainFor(0.3), args.k), body);
  std::vector<Candidate> best;
  for (const std::vector<Candidate>& part : parts) best.insert(best.end(), part.begin(), part.end());
  writeBest(args, best);
}

}  // namespace eyrie::kernels::cpu
#endif
