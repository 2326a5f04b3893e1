// Reading portable session files. Everything in them may be a lie: sizes, numbers, types, ids and encodings
// are checked before they are used, and memory stays a small multiple of the file.
#include <fmt/format.h>

#include <cmath>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>

#include "engine/error.h"
#include "sessions/store/session_file.h"
#include "sessions/store/session_file_names.h"

namespace eyrie::sessions {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kMostNodes = 24'000'000;  // a million tokens with their alternatives
constexpr std::size_t kDeepest = 8;
constexpr std::size_t kMostTextBytes = 64ULL << 20;
constexpr std::size_t kMostNameBytes = 1ULL << 20;
constexpr std::int64_t kMostWhole = std::int64_t(1) << 53;
constexpr std::int64_t kMostToken = std::numeric_limits<std::int32_t>::max();

std::string described(const Json& value) {
  constexpr std::size_t kMost = 40;
  if (value.is_object()) return "an object";
  if (value.is_array()) return fmt::format("an array of {}", value.size());
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    if (text.size() > kMost) return fmt::format("a string of {} bytes", text.size());
  }
  return value.dump(-1, ' ', true, Json::error_handler_t::replace);
}

// A place in the document. Its name is only put together when something is wrong with it.
class Field {
 public:
  Field(const Json& value, const std::string& file) : value_(value), file_(file) {}
  Field(const Json& value, const Field& parent, std::string_view key)
      : value_(value), file_(parent.file_), parent_(&parent), key_(key) {}
  Field(const Json& value, const Field& parent, std::size_t index)
      : value_(value), file_(parent.file_), parent_(&parent), index_(std::int64_t(index)) {}

  [[noreturn]] void expected(const std::string& what) const { expected(what, described(value_)); }
  [[noreturn]] void expected(const std::string& what, const std::string& found) const {
    const std::string name = path();
    throw engine::Error(engine::ErrorCode::badFile, fmt::format("{}: {}{}expected {}, found {}", file_, name,
                                                                name.empty() ? "" : ": ", what, found));
  }

  void requireKeys(std::initializer_list<std::string_view> required,
                   std::initializer_list<std::string_view> optional = {}) const {
    if (!value_.is_object()) expected("an object");
    std::size_t known = 0;
    for (const auto key : required) {
      if (!value_.contains(key)) Field(Json(), *this, key).expected("a value", "nothing");
      ++known;
    }
    for (const auto key : optional) known += value_.contains(key) ? 1 : 0;
    if (known == value_.size()) return;
    for (const auto& [key, value] : value_.items()) {
      const auto is = [&k = key](std::string_view name) { return k == name; };
      if (std::none_of(required.begin(), required.end(), is) &&
          std::none_of(optional.begin(), optional.end(), is)) {
        expected("only known keys", described(Json(key)));
      }
    }
  }
  bool has(const char* key) const { return value_.contains(key); }
  Field operator[](const char* key) const { return Field(value_.at(key), *this, key); }
  Field operator[](std::size_t index) const { return Field(value_[index], *this, index); }

