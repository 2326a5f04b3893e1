#include "engine/score_checkpoint.h"

#include <fmt/format.h>

#include <bit>
#include <span>

#include "engine/checkpoint/fingerprint.h"
#include "engine/checkpoint/strict_json.h"
#include "engine/error.h"

namespace eyrie::engine {
namespace {

using Json = nlohmann::json;

// "EYRIESCORE 1 <digest of all that follows>\n<one line of JSON>\n<state>"
constexpr std::string_view kMagic = "EYRIESCORE 1 ";
constexpr std::size_t kDigestDigits = 32;
// Four and a list for each bucket; a bucket a token of a million is within it.
constexpr std::size_t kMaxValues = 50'000'000;
constexpr std::size_t kHeaderBytes = kMagic.size() + kDigestDigits + 1;

std::string digestOf(std::string_view bytes) {
  Digest digest;
  digest.add(bytes);
  return digest.hex();
}

// JSON has no NaN and no infinity, and a sum must go on from the very same bits.
Json bitsOf(double value) {
  return std::bit_cast<std::uint64_t>(value);
}

Json arrayOf(const BucketSums& sums) {
  return {sums.tokens, bitsOf(sums.logprobSum), bitsOf(sums.otherLogprobSum), bitsOf(sums.divergenceSum)};
}

Json headerOf(const ScoreCheckpoint& checkpoint) {
  Json header;
  header["settings"] = Json::object();
  for (const auto& [name, value] : checkpoint.settings) header["settings"][name] = value;
  const ScoreTotals& totals = checkpoint.totals;
  header["tokens"] = totals.tokens;
  header["scored"] = totals.scored;
  header["chunks"] = totals.chunks;
  header["logprob_sum"] = bitsOf(totals.logprobSum);
  header["tokens_digest"] = checkpoint.tokensDigest;
  const TokenRecord& pending = checkpoint.pending;
  header["pending"] = {pending.position, pending.token, bitsOf(static_cast<double>(pending.logprob)),
                       bitsOf(static_cast<double>(pending.entropy)), pending.rank};
  header["buckets"] = Json::array();
  for (const BucketSums& sums : checkpoint.buckets) header["buckets"].push_back(arrayOf(sums));
  header["bytes"] = checkpoint.bytes;
  header["per_token_bytes"] = checkpoint.perTokenBytes;
  return header;
}

class HeaderReader {
 public:
  HeaderReader(const Json& header, const std::string& file) : header_(header), file_(file) {}

  [[noreturn]] void fail(const std::string& what, const char* expected) const {
    throw Error(ErrorCode::badFile,
                fmt::format("{}: {}: expected {}, found something else", file_, what, expected));
  }
  const Json& field(const char* name) const {
    const auto found = header_.find(name);
    if (found == header_.end()) fail(name, "the field");
    return *found;
  }
  std::int64_t count(const Json& value, const char* name, std::int64_t least = 0) const {
    if (!value.is_number_integer() ||
        (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) ||
        value.get<std::int64_t>() < least) {
      fail(name, "a whole number");
    }
    return value.get<std::int64_t>();
  }
  double real(const Json& value, const char* name) const {
    if (!value.is_number_unsigned()) fail(name, "the bits of a number");
    return std::bit_cast<double>(value.get<std::uint64_t>());
  }
  std::string text(const Json& value, const std::string& name) const {
    if (!value.is_string()) fail(name, "a text");
    return value.get<std::string>();
  }
  const Json& list(const Json& value, const char* name, std::size_t size) const {
    if (!value.is_array() || value.size() != size) fail(name, "a list of its numbers");
    return value;
  }

