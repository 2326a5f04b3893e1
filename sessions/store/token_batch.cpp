#include "sessions/store/token_batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/error.h"

namespace eyrie::sessions {
namespace {

static_assert(std::endian::native == std::endian::little, "the layout is written as memory lies");

constexpr std::uint8_t kLayout = 1;
constexpr std::size_t kHeaderBytes = 8;
constexpr std::size_t kFixedBytes = 8 + 4 + 1 + 4 + 4 + 4 + 4;

std::size_t recordBytes(int alternatives) {
  return kFixedBytes + 8 * std::size_t(alternatives);
}

template <class T>
void put(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

template <class T>
T take(const std::byte*& at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  at += sizeof(T);
  return value;
}

int storedAlternatives(std::span<const engine::TokenRecord> tokens) {
  int most = 0;
  for (const auto& token : tokens) {
    for (int i = most; i < engine::kTopTokens; ++i) {
      if (token.topTokens[i] >= 0) most = i + 1;
    }
  }
  return most;
}

[[noreturn]] void damaged(const std::string& where, const std::string& what) {
  throw engine::Error(engine::ErrorCode::badFile, where + ": " + what);
}

}  // namespace

std::string encodeTokens(std::span<const engine::TokenRecord> tokens) {
  const int alternatives = storedAlternatives(tokens);
  std::string out;
  out.reserve(kHeaderBytes + tokens.size() * recordBytes(alternatives));
  put(out, kLayout);
  put(out, std::uint8_t(alternatives));
  put(out, std::uint16_t(0));
  put(out, std::uint32_t(tokens.size()));
  for (const auto& token : tokens) {
    put(out, token.position);
    put(out, token.token);
    put(out, std::uint8_t(token.generated ? 1 : 0));
    put(out, token.logprob);
    put(out, token.entropy);
    put(out, token.rank);
    put(out, token.milliseconds);
    for (int i = 0; i < alternatives; ++i) {
      put(out, token.topTokens[i]);
      put(out, token.topLogprobs[i]);
    }
  }
  return out;
}

void decodeTokens(std::span<const std::byte> bytes, const std::string& where,
                  std::vector<engine::TokenRecord>& out) {
  if (bytes.size() < kHeaderBytes) {
    damaged(where, fmt::format("expected at least {} bytes, found {}", kHeaderBytes, bytes.size()));
  }
  const std::byte* at = bytes.data();
  const auto layout = take<std::uint8_t>(at);
  const auto alternatives = take<std::uint8_t>(at);
  const auto zero = take<std::uint16_t>(at);
  const auto count = take<std::uint32_t>(at);
  if (layout != kLayout || zero != 0)
    damaged(where, fmt::format("expected layout {}, found {}", kLayout, layout));
  if (alternatives > engine::kTopTokens) {
    damaged(where,
            fmt::format("expected at most {} alternatives, found {}", engine::kTopTokens, alternatives));
  }
  const std::uint64_t expected = kHeaderBytes + std::uint64_t(count) * recordBytes(alternatives);
  if (bytes.size() != expected) {
    damaged(where, fmt::format("expected {} bytes for {} tokens, found {}", expected, count, bytes.size()));
  }
  out.reserve(out.size() + count);
  for (std::uint32_t n = 0; n < count; ++n) {
    engine::TokenRecord token;
    token.position = take<std::int64_t>(at);
    token.token = take<std::int32_t>(at);
    token.generated = (take<std::uint8_t>(at) & 1) != 0;
    token.logprob = take<float>(at);
    token.entropy = take<float>(at);
    token.rank = take<std::int32_t>(at);
    token.milliseconds = take<float>(at);
    std::fill(std::begin(token.topTokens), std::end(token.topTokens), -1);
    for (int i = 0; i < alternatives; ++i) {
      token.topTokens[i] = take<std::int32_t>(at);
      token.topLogprobs[i] = take<float>(at);
    }
    out.push_back(token);
  }
}

std::string encodeIds(std::span<const std::int32_t> ids) {
  std::string out(ids.size_bytes(), '\0');
  if (!ids.empty()) std::memcpy(out.data(), ids.data(), ids.size_bytes());
  return out;
}

std::vector<std::int32_t> decodeIds(std::span<const std::byte> bytes, const std::string& where) {
  if (bytes.size() % 4 != 0)
    damaged(where, fmt::format("expected whole token ids, found {} bytes", bytes.size()));
  std::vector<std::int32_t> ids(bytes.size() / 4);
  if (!ids.empty()) std::memcpy(ids.data(), bytes.data(), bytes.size());
  return ids;
}

}  // namespace eyrie::sessions
