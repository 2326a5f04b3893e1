// NPZ: a ZIP of stored (not compressed) .npy members plus meta.json. Stored, so that rows can be written at
// known places while the model runs; 64-bit sizes where the file needs them.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "sessions/export/array_container.h"
#include "sessions/export/crc32.h"
#include "sessions/export/trace_metadata.h"

namespace eyrie::sessions {
namespace {

constexpr std::int64_t kAlign = 64;  // data begins at multiples of it: members can be memory-mapped
constexpr std::int64_t kLocalBytes = 30;
constexpr std::int64_t kZip64LocalBytes = 20;
constexpr std::int64_t kMost32 = 0xFFFF0000;
constexpr std::uint16_t kDosDate = 0x21;  // 1 January 1980: the same trace makes the same file

std::int64_t aligned(std::int64_t offset) {
  return (offset + kAlign - 1) / kAlign * kAlign;
}

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

const char* descr(ArrayType type) {
  switch (type) {
    case ArrayType::i32:
      return "<i4";
    case ArrayType::f32:
      return "<f4";
    case ArrayType::f16:
      return "<f2";
    default:
      return "|u1";
  }
}

// `bytes` 0: as short as alignment allows.
std::string npyHeader(const TraceArray& array, std::int64_t rows, std::int64_t bytes) {
  std::string shape = fmt::format("{},", rows);
  for (std::size_t i = 0; i < array.shape.size(); ++i) {
    shape += fmt::format("{}{}", i == 0 ? " " : ", ", array.shape[i]);
  }
  std::string text =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", descr(array.type), shape);
  const std::int64_t total = bytes != 0 ? bytes : aligned(10 + std::int64_t(text.size()) + 1);
  text.resize(std::size_t(total - 10 - 1), ' ');
  text += '\n';
  std::string out("\x93NUMPY\x01\x00", 8);
  put(out, std::uint16_t(text.size()));
  return out + text;
}

struct Entry {
  std::string name;
  std::int64_t local = 0;  // offset of its local header
  std::int64_t data = 0;   // offset of its content
  std::int64_t size = 0;
  std::uint32_t crc = 0;
};

class NpzContainer final : public ArrayContainer {
 public:
  explicit NpzContainer(bool forceZip64) : force_(forceZip64) {}

  void place(std::vector<TraceArray>& arrays, std::int64_t rows, const nlohmann::ordered_json&) override {
    if (headerBytes_.empty()) {
      std::int64_t total = 0;
      for (const auto& array : arrays) {
        headerBytes_.push_back(std::int64_t(npyHeader(array, rows, 0).size()));
        total += headerBytes_.back() + rows * array.rowBytes() + 512;
      }
      // The metadata's token strings come on top.
      zip64_ = force_ || total + rows * 128 > kMost32 || arrays.size() > 60000;
    }
    entries_.clear();
    std::int64_t at = 0;
    for (std::size_t i = 0; i < arrays.size(); ++i) {
      Entry entry;
      entry.name = arrays[i].name + ".npy";
      entry.local = at;
      entry.data = dataOffset(at, entry.name);
      entry.size = headerBytes_[i] + rows * arrays[i].rowBytes();
      arrays[i].offset = entry.data + headerBytes_[i];
      at = entry.data + entry.size;
      entries_.push_back(std::move(entry));
    }
    end_ = at;
  }

  std::string prefix(std::size_t arrayIdx, const TraceArray& array, std::int64_t rows) const override {
    return npyHeader(array, rows, headerBytes_[arrayIdx]);
  }

  void finish(OutputFile& file, const std::vector<TraceArray>& arrays, std::int64_t rows,
              const nlohmann::ordered_json& metadata, const std::vector<std::string>& strings) override {
    for (std::size_t i = 0; i < arrays.size(); ++i) {
      entries_[i].crc = arrays[i].crc;
      write(file, entries_[i], prefix(i, arrays[i], rows));
    }
    nlohmann::ordered_json described = metadata;
    if (!strings.empty()) described["token_strings"] = strings;
    const std::string json = dumpJson(described) + "\n";
    Entry meta;
    meta.name = "meta.json";
    meta.local = end_;
    meta.data = dataOffset(end_, meta.name);
    meta.size = std::int64_t(json.size());
    meta.crc = crc32(0, json.data(), json.size());
    write(file, meta, json);
    entries_.push_back(meta);
    writeDirectory(file, meta.data + meta.size);
  }

