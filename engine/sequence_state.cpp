#include "engine/sequence_state.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/checkpoint/strict_json.h"
#include "engine/error.h"

namespace eyrie::engine {

static_assert(std::endian::native == std::endian::little, "state envelopes are little-endian");

SequenceState::SequenceState(std::unique_ptr<BackendState> impl, std::int64_t position)
    : impl_(std::move(impl)), position_(position) {}
SequenceState::SequenceState(SequenceState&&) noexcept = default;
SequenceState& SequenceState::operator=(SequenceState&&) noexcept = default;
SequenceState::~SequenceState() = default;

SequenceState SequenceState::clone() const {
  SequenceState copy(impl_->clone(), position_);
  copy.interventions_ = interventions_;
  return copy;
}

HostState SequenceState::download(std::int64_t newestKeys) const {
  HostState state = impl_->download(newestKeys);
  state.position = position_;
  return state;
}

void SequenceState::advance(std::span<const std::int32_t> tokens) {
  position_ += static_cast<std::int64_t>(tokens.size());
  if (observer_ != nullptr) observer_->onFed(*this, tokens);
}

void SequenceState::takeBack(SequenceState earlier) {
  impl_ = std::move(earlier.impl_);
  position_ = earlier.position_;
}

std::uint64_t HostState::bytes() const {
  std::uint64_t floats = 0;
  for (const LayerState& layer : layers) {
    floats += layer.h.size() + layer.tail.size() + layer.keys.size() + layer.values.size();
  }
  return floats * sizeof(float);
}

std::uint64_t SequenceState::bytes() const {
  return impl_->bytes();
}

std::int64_t rememberedKeys(const ModelConfig& config, std::int64_t layerIdx, std::int64_t position) {
  switch (config.blocks[static_cast<std::size_t>(layerIdx)]) {
    case BlockKind::recurrent:
      return 0;
    case BlockKind::localAttention:
      return std::min(config.olderKeys(), position);
    case BlockKind::globalAttention:
      return position;
  }
  return 0;
}

namespace {

constexpr char kMagic[8] = {'E', 'Y', 'R', 'I', 'E', 'S', 'T', 'A'};
constexpr std::uint32_t kVersion = 1;
constexpr std::uint32_t kDtypeF32 = 0;
constexpr std::size_t kFingerprintLimit = 256;

// 64-bit multiply-rotate over eight-byte words: damage, not attack, is what it must notice.
std::uint64_t checksum(std::span<const std::byte> bytes) {
  std::uint64_t hash = 0x9e3779b97f4a7c15ULL ^ bytes.size();
  std::size_t at = 0;
  while (at < bytes.size()) {
    std::uint64_t word = 0;
    const std::size_t take = std::min<std::size_t>(8, bytes.size() - at);
    std::memcpy(&word, bytes.data() + at, take);
    hash = std::rotl((hash ^ word) * 0xff51afd7ed558ccdULL, 31);
    at += take;
  }
  hash ^= hash >> 33;
  return hash * 0xc4ceb9fe1a85ec53ULL;
}

class Writer {
 public:
  template <typename T>
  void put(const T& value) {
    raw(&value, sizeof value);
  }
  void raw(const void* data, std::size_t size) {
    const auto* begin = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), begin, begin + size);
  }
  void floats(const std::vector<float>& values) { raw(values.data(), values.size() * sizeof(float)); }
  void reserve(std::size_t size) { bytes_.reserve(size); }
  std::vector<std::byte> finish() {
    put(checksum(bytes_));
    return std::move(bytes_);
  }

 private:
  std::vector<std::byte> bytes_;
};

[[noreturn]] void damaged(const std::string& what) {
  throw Error(ErrorCode::stateMismatch, "saved state: " + what);
}

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  template <typename T>
  T get(const char* field) {
    T value;
    raw(&value, sizeof value, field);
    return value;
  }
  void raw(void* data, std::size_t size, const char* field) {
    if (size > bytes_.size() - at_) {
      damaged(fmt::format("{}: expected {} bytes, found {}", field, size, bytes_.size() - at_));
    }
    if (size > 0) std::memcpy(data, bytes_.data() + at_, size);
    at_ += size;
  }
  std::size_t left() const { return bytes_.size() - at_; }

 private:
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
};

struct LayerShape {
  std::int64_t h = 0;
  std::int64_t tail = 0;
  std::int64_t keys = 0;  // values alike
  bool operator==(const LayerShape&) const = default;
};

LayerShape shapeOf(const LayerState& layer) {
  return {static_cast<std::int64_t>(layer.h.size()), static_cast<std::int64_t>(layer.tail.size()),
          static_cast<std::int64_t>(layer.keys.size())};
}

LayerShape expectedShape(const ModelConfig& config, std::int64_t layerIdx, std::int64_t position) {
  if (config.blocks[static_cast<std::size_t>(layerIdx)] == BlockKind::recurrent) {
    return {config.R, (config.K - 1) * config.R, 0};
  }
  return {0, 0, rememberedKeys(config, layerIdx, position) * config.kvHeads * config.Dh};
}

std::string describe(const LayerShape& shape) {
  return fmt::format("h {}, tail {}, keys {}", shape.h, shape.tail, shape.keys);
}

void checkHeader(Reader& reader, const std::string& fingerprint) {
  char magic[8];
  reader.raw(magic, sizeof magic, "magic");
  if (std::memcmp(magic, kMagic, sizeof magic) != 0) damaged("magic: expected EYRIESTA, found other bytes");
  const auto version = reader.get<std::uint32_t>("version");
  if (version != kVersion) {
    damaged(fmt::format("version: expected {}, found {}{}", kVersion, version,
                        version > kVersion ? " (written by a newer Eyrie)" : ""));
  }
  const auto length = reader.get<std::uint32_t>("fingerprint length");
  if (length > kFingerprintLimit) {
    damaged(fmt::format("fingerprint length: expected at most {}, found {}", kFingerprintLimit, length));
  }
  std::string found(length, '\0');
  reader.raw(found.data(), length, "fingerprint");
  if (found != fingerprint) {
    damaged(fmt::format("model fingerprint: expected {}, found {}", fingerprint, printable(found)));
  }
}

