// Where a long text may be cut so that its parts have the tokens of the whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/tokenizer/spm_proto.h"

namespace eyrie::engine {

// BPE merges neighbours into pieces of the vocabulary only. Between two characters that stand beside each
// other in no piece nothing is ever merged, so what lies before and what lies behind do not see each other.
class CutFinder {
 public:
  explicit CutFinder(const std::vector<SpmPiece>& pieces);

  // Whether the rule above is all there is: BPE, text taken as it is, and bytes for unknown characters (a run
  // of them is one token otherwise). Gemma's tokenizer is such a one. Unigram adds scores up in f32 from the
  // text's beginning, so that what it chooses late in a text depends on all before.
  static bool canCut(const SpmModel& model);
  // As Tokenizer::lastCut.
  std::size_t lastCut(std::string_view text, std::size_t after) const;

 private:
  std::vector<std::uint64_t> pairs_;  // neighbours in some piece, sorted
};

}  // namespace eyrie::engine