 private:
  const Json& header_;
  const std::string& file_;
};

TokenRecord readPending(const HeaderReader& reader) {
  const Json& fields = reader.list(reader.field("pending"), "pending", 5);
  const std::int64_t token = reader.count(fields[1], "pending");
  const std::int64_t rank = reader.count(fields[4], "pending", -1);  // -1: of the first token
  if (token > INT32_MAX || rank > INT32_MAX) reader.fail("pending", "a token and its rank");
  TokenRecord record = emptyRecord(reader.count(fields[0], "pending"), static_cast<std::int32_t>(token));
  record.logprob = static_cast<float>(reader.real(fields[2], "pending"));
  record.entropy = static_cast<float>(reader.real(fields[3], "pending"));
  record.rank = static_cast<std::int32_t>(rank);
  return record;
}

BucketSums readBucket(const HeaderReader& reader, const Json& bucket) {
  const Json& fields = reader.list(bucket, "buckets", 4);
  return {reader.count(fields[0], "buckets"), reader.real(fields[1], "buckets"),
          reader.real(fields[2], "buckets"), reader.real(fields[3], "buckets")};
}

ScoreCheckpoint readHeader(const Json& header, const std::string& file) {
  const HeaderReader reader(header, file);
  ScoreCheckpoint checkpoint;
  const Json& settings = reader.field("settings");
  if (!settings.is_object()) reader.fail("settings", "names and values");
  for (const auto& [name, value] : settings.items())
    checkpoint.settings.emplace(name, reader.text(value, name));
  checkpoint.totals.tokens = reader.count(reader.field("tokens"), "tokens");
  checkpoint.totals.scored = reader.count(reader.field("scored"), "scored");
  checkpoint.totals.chunks = reader.count(reader.field("chunks"), "chunks");
  checkpoint.totals.logprobSum = reader.real(reader.field("logprob_sum"), "logprob_sum");
  checkpoint.tokensDigest = reader.text(reader.field("tokens_digest"), "tokens_digest");
  checkpoint.pending = readPending(reader);
  const Json& buckets = reader.field("buckets");
  if (!buckets.is_array()) reader.fail("buckets", "a list");
  for (const Json& bucket : buckets) checkpoint.buckets.push_back(readBucket(reader, bucket));
  checkpoint.bytes = static_cast<std::uint64_t>(reader.count(reader.field("bytes"), "bytes"));
  checkpoint.perTokenBytes =
      static_cast<std::uint64_t>(reader.count(reader.field("per_token_bytes"), "per_token_bytes"));
  return checkpoint;
}

}  // namespace

std::string writeScoreCheckpoint(const ScoreCheckpoint& checkpoint) {
  std::string rest = headerOf(checkpoint).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  rest.append(reinterpret_cast<const char*>(checkpoint.state.data()), checkpoint.state.size());
  return fmt::format("{}{}\n", kMagic, digestOf(rest)) + rest;
}

ScoreCheckpoint parseScoreCheckpoint(std::string_view bytes, const std::string& file) {
  const auto refuse = [&](const char* expected, const char* found) {
    throw Error(ErrorCode::badFile, fmt::format("{}: expected {}, found {}", file, expected, found));
  };
  if (bytes.size() < kHeaderBytes || !bytes.starts_with(kMagic) || bytes[kHeaderBytes - 1] != '\n')
    refuse("a checkpoint of score, version 1", "something else");
  const std::string_view rest = bytes.substr(kHeaderBytes);
  if (bytes.substr(kMagic.size(), kDigestDigits) != digestOf(rest))
    refuse("a whole checkpoint", "a damaged one (its digest differs)");
  const std::size_t end = rest.find('\n');
  if (end == std::string_view::npos) refuse("a line of JSON", "none");
  const Json header = parseStrictJson(rest.substr(0, end), file, {4, kMaxValues});
  if (!header.is_object()) refuse("an object of JSON", "something else");
  ScoreCheckpoint checkpoint = readHeader(header, file);
  const auto state = std::as_bytes(std::span(rest.substr(end + 1)));
  checkpoint.state.assign(state.begin(), state.end());
  return checkpoint;
}

}  // namespace eyrie::engine
