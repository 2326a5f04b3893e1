// safetensors: the length of a JSON header, the header, raw arrays. The header stands first but is known
// last, so room is kept for it and what is left of that is filled with spaces, as the format allows.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "sessions/export/array_container.h"
#include "sessions/export/trace_metadata.h"

namespace eyrie::sessions {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kStringsName = "token_strings";

const char* dtypeName(ArrayType type) {
  switch (type) {
    case ArrayType::i32:
      return "I32";
    case ArrayType::f32:
      return "F32";
    case ArrayType::f16:
      return "F16";
    default:
      return "U8";
  }
}

class SafetensorsContainer final : public ArrayContainer {
 public:
  void place(std::vector<TraceArray>& arrays, std::int64_t rows, const Json& metadata) override {
    if (headerBytes_ == 0) {
      // The widest elements first: every array then lies at a multiple of its element's size.
      std::stable_sort(arrays.begin(), arrays.end(), [](const TraceArray& a, const TraceArray& b) {
        return bytesOf(a.type) > bytesOf(b.type);
      });
      setOffsets(arrays, rows);
      const std::string widest = header(arrays, rows, metadata, std::int64_t(1) << 50);
      headerBytes_ = std::int64_t(widest.size() + 1024 + 63) / 64 * 64 - 8;
    }
    setOffsets(arrays, rows);
  }

  std::string prefix(std::size_t, const TraceArray&, std::int64_t) const override { return {}; }

  void finish(OutputFile& file, const std::vector<TraceArray>& arrays, std::int64_t rows,
              const Json& metadata, const std::vector<std::string>& strings) override {
    std::string joined;
    for (std::size_t i = 0; i < strings.size(); ++i) {
      if (i > 0) joined += '\0';
      joined += strings[i];
    }
    std::string head = header(arrays, rows, metadata, strings.empty() ? -1 : std::int64_t(joined.size()));
    if (std::int64_t(head.size()) > headerBytes_) {
      throw engine::Error(engine::ErrorCode::ioFailed,
                          fmt::format("{}: the header needs {} bytes, {} were kept for it",
                                      file.target().string(), head.size(), headerBytes_));
    }
    head.resize(std::size_t(headerBytes_), ' ');
    file.writeAt(0, &headerBytes_, 8);
    file.writeAt(8, head.data(), head.size());
    const std::int64_t end = dataEnd(arrays, rows);
    file.resize(end);
    if (!joined.empty()) file.writeAt(end, joined.data(), joined.size());
  }

 private:
  void setOffsets(std::vector<TraceArray>& arrays, std::int64_t rows) const {
    std::int64_t at = 8 + headerBytes_;
    for (auto& array : arrays) {
      array.offset = at;
      at += rows * array.rowBytes();
    }
  }

  std::int64_t dataEnd(const std::vector<TraceArray>& arrays, std::int64_t rows) const {
    return arrays.empty() ? 8 + headerBytes_ : arrays.back().offset + rows * arrays.back().rowBytes();
  }

  // `stringBytes` -1: no token strings.
  std::string header(const std::vector<TraceArray>& arrays, std::int64_t rows, const Json& metadata,
                     std::int64_t stringBytes) const {
    Json out;
    Json& described = out["__metadata__"] = Json::object();
    for (const auto& [key, value] : metadata.items()) {
      described[key] = value.is_string() ? value : Json(dumpJson(value));
    }
    if (stringBytes >= 0)
      described[kStringsName] = "array token_strings: UTF-8, one zero byte between tokens";
    const auto add = [&out](const std::string& name, ArrayType type, const std::vector<std::int64_t>& shape,
                            std::int64_t from, std::int64_t to) {
      out[name] = {{"dtype", dtypeName(type)}, {"shape", shape}, {"data_offsets", {from, to}}};
    };
    const std::int64_t base = 8 + headerBytes_;
    for (const auto& array : arrays) {
      std::vector<std::int64_t> shape = {rows};
      shape.insert(shape.end(), array.shape.begin(), array.shape.end());
      const std::int64_t from = array.offset - base;
      add(array.name, array.type, shape, from, from + rows * array.rowBytes());
    }
    const std::int64_t end = dataEnd(arrays, rows) - base;
    if (stringBytes >= 0) add(kStringsName, ArrayType::u8, {stringBytes}, end, end + stringBytes);
    return dumpJson(out);
  }

  std::int64_t headerBytes_ = 0;  // without the 8 bytes of its length
};

}  // namespace

std::unique_ptr<ArrayContainer> makeSafetensorsContainer() {
  return std::make_unique<SafetensorsContainer>();
}

}  // namespace eyrie::sessions
