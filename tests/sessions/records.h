// Token records for tests: different in every field, some unknown.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "engine/taps.h"

namespace eyrie::sessions::testing {

inline engine::TokenRecord makeRecord(std::int64_t position) {
  engine::TokenRecord record;
  record.position = position;
  record.token = std::int32_t(7 + 13 * position % 4000);
  record.generated = position % 3 == 2;
  const bool known = position > 0;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  record.logprob = known ? -0.1F * float(position % 50) - 0.0123456789F : nan;
  record.entropy = known ? 1.0F / float(position + 2) : nan;
  record.rank = known ? std::int32_t(position % 9) : -1;
  for (int i = 0; i < engine::kTopTokens; ++i) {
    const bool present = known && i < 5;
    record.topTokens[i] = present ? std::int32_t(position * 10 + i) : -1;
    record.topLogprobs[i] = present ? -0.3F * float(i + 1) : 0;
  }
  record.milliseconds = 0.25F * float(position % 7);
  return record;
}

inline std::vector<engine::TokenRecord> makeRecords(std::int64_t from, std::int64_t to) {
  std::vector<engine::TokenRecord> records;
  for (std::int64_t p = from; p < to; ++p) records.push_back(makeRecord(p));
  return records;
}

// Bits, so that NaN equals NaN.
inline bool sameBits(float a, float b) {
  return std::memcmp(&a, &b, sizeof a) == 0 || (a != a && b != b);
}

inline bool same(const engine::TokenRecord& a, const engine::TokenRecord& b) {
  bool equal = a.position == b.position && a.token == b.token && a.generated == b.generated &&
               sameBits(a.logprob, b.logprob) && sameBits(a.entropy, b.entropy) && a.rank == b.rank &&
               sameBits(a.milliseconds, b.milliseconds);
  for (int i = 0; i < engine::kTopTokens; ++i) {
    equal = equal && a.topTokens[i] == b.topTokens[i] && sameBits(a.topLogprobs[i], b.topLogprobs[i]);
  }
  return equal;
}

inline bool same(const std::vector<engine::TokenRecord>& a, const std::vector<engine::TokenRecord>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!same(a[i], b[i])) return false;
  }
  return true;
}

}  // namespace eyrie::sessions::testing
