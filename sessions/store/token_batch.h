// Token records as bytes, as the table token_batch holds them.
//
// Layout 1, little-endian: u8 layout, u8 alternatives stored a record, u16 zero, u32 records; then each
// record: i64 position, i32 token, u8 flags (1 = generated), f32 logprob, f32 entropy, i32 rank, f32
// milliseconds, alternatives × (i32 token, f32 logprob). Numbers keep their bits, NaN included.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "engine/taps.h"

namespace eyrie::sessions {

std::string encodeTokens(std::span<const engine::TokenRecord> tokens);

// Appends the batch's records. Throws Error(badFile) beginning with `where`.
void decodeTokens(std::span<const std::byte> bytes, const std::string& where,
                  std::vector<engine::TokenRecord>& out);

// Token ids of a snapshot: i32 little-endian.
std::string encodeIds(std::span<const std::int32_t> ids);
std::vector<std::int32_t> decodeIds(std::span<const std::byte> bytes, const std::string& where);

}  // namespace eyrie::sessions
