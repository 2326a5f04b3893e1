// A whole session as one portable file (`.eyrie`): JSON, UTF-8, version 1. Parsing is a pure function of
// bytes and trusts none of them.
//
// {"format": "eyrie-session", "version": 1,
//  "session": {title, system_prompt, model, sampling: {temperature, top_k, top_p, min_p, repetition_penalty,
//              seed}, seed_fixed, max_tokens, selected_leaf, created, updated},
//  "messages": [{id, parent, role, text, model, fingerprint, status, seed, tokens_per_second, created,
//                tokens: {position: […], token: […], generated, logprob, entropy, rank, milliseconds,
//                         top_tokens: [[…]…], top_logprobs: [[…]…]}}…],   parents before children, 0 = a root
//  "snapshot": {message, fingerprint, tokens, state}}                       optional; state is base64
// A log-probability or entropy that is not known is null. Unknown keys and other versions are refused.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sessions/store/session_types.h"

namespace eyrie::sessions {

inline constexpr std::uint64_t kMostFileBytes = 256ULL << 20;

struct SessionFileMessage {
  Message message;  // ids are those of the file
  std::vector<engine::TokenRecord> tokens;
};

struct SessionFile {
  Session session;
  std::vector<SessionFileMessage> messages;
  MessageId snapshotLeaf = 0;
  std::optional<engine::Snapshot> snapshot;
};

// Throws Error(badFile): "FILE: messages[3].role: expected …, found …".
SessionFile parseSessionFile(std::string_view bytes, const std::string& file);
std::string writeSessionFile(const SessionFile& session);

}  // namespace eyrie::sessions
