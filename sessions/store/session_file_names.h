// Words that the writer and the reader of portable session files share.
#pragma once

#include <array>

namespace eyrie::sessions {

inline constexpr const char* kFormatName = "eyrie-session";
inline constexpr int kFormatVersion = 1;
// In the order of engine::Role and MessageStatus.
inline constexpr std::array<const char*, 4> kRoleNames = {"system", "user", "model", "text"};
inline constexpr std::array<const char*, 4> kStatusNames = {"writing", "done", "cancelled", "interrupted"};

}  // namespace eyrie::sessions
