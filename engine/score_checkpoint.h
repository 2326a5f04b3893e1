// A score run between two chunks, as a file: what was asked, what there is so far, and the state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/position_buckets.h"
#include "engine/score.h"

namespace eyrie::engine {

struct ScoreCheckpoint {
  // What must be the same for the run to go on, as name and value: model, backend, chunk ...
  std::map<std::string, std::string> settings;
  std::string tokensDigest;  // of the tokens fed
  ScoreTotals totals;
  TokenRecord pending;  // position, token, logprob, entropy and rank
  std::vector<BucketSums> buckets;
  std::uint64_t bytes = 0;          // of the tokens scored
  std::uint64_t perTokenBytes = 0;  // written to the file of every token
  std::vector<std::byte> state;     // serialiseState
};

// The file's bytes. Numbers are kept bit for bit.
std::string writeScoreCheckpoint(const ScoreCheckpoint& checkpoint);
// Throws Error(badFile) naming `file` for damage, and for what this version did not write.
ScoreCheckpoint parseScoreCheckpoint(std::string_view bytes, const std::string& file);

}  // namespace eyrie::engine
