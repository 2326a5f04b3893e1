// Search. A word is found as the beginning of a word whatever its accents (unicode61), as any three or more
// characters inside one (trigram), and, shorter than that in a script without spaces, by reading the texts.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "sessions/store/sqlite_store.h"

namespace eyrie::sessions {
namespace {

std::size_t characters(const std::string& word) {
  return std::size_t(std::count_if(word.begin(), word.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

bool plainAscii(const std::string& word) {
  return std::all_of(word.begin(), word.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::vector<std::string> splitWords(const std::string& words) {
  constexpr std::size_t kMostWords = 16;
  std::vector<std::string> out;
  std::string word;
  const auto close = [&] {
    if (!word.empty() && out.size() < kMostWords) out.push_back(word);
    word.clear();
  };
  for (std::size_t i = 0; i < words.size(); ++i) {
    const bool ideographicSpace = words.compare(i, 3, "\xE3\x80\x80") == 0;
    if (ideographicSpace || words[i] == ' ' || (words[i] >= '\t' && words[i] <= '\r') || words[i] == '\0') {
      close();
      if (ideographicSpace) i += 2;
    } else {
      word += words[i];
    }
  }
  close();
  return out;
}

// Everything typed is text, never query syntax.
std::string quoted(const std::string& word) {
  std::string out = "\"";
  for (const char c : word) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}
std::string prefixQuery(const std::string& word) {
  return quoted(word) + "*";
}

std::string likePattern(const std::string& word) {
  std::string out = "%";
  for (const char c : word) {
    if (c == '%' || c == '_' || c == '\\') out += '\\';
    out += c;
  }
  return out + "%";
}

bool needsReading(const std::string& word) {
  return characters(word) < 3 && !plainAscii(word);
}

// Place of a match found by reading, with some text around it, cut between characters.
std::string cutAround(const std::string& text, std::size_t at, std::size_t length) {
  constexpr std::size_t kAround = 60;
  std::size_t from = at > kAround ? at - kAround : 0;
  std::size_t to = std::min(text.size(), at + length + kAround);
  while (from > 0 && (text[from] & 0xC0) == 0x80) --from;
  while (to < text.size() && (text[to] & 0xC0) == 0x80) ++to;
  return (from > 0 ? "…" : "") + text.substr(from, at - from) + '\x01' + text.substr(at, length) + '\x02' +
         text.substr(at + length, to - at - length) + (to < text.size() ? "…" : "");
}

// session → message → how many of the words it holds.
using Hits = std::map<SessionId, std::map<MessageId, int>>;

void collect(SQLite::Statement rows, Hits& hits) {
  while (rows.executeStep()) ++hits[rows.getColumn(0).getInt64()][rows.getColumn(1).getInt64()];
}

Hits findWord(SQLite::Database& db, const std::string& word) {
  Hits hits;
  const std::string messages = "SELECT session, id FROM message WHERE status <> 0 AND ";
  const std::string titles = "SELECT id, 0 FROM session WHERE deleted IS NULL AND ";
  if (needsReading(word)) {
    collect(prepare(db, messages + "text LIKE ? ESCAPE '\\'", likePattern(word)), hits);
    collect(prepare(db, titles + "title LIKE ? ESCAPE '\\'", likePattern(word)), hits);
    return hits;
  }
  const auto both = [](const char* what) {
    return fmt::format(
        "id IN (SELECT rowid FROM {0}_words WHERE {0}_words MATCH ?1 UNION"
        " SELECT rowid FROM {0}_trigrams WHERE length(?2) >= 3 AND {0}_trigrams MATCH ?3)",
        what);
  };
  // There is no trigram in fewer than three characters.
  collect(prepare(db, messages + both("message"), prefixQuery(word), word, quoted(word)), hits);
  collect(prepare(db, titles + both("title"), prefixQuery(word), word, quoted(word)), hits);
  return hits;
}

// The message of a session that holds most of the words; its title only if no message has any.
MessageId bestMessage(const std::map<MessageId, int>& messages) {
  MessageId best = 0;
  int most = 0;
  for (const auto& [id, count] : messages) {
    if (id != 0 && count > most) {
      best = id;
      most = count;
    }
  }
  return best;
}

std::string joined(const std::vector<std::string>& words, std::string (*query)(const std::string&),
                   std::size_t shortest) {
  std::string out;
  for (const auto& word : words) {
    if (characters(word) < shortest) continue;
    if (!out.empty()) out += " OR ";
    out += query(word);
  }
  return out;
}

}  // namespace

std::string SqliteStore::snippet(SessionId session, MessageId message,
                                 const std::vector<std::string>& words) {
  const std::string table = message != 0 ? "message" : "title";
  const std::int64_t row = message != 0 ? message : session;
  const auto marked = [&](const std::string& kind, int tokens, const std::string& query) -> std::string {
    if (query.empty()) return {};
    auto found = prepare(*db_,
                         fmt::format("SELECT snippet({0}_{1}, 0, char(1), char(2), '…', {2}) FROM {0}_{1}"
                                     " WHERE {0}_{1} MATCH ? AND rowid = ?",
                                     table, kind, tokens),
                         query, row);
    return found.executeStep() ? found.getColumn(0).getString() : std::string();
  };
  std::string text = marked("words", 24, joined(words, prefixQuery, 1));
  if (text.empty()) text = marked("trigrams", 64, joined(words, quoted, 3));
  if (!text.empty()) return text;
  auto whole = prepare(
      *db_, message != 0 ? "SELECT text FROM message WHERE id = ?" : "SELECT title FROM session WHERE id = ?",
      row);
  if (!whole.executeStep()) return {};
  const std::string content = whole.getColumn(0).getString();
  for (const auto& word : words) {
    const std::size_t at = content.find(word);
    if (at != std::string::npos) return cutAround(content, at, word.size());
  }
  return {};
}

std::vector<SessionSummary> SqliteStore::search(const std::string& text, int limit) {
  const std::vector<std::string> words = splitWords(text);
  if (words.empty()) return list(limit);
  return guarded([&] {
    Hits all;
    std::map<SessionId, std::size_t> wordsIn;
    for (const auto& word : words) {
      for (const auto& [session, messages] : findWord(*db_, word)) {
        ++wordsIn[session];
        for (const auto& [message, count] : messages) all[session][message] += count;
      }
    }
    auto rows = prepare(*db_,
                        "SELECT id, title, updated FROM session WHERE deleted IS NULL"
                        " ORDER BY updated DESC, id DESC");
    std::vector<SessionSummary> found;
    for (auto& summary : summaries(rows)) {
      if (wordsIn[summary.id] != words.size()) continue;
      if (found.size() >= std::size_t(std::max(limit, 0))) break;
      summary.snippet = snippet(summary.id, bestMessage(all[summary.id]), words);
      found.push_back(std::move(summary));
    }
    return found;
  });
}

}  // namespace eyrie::sessions