  std::size_t arraySize(std::size_t most = std::numeric_limits<std::size_t>::max()) const {
    if (!value_.is_array()) expected("an array");
    if (value_.size() > most) expected(fmt::format("at most {} entries", most));
    return value_.size();
  }
  std::string text(std::size_t mostBytes) const {
    if (!value_.is_string()) expected("a string");
    const auto& text = value_.get_ref<const std::string&>();
    if (text.size() > mostBytes) expected(fmt::format("at most {} bytes", mostBytes));
    return text;
  }
  std::int64_t whole(std::int64_t least, std::int64_t most) const {
    const bool unsignedToo = value_.is_number_unsigned();
    if (value_.is_number_integer() &&
        !(unsignedToo &&
          value_.get<std::uint64_t>() > std::uint64_t(std::numeric_limits<std::int64_t>::max()))) {
      const auto number = value_.get<std::int64_t>();
      if (number >= least && number <= most) return number;
    }
    expected(fmt::format("a whole number from {} to {}", least, most));
  }
  std::uint64_t seed() const {
    if (!value_.is_number_unsigned()) expected("a whole number from 0 to 18446744073709551615");
    return value_.get<std::uint64_t>();
  }
  double number(double least, double most) const {
    if (value_.is_number()) {
      const double number = value_.get<double>();
      if (number >= least && number <= most) return number;
    }
    expected(fmt::format("a number from {} to {}", least, most));
  }
  // null: not known.
  float measure() const {
    if (value_.is_null()) return std::numeric_limits<float>::quiet_NaN();
    if (value_ == "inf") return std::numeric_limits<float>::infinity();
    if (value_ == "-inf") return -std::numeric_limits<float>::infinity();
    constexpr double kMost = std::numeric_limits<float>::max();
    if (value_.is_number() && std::abs(value_.get<double>()) <= kMost) return float(value_.get<double>());
    expected("a number or null");
  }
  bool truth() const {
    if (!value_.is_boolean()) expected("true or false");
    return value_.get<bool>();
  }
  template <std::size_t N>
  std::size_t oneOf(const std::array<const char*, N>& names, std::size_t first = 0) const {
    for (std::size_t i = first; i < N; ++i) {
      if (value_ == names[i]) return i;
    }
    std::string all;
    for (std::size_t i = first; i < N; ++i) all += (i > first ? ", " : "") + std::string(names[i]);
    expected("one of " + all);
  }

 private:
  std::string path() const {
    if (parent_ == nullptr) return {};
    const std::string before = parent_->path();
    if (index_ >= 0) return fmt::format("{}[{}]", before, index_);
    return before.empty() ? std::string(key_) : fmt::format("{}.{}", before, key_);
  }

  const Json& value_;
  const std::string& file_;
  const Field* parent_ = nullptr;
  std::string_view key_;
  std::int64_t index_ = -1;
};

// Counts what the parser builds, so that a small file cannot grow into a large tree, and refuses doubled
// keys, of which a parser would silently keep one.
class Guard {
 public:
  explicit Guard(const std::string& file) : file_(file) {}

  bool operator()(int depth, Json::parse_event_t event, const Json& value) {
    if (++nodes_ > kMostNodes) refuse(fmt::format("at most {} values", kMostNodes), "more");
    if (depth > int(kDeepest)) refuse(fmt::format("at most {} levels", kDeepest), "deeper nesting");
    if (event == Json::parse_event_t::object_start) keys_.emplace_back();
    if (event == Json::parse_event_t::object_end) keys_.pop_back();
    if (event == Json::parse_event_t::key && !keys_.back().insert(value.get<std::string>()).second) {
      refuse("every key once", described(value) + " twice");
    }
    return true;
  }

 private:
  [[noreturn]] void refuse(const std::string& what, const std::string& found) const {
    throw engine::Error(engine::ErrorCode::badFile,
                        fmt::format("{}: expected {}, found {}", file_, what, found));
  }

  const std::string& file_;
  std::int64_t nodes_ = 0;
  std::vector<std::set<std::string>> keys_;
};

Json parseJson(std::string_view bytes, const std::string& file) {
  try {
    Guard guard(file);
    return Json::parse(bytes.begin(), bytes.end(), std::ref(guard));
  } catch (const Json::parse_error& error) {
    const bool cut = error.byte > bytes.size();
    throw engine::Error(engine::ErrorCode::badFile,
                        fmt::format("{}: byte {}: expected JSON in UTF-8, found {}", file, error.byte,
                                    cut ? "the end of the file" : "something else"));
  } catch (const Json::exception&) {
    throw engine::Error(engine::ErrorCode::badFile,
                        fmt::format("{}: expected JSON, found a number that is too large", file));
  }
}

