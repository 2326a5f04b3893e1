#include "engine/tokenizer/charsmap.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace eyrie::engine {
namespace {

// SentencePiece collects the rules that match at a position in an array of this size, without a check.
constexpr int kMaxMatches = 32;

// One unit of the double array: label in the low byte, offset above, bit 31 marks a value.
struct Unit {
  std::uint32_t bits = 0;
  bool isValue() const { return (bits >> 31U) != 0; }
  std::uint32_t value() const { return bits & 0x7fffffffU; }
  std::uint32_t label() const { return bits & 0x800000ffU; }
  std::uint32_t offset() const { return (bits >> 10U) << ((bits & (1U << 9U)) >> 6U); }
  bool hasLeaf() const { return ((bits >> 8U) & 1U) != 0; }
};

// Depth-first over the units that a key can reach, counting the values on the longest path. Subtrees may be
// shared (the array is a DAWG), loops may not.
class Walk {
 public:
  Walk(const std::vector<Unit>& units, std::size_t strings)
      : units_(units), strings_(strings), matches_(units.size(), kUnseen) {}

  std::string defect() {
    if (!enter(0)) return defect_;
    while (!stack_.empty()) {
      Frame& frame = stack_.back();
      if (frame.next > 255) {
        leave();
        continue;
      }
      const std::uint32_t label = frame.next++;
      const std::uint64_t child = frame.base ^ label;
      if (child >= units_.size()) return "a rule points outside the table";
      if (label == 0 || units_[child].label() != label) continue;
      if (matches_[child] == kOpen) return "the rules form a loop";
      if (matches_[child] >= 0)
        frame.deepest = std::max(frame.deepest, matches_[child]);
      else if (!enter(child))
        return defect_;
    }
    return defect_;
  }

 private:
  static constexpr int kUnseen = -1;
  static constexpr int kOpen = -2;
  struct Frame {
    std::uint64_t unit;
    std::uint64_t base;
    std::uint32_t next;
    int deepest;
  };

  bool enter(std::uint64_t unit) {
    const std::uint64_t base = unit ^ units_[unit].offset();
    if (base >= units_.size()) {
      defect_ = "a rule points outside the table";
      return false;
    }
    // The root's flag is never looked at: an empty key matches nothing.
    if (unit != 0 && units_[unit].hasLeaf() &&
        (!units_[base].isValue() || units_[base].value() >= strings_)) {
      defect_ = "a rule points outside the strings";
      return false;
    }
    matches_[unit] = kOpen;
    stack_.push_back({unit, base, 0, 0});
    return true;
  }

  void leave() {
    const Frame frame = stack_.back();
    stack_.pop_back();
    const int here = frame.deepest + (frame.unit != 0 && units_[frame.unit].hasLeaf() ? 1 : 0);
    matches_[frame.unit] = here;
    if (here > kMaxMatches) defect_ = "too many rules begin with each other";
    if (!stack_.empty()) stack_.back().deepest = std::max(stack_.back().deepest, here);
  }

  const std::vector<Unit>& units_;
  std::size_t strings_;
  std::vector<int> matches_;
  std::vector<Frame> stack_;
  std::string defect_;
};

}  // namespace

std::string charsMapDefect(std::string_view blob) {
  std::uint32_t tableBytes = 0;
  if (blob.size() <= sizeof tableBytes) return "too short";
  std::memcpy(&tableBytes, blob.data(), sizeof tableBytes);
  blob.remove_prefix(sizeof tableBytes);
  if (tableBytes == 0 || tableBytes % sizeof(Unit) != 0 || tableBytes >= blob.size())
    return "the size of its table does not fit";
  std::vector<Unit> units(tableBytes / sizeof(Unit));
  std::memcpy(units.data(), blob.data(), tableBytes);
  const std::string_view strings = blob.substr(tableBytes);
  if (strings.back() != '\0') return "its strings do not end";
  return Walk(units, strings.size()).defect();
}

}  // namespace eyrie::engine