std::int64_t readPosition(Reader& reader, const ModelConfig& config) {
  const auto position = reader.get<std::int64_t>("position");
  if (position < 0) damaged(fmt::format("position: expected 0 or more, found {}", position));
  const auto dtype = reader.get<std::uint32_t>("dtype");
  if (dtype != kDtypeF32) damaged(fmt::format("dtype: expected {} (f32), found {}", kDtypeF32, dtype));
  const auto layers = reader.get<std::uint32_t>("layers");
  if (static_cast<std::int64_t>(layers) != config.L) {
    damaged(fmt::format("layers: expected {}, found {}", config.L, layers));
  }
  return position;
}

// Compares every stored shape with the model's before anything is allocated for it.
std::vector<LayerShape> readShapes(Reader& reader, const ModelConfig& config, std::int64_t position) {
  // A position beyond what the file can hold keys for would overflow the products below.
  const std::int64_t limit = std::int64_t{1} << 40;
  if (position > limit) damaged(fmt::format("position: expected at most {}, found {}", limit, position));
  std::vector<LayerShape> shapes;
  std::uint64_t floats = 0;
  for (std::int64_t layerIdx = 0; layerIdx < config.L; ++layerIdx) {
    LayerShape found;
    found.h = reader.get<std::int64_t>("shapes");
    found.tail = reader.get<std::int64_t>("shapes");
    found.keys = reader.get<std::int64_t>("shapes");
    const LayerShape expected = expectedShape(config, layerIdx, position);
    if (found != expected) {
      damaged(fmt::format("layers.{}: expected {}, found {}", layerIdx, describe(expected), describe(found)));
    }
    floats += static_cast<std::uint64_t>(found.h + found.tail + 2 * found.keys);
    shapes.push_back(found);
  }
  const std::uint64_t expected = floats * sizeof(float) + sizeof(std::uint64_t);
  if (reader.left() != expected) {
    damaged(fmt::format("payload: expected {} bytes, found {}", expected, reader.left()));
  }
  return shapes;
}

std::vector<float> readFloats(Reader& reader, std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  reader.raw(values.data(), values.size() * sizeof(float), "payload");
  return values;
}

}  // namespace

std::vector<std::byte> serialiseState(const HostState& state, const std::string& fingerprint) {
  Writer writer;
  std::size_t floats = 0;
  for (const LayerState& layer : state.layers) {
    floats += layer.h.size() + layer.tail.size() + layer.keys.size() + layer.values.size();
  }
  writer.reserve(64 + fingerprint.size() + state.layers.size() * 24 + floats * sizeof(float));
  writer.raw(kMagic, sizeof kMagic);
  writer.put(kVersion);
  writer.put(static_cast<std::uint32_t>(fingerprint.size()));
  writer.raw(fingerprint.data(), fingerprint.size());
  writer.put(state.position);
  writer.put(kDtypeF32);
  writer.put(static_cast<std::uint32_t>(state.layers.size()));
  for (const LayerState& layer : state.layers) {
    const LayerShape shape = shapeOf(layer);
    writer.put(shape.h);
    writer.put(shape.tail);
    writer.put(shape.keys);
  }
  for (const LayerState& layer : state.layers) {
    writer.floats(layer.h);
    writer.floats(layer.tail);
    writer.floats(layer.keys);
    writer.floats(layer.values);
  }
  return writer.finish();
}

HostState parseState(std::span<const std::byte> bytes, const ModelConfig& config,
                     const std::string& fingerprint) {
  Reader reader(bytes);
  checkHeader(reader, fingerprint);
  HostState state;
  state.position = readPosition(reader, config);
  const std::vector<LayerShape> shapes = readShapes(reader, config, state.position);
  std::uint64_t stored = 0;
  std::memcpy(&stored, bytes.data() + bytes.size() - sizeof stored, sizeof stored);
  const std::uint64_t computed = checksum(bytes.first(bytes.size() - sizeof stored));
  if (stored != computed) {
    damaged(fmt::format("checksum: expected {:016x}, found {:016x}", stored, computed));
  }
  for (const LayerShape& shape : shapes) {
    LayerState layer;
    layer.h = readFloats(reader, shape.h);
    layer.tail = readFloats(reader, shape.tail);
    layer.keys = readFloats(reader, shape.keys);
    layer.values = readFloats(reader, shape.keys);
    state.layers.push_back(std::move(layer));
  }
  return state;
}

void checkState(const HostState& state, const ModelConfig& config) {
  if (state.position < 0) damaged(fmt::format("position: expected 0 or more, found {}", state.position));
  if (static_cast<std::int64_t>(state.layers.size()) != config.L) {
    damaged(fmt::format("layers: expected {}, found {}", config.L, state.layers.size()));
  }
  for (std::int64_t layerIdx = 0; layerIdx < config.L; ++layerIdx) {
    const LayerState& layer = state.layers[static_cast<std::size_t>(layerIdx)];
    const LayerShape expected = expectedShape(config, layerIdx, state.position);
    if (shapeOf(layer) != expected || layer.values.size() != layer.keys.size()) {
      damaged(fmt::format("layers.{}: expected {}, found {}, values {}", layerIdx, describe(expected),
                          describe(shapeOf(layer)), layer.values.size()));
    }
  }
}

}  // namespace eyrie::engine