Session readSession(const Field& f) {
  f.requireKeys({"title", "system_prompt", "model", "sampling", "seed_fixed", "max_tokens", "selected_leaf",
                 "created", "updated"});
  const Field sampling = f["sampling"];
  sampling.requireKeys({"temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed"});
  Session s;
  s.title = f["title"].text(kMostNameBytes);
  s.systemPrompt = f["system_prompt"].text(kMostTextBytes);
  s.model = f["model"].text(kMostNameBytes);
  s.sampling.temperature = float(sampling["temperature"].number(0, 1e6));
  s.sampling.topK = int(sampling["top_k"].whole(0, kMostToken));
  s.sampling.topP = float(sampling["top_p"].number(0, 1));
  s.sampling.minP = float(sampling["min_p"].number(0, 1));
  s.sampling.repetitionPenalty = float(sampling["repetition_penalty"].number(1, 1e6));
  s.sampling.seed = sampling["seed"].seed();
  s.seedFixed = f["seed_fixed"].truth();
  s.maxTokens = int(f["max_tokens"].whole(0, kMostToken));
  s.selectedLeaf = f["selected_leaf"].whole(0, kMostWhole);
  s.created = f["created"].whole(0, kMostWhole);
  s.updated = f["updated"].whole(0, kMostWhole);
  return s;
}

void readAlternatives(const Field& ids, const Field& logprobs, engine::TokenRecord& token) {
  const std::size_t count = ids.arraySize(engine::kTopTokens);
  if (logprobs.arraySize() != count) logprobs.expected(fmt::format("{} entries as in top_tokens", count));
  for (std::size_t i = 0; i < std::size_t(engine::kTopTokens); ++i) {
    token.topTokens[i] = i < count ? std::int32_t(ids[i].whole(0, kMostToken)) : -1;
    token.topLogprobs[i] = i < count ? logprobs[i].measure() : 0;
  }
}

std::vector<engine::TokenRecord> readTokens(const Field& f) {
  const auto columns = {"position",     "token", "generated",    "logprob",   "entropy",
                        "milliseconds", "rank",  "top_logprobs", "top_tokens"};
  f.requireKeys({"position", "token", "generated", "logprob", "entropy", "milliseconds", "rank",
                 "top_logprobs", "top_tokens"});
  const std::size_t count = f["token"].arraySize();
  for (const char* column : columns) {
    if (f[column].arraySize() != count) f[column].expected(fmt::format("{} entries as in token", count));
  }
  const Field position = f["position"], token = f["token"], generated = f["generated"],
              logprob = f["logprob"], entropy = f["entropy"], rank = f["rank"],
              milliseconds = f["milliseconds"], topTokens = f["top_tokens"], topLogprobs = f["top_logprobs"];
  std::vector<engine::TokenRecord> tokens(count);
  for (std::size_t i = 0; i < count; ++i) {
    auto& record = tokens[i];
    record.position = position[i].whole(0, kMostWhole);
    record.token = std::int32_t(token[i].whole(0, kMostToken));
    record.generated = generated[i].truth();
    record.logprob = logprob[i].measure();
    record.entropy = entropy[i].measure();
    record.rank = std::int32_t(rank[i].whole(-1, kMostToken));
    record.milliseconds = milliseconds[i].measure();
    readAlternatives(topTokens[i], topLogprobs[i], record);
  }
  return tokens;
}

SessionFileMessage readMessage(const Field& f) {
  f.requireKeys({"id", "parent", "role", "text", "model", "fingerprint", "status", "seed",
                 "tokens_per_second", "created"},
                {"tokens"});
  SessionFileMessage entry;
  Message& m = entry.message;
  m.id = f["id"].whole(1, kMostWhole);
  m.parent = f["parent"].whole(0, kMostWhole);
  m.role = engine::Role(f["role"].oneOf(kRoleNames));
  m.text = f["text"].text(kMostTextBytes);
  m.model = f["model"].text(kMostNameBytes);
  m.fingerprint = f["fingerprint"].text(kMostNameBytes);
  m.status = MessageStatus(f["status"].oneOf(kStatusNames, 1));
  m.seed = f["seed"].seed();
  m.tokensPerSecond = f["tokens_per_second"].number(0, 1e12);
  m.created = f["created"].whole(0, kMostWhole);
  if (f.has("tokens")) entry.tokens = readTokens(f["tokens"]);
  m.tokens = std::int64_t(entry.tokens.size());
  return entry;
}