 private:
  // Room for the local header, its 64-bit sizes, and a padding field of at least 4 bytes.
  std::int64_t dataOffset(std::int64_t local, const std::string& name) const {
    return aligned(local + kLocalBytes + std::int64_t(name.size()) + (zip64_ ? kZip64LocalBytes : 0) + 4);
  }

  void writeFields(std::string& out, const Entry& entry) const {
    put(out, std::uint16_t(zip64_ ? 45 : 20));
    put(out, std::uint16_t(0));  // flags
    put(out, std::uint16_t(0));  // stored
    put(out, std::uint16_t(0));  // time
    put(out, kDosDate);
    put(out, entry.crc);
    for (int i = 0; i < 2; ++i) put(out, zip64_ ? 0xFFFFFFFFU : std::uint32_t(entry.size));
    put(out, std::uint16_t(entry.name.size()));
  }

  // The local header with what follows it: the whole content, or an array's .npy header.
  void write(OutputFile& file, const Entry& entry, const std::string& content) const {
    std::string out;
    put(out, 0x04034B50U);
    writeFields(out, entry);
    const std::int64_t extra = entry.data - entry.local - kLocalBytes - std::int64_t(entry.name.size());
    put(out, std::uint16_t(extra));
    out += entry.name;
    std::int64_t padding = extra - 4;
    if (zip64_) {
      put(out, std::uint16_t(1));
      put(out, std::uint16_t(16));
      put(out, entry.size);
      put(out, entry.size);
      padding -= kZip64LocalBytes;
    }
    put(out, std::uint16_t(0xD935));  // the alignment field of Android's zipalign
    put(out, std::uint16_t(padding));
    out.append(std::size_t(padding), '\0');
    out += content;
    file.writeAt(entry.local, out.data(), out.size());
  }

  void writeDirectory(OutputFile& file, std::int64_t at) const {
    std::string out;
    for (const auto& entry : entries_) {
      put(out, 0x02014B50U);
      put(out, std::uint16_t(3 << 8 | (zip64_ ? 45 : 20)));
      writeFields(out, entry);
      put(out, std::uint16_t(zip64_ ? 28 : 0));
      put(out, std::uint16_t(0));  // comment
      put(out, std::uint16_t(0));  // disk
      put(out, std::uint16_t(0));
      put(out, std::uint32_t(0100644U << 16));
      put(out, zip64_ ? 0xFFFFFFFFU : std::uint32_t(entry.local));
      out += entry.name;
      if (!zip64_) continue;
      put(out, std::uint16_t(1));
      put(out, std::uint16_t(24));
      put(out, entry.size);
      put(out, entry.size);
      put(out, entry.local);
    }
    appendEnd(out, at);
    file.writeAt(at, out.data(), out.size());
    file.resize(at + std::int64_t(out.size()));
  }

  // `out` holds the directory, which begins at `at` in the file.
  void appendEnd(std::string& out, std::int64_t at) const {
    const auto size = std::int64_t(out.size());
    const auto count = std::int64_t(entries_.size());
    if (zip64_) {
      put(out, 0x06064B50U);
      put(out, std::int64_t(44));
      put(out, std::uint16_t(3 << 8 | 45));
      put(out, std::uint16_t(45));
      put(out, std::uint32_t(0));
      put(out, std::uint32_t(0));
      for (const std::int64_t value : {count, count, size, at}) put(out, value);
      put(out, 0x07064B50U);
      put(out, std::uint32_t(0));
      put(out, at + size);
      put(out, std::uint32_t(1));
    }
    put(out, 0x06054B50U);
    put(out, std::uint32_t(0));
    for (int i = 0; i < 2; ++i) put(out, zip64_ ? std::uint16_t(0xFFFF) : std::uint16_t(count));
    put(out, zip64_ ? 0xFFFFFFFFU : std::uint32_t(size));
    put(out, zip64_ ? 0xFFFFFFFFU : std::uint32_t(at));
    put(out, std::uint16_t(0));
  }

  bool force_;
  bool zip64_ = false;
  std::vector<std::int64_t> headerBytes_;
  std::vector<Entry> entries_;
  std::int64_t end_ = 0;
};

}  // namespace

std::unique_ptr<ArrayContainer> makeNpzContainer(bool forceZip64) {
  return std::make_unique<NpzContainer>(forceZip64);
}

}  // namespace eyrie::sessions
