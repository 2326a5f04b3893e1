// Writing portable session files. Numbers are the shortest that read back to the same bits.
#include "sessions/store/session_file.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "sessions/store/session_file_names.h"

namespace eyrie::sessions {
namespace {

using Json = nlohmann::ordered_json;

// 0.1f as 0.1 instead of the 0.10000000149011612 that a double of the same value would print.
Json shortest(float value) {
  if (std::isnan(value)) return nullptr;
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  const double brief = std::strtod(fmt::format("{}", value).c_str(), nullptr);
  return float(brief) == value ? brief : double(value);
}

std::string base64(const std::vector<std::byte>& bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t have = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t word = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      word = word << 8 | (j < have ? std::to_integer<std::uint32_t>(bytes[i + j]) : 0);
    }
    for (std::size_t j = 0; j < 4; ++j) out += j <= have ? kDigits[word >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

Json tokensJson(const std::vector<engine::TokenRecord>& tokens) {
  Json out = {
      {"position", Json::array()},     {"token", Json::array()},      {"generated", Json::array()},
      {"logprob", Json::array()},      {"entropy", Json::array()},    {"rank", Json::array()},
      {"milliseconds", Json::array()}, {"top_tokens", Json::array()}, {"top_logprobs", Json::array()}};
  for (const auto& token : tokens) {
    out["position"].push_back(token.position);
    out["token"].push_back(token.token);
    out["generated"].push_back(token.generated);
    out["logprob"].push_back(shortest(token.logprob));
    out["entropy"].push_back(shortest(token.entropy));
    out["rank"].push_back(token.rank);
    out["milliseconds"].push_back(shortest(token.milliseconds));
    Json ids = Json::array();
    Json logprobs = Json::array();
    for (int i = 0; i < engine::kTopTokens && token.topTokens[i] >= 0; ++i) {
      ids.push_back(token.topTokens[i]);
      logprobs.push_back(shortest(token.topLogprobs[i]));
    }
    out["top_tokens"].push_back(std::move(ids));
    out["top_logprobs"].push_back(std::move(logprobs));
  }
  return out;
}

Json sessionJson(const Session& s) {
  return {{"title", s.title},
          {"system_prompt", s.systemPrompt},
          {"model", s.model},
          {"sampling",
           {{"temperature", shortest(s.sampling.temperature)},
            {"top_k", s.sampling.topK},
            {"top_p", shortest(s.sampling.topP)},
            {"min_p", shortest(s.sampling.minP)},
            {"repetition_penalty", shortest(s.sampling.repetitionPenalty)},
            {"seed", s.sampling.seed}}},
          {"seed_fixed", s.seedFixed},
          {"max_tokens", s.maxTokens},
          {"selected_leaf", s.selectedLeaf},
          {"created", s.created},
          {"updated", s.updated}};
}

Json messageJson(const SessionFileMessage& entry) {
  const Message& m = entry.message;
  // Whoever reads the file cannot go on writing the message.
  const MessageStatus status = m.status == MessageStatus::writing ? MessageStatus::interrupted : m.status;
  Json out = {{"id", m.id},
              {"parent", m.parent},
              {"role", kRoleNames[std::size_t(m.role)]},
              {"text", m.text},
              {"model", m.model},
              {"fingerprint", m.fingerprint},
              {"status", kStatusNames[std::size_t(status)]},
              {"seed", m.seed},
              {"tokens_per_second", m.tokensPerSecond},
              {"created", m.created}};
  if (!entry.tokens.empty()) out["tokens"] = tokensJson(entry.tokens);
  return out;
}

}  // namespace

std::string writeSessionFile(const SessionFile& file) {
  Json out = {{"format", kFormatName}, {"version", kFormatVersion}, {"session", sessionJson(file.session)}};
  out["messages"] = Json::array();
  for (const auto& entry : file.messages) out["messages"].push_back(messageJson(entry));
  if (file.snapshot) {
    out["snapshot"] = {{"message", file.snapshotLeaf},
                       {"fingerprint", file.snapshot->fingerprint},
                       {"tokens", file.snapshot->tokens},
                       {"state", base64(file.snapshot->state)}};
  }
  // Text that is not UTF-8 (there should be none) is repaired rather than refused: the rest matters more.
  return out.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace eyrie::sessions