std::vector<std::byte> readBase64(const Field& f) {
  const std::string text = f.text(kMostFileBytes);
  if (text.size() % 4 != 0)
    f.expected("base64 (whole groups of four)", fmt::format("{} characters", text.size()));
  const auto digit = [](char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
  };
  std::vector<std::byte> out;
  out.reserve(text.size() / 4 * 3);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    const bool last = i + 4 == text.size();
    const int padding = last && text[i + 3] == '=' ? (text[i + 2] == '=' ? 2 : 1) : 0;
    std::uint32_t word = 0;
    for (std::size_t j = 0; j < 4; ++j) {
      const int value = int(j) >= 4 - padding ? 0 : digit(text[i + j]);
      if (value < 0) f.expected("base64", fmt::format("another character at place {}", i + j));
      word = word << 6 | std::uint32_t(value);
    }
    for (int j = 0; j < 3 - padding; ++j) out.push_back(std::byte(word >> (16 - 8 * j) & 255));
  }
  return out;
}

void readSnapshot(const Field& f, const std::set<MessageId>& known, SessionFile& out) {
  f.requireKeys({"message", "fingerprint", "tokens", "state"});
  out.snapshotLeaf = f["message"].whole(1, kMostWhole);
  if (!known.contains(out.snapshotLeaf)) f["message"].expected("the id of a message");
  engine::Snapshot snapshot;
  snapshot.fingerprint = f["fingerprint"].text(kMostNameBytes);
  const Field tokens = f["tokens"];
  snapshot.tokens.resize(tokens.arraySize());
  for (std::size_t i = 0; i < snapshot.tokens.size(); ++i) {
    snapshot.tokens[i] = std::int32_t(tokens[i].whole(0, kMostToken));
  }
  snapshot.state = readBase64(f["state"]);
  out.snapshot = std::move(snapshot);
}

}  // namespace

SessionFile parseSessionFile(std::string_view bytes, const std::string& file) {
  if (bytes.size() > kMostFileBytes) {
    throw engine::Error(engine::ErrorCode::badFile, fmt::format("{}: expected at most {} bytes, found {}",
                                                                file, kMostFileBytes, bytes.size()));
  }
  const Json document = parseJson(bytes, file);
  const Field root(document, file);
  if (!document.is_object()) root.expected("an object");
  // Before anything else: a newer file may well have other keys.
  if (!root.has("format") || document["format"] != kFormatName) {
    root.expected(fmt::format("a session of Eyrie (\"format\": \"{}\")", kFormatName), "something else");
  }
  if (!root.has("version")) root.expected(fmt::format("a version ({})", kFormatVersion), "none");
  if (document["version"] != kFormatVersion) {
    root["version"].expected(fmt::format("version {}", kFormatVersion));
  }
  root.requireKeys({"format", "version", "session", "messages"}, {"snapshot"});
  SessionFile out;
  out.session = readSession(root["session"]);
  std::set<MessageId> known;
  const Field messages = root["messages"];
  for (std::size_t i = 0; i < messages.arraySize(); ++i) {
    const Field entry = messages[i];
    out.messages.push_back(readMessage(entry));
    const Message& m = out.messages.back().message;
    // An earlier message as parent: so there is no unknown parent and no circle either.
    if (m.parent != 0 && !known.contains(m.parent))
      entry["parent"].expected("0 or the id of an earlier message");
    if (!known.insert(m.id).second) entry["id"].expected("an id that no other message has");
  }
  if (out.session.selectedLeaf != 0 && !known.contains(out.session.selectedLeaf)) {
    root["session"]["selected_leaf"].expected("0 or the id of a message");
  }
  if (root.has("snapshot")) readSnapshot(root["snapshot"], known, out);
  return out;
}

}  // namespace eyrie::sessions
