#include "engine/checkpoint/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>

#include "engine/checkpoint/deepmind_names.h"
#include "engine/checkpoint/file_io.h"
#include "engine/checkpoint/fingerprint.h"
#include "engine/checkpoint/safetensors.h"
#include "engine/checkpoint/shard_index.h"
#include "engine/checkpoint/strict_json.h"
#include "engine/error.h"
#include "engine/tensor_registry.h"

namespace eyrie::engine {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr std::uint64_t kMaxConfigBytes = 4U << 20U;
constexpr std::uint64_t kMaxIndexBytes = 64U << 20U;
constexpr std::size_t kQuickCompareBytes = 1U << 22U;

[[noreturn]] void failTensor(const std::string& file, const std::string& tensor, const std::string& what) {
  throw Error(ErrorCode::badTensor, fmt::format("{}: tensor {}: {}", file, printable(tensor), what));
}

// The mapped files of a checkpoint and what they contain.
struct Shards {
  std::vector<MappedFile> files;
  FoundTensors found;
};

void addFile(Shards& shards, const fs::path& path) {
  const MappedFile& file = shards.files.emplace_back(path);
  SafetensorsFile parsed = parseSafetensors(file.bytes(), file.bytes().size(), path.string());
  for (SafetensorsTensor& tensor : parsed.tensors) {
    const std::string name = tensor.name;
    const auto [place, added] =
        shards.found.try_emplace(name, FoundTensor{std::move(tensor), path.string(), false});
    if (!added)
      failTensor(path.string(), name,
                 fmt::format("expected it once, found it also in {}", place->second.file));
  }
}

void checkAgainstIndex(const Shards& shards, const ShardIndex& index, const fs::path& folder,
                       const std::string& indexFile) {
  for (const auto& [name, file] : index.files) {
    const auto found = shards.found.find(name);
    const std::string path = (folder / file).string();
    if (found == shards.found.end() || found->second.file != path)
      failTensor(indexFile, name,
                 fmt::format("expected it in {}, found {}", file,
                             found == shards.found.end()
                                 ? "no such tensor"
                                 : "it in " + fs::path(found->second.file).filename().string()));
  }
  for (const auto& [name, found] : shards.found)
    if (!index.files.contains(name))
      failTensor(found.file, name, fmt::format("expected it in {}, it is not there", kIndexFile));
}

// The one *.safetensors of the folder, whatever it is called; empty where there is none or there are several.
fs::path onlySafetensors(const fs::path& folder) {
  fs::path only;
  std::error_code failed;
  for (fs::directory_iterator entry(folder, failed), end; !failed && entry != end; entry.increment(failed)) {
    if (entry->path().extension() != ".safetensors") continue;
    if (!only.empty()) return {};
    only = entry->path();
  }
  return only;
}

Shards openShards(const fs::path& folder) {
  Shards shards;
  std::error_code ignored;
  const fs::path indexPath = folder / kIndexFile;
  if (fs::exists(folder / kSingleFile, ignored)) {
    addFile(shards, folder / kSingleFile);
  } else if (fs::exists(indexPath, ignored)) {
    const ShardIndex index = parseShardIndex(readFile(indexPath, kMaxIndexBytes), indexPath.string());
    std::set<std::string> names;
    for (const auto& entry : index.files) names.insert(entry.second);
    for (const std::string& name : names) {
      if (!fs::exists(folder / name, ignored))
        throw Error(ErrorCode::notFound,
                    fmt::format("{}: expected shard {} in the same folder, found no such file",
                                indexPath.string(), printable(name)));
      addFile(shards, folder / name);
    }
    checkAgainstIndex(shards, index, folder, indexPath.string());
  } else if (const fs::path only = onlySafetensors(folder); !only.empty()) {
    addFile(shards, only);
  } else {
    throw Error(ErrorCode::notFound,
                fmt::format("{}: expected {}, {} or a single other .safetensors file, found none of them",
                            folder.string(), kSingleFile, kIndexFile));
  }
  return shards;
}

class OpenCheckpoint final : public Checkpoint {
 public:
  OpenCheckpoint(const fs::path& folder, const std::string& preset);

  const fs::path& folder() const override { return folder_; }
  const ModelConfig& config() const override { return config_; }
  const std::vector<StoredTensor>& tensors() const override { return tensors_; }
  const StoredTensor& tensor(std::string_view name) const override;
  const StoredTensor* find(std::string_view name) const override;
  const StoredTensor& outputHead() const override;
  const std::string& fingerprint() const override { return fingerprint_; }
  void dropPages(const void* data, std::uint64_t bytes) const override {
    for (const MappedFile& file : shards_.files) file.dropPages(data, bytes);
  }

 private:
  void readConfig(const std::string& preset);
  void countBlocks();
  std::string fileName(const std::string& tensor) const;
  void take(const ExpectedTensor& expected);
  void takeHead();
  [[noreturn]] void failHead() const;
  StoredTensor stored(const FoundTensor& found);
  void refuseUnknown() const;

  fs::path folder_;
  std::string configFile_;
  ModelConfig config_;
  Shards shards_;
  bool deepMind_ = false;  // the files have DeepMind's names
  std::vector<StoredTensor> tensors_;
  std::unordered_map<std::string_view, std::size_t> byName_;
  std::vector<std::vector<std::byte>> aligned_;  // copies of tensors that lie unaligned in their file
  StoredTensor duplicateHead_;                   // data null: none
  std::string fingerprint_;
  // Not std::call_once: a throwing call leaves it locked for ever under ThreadSanitizer.
  mutable std::mutex headMutex_;
  mutable bool headCompared_ = false;
};

OpenCheckpoint::OpenCheckpoint(const fs::path& folder, const std::string& preset) : folder_(folder) {
  std::error_code ignored;
  if (!fs::exists(folder, ignored))
    throw Error(ErrorCode::notFound,
                fmt::format("{}: expected a model folder, found nothing", folder.string()));
  if (!fs::is_directory(folder, ignored))
    throw Error(ErrorCode::notFound,
                fmt::format("{}: expected a model folder, found a file", folder.string()));
  readConfig(preset);
  if (shards_.found.size() < static_cast<std::size_t>(config_.L))
    throw Error(
        ErrorCode::badTensor,
        fmt::format("{}: num_hidden_layers: expected as many layers as the tensors have, found {} layers but "
                    "only {} tensors",
                    configFile_, config_.L, shards_.found.size()));
  countBlocks();
  const std::vector<ExpectedTensor> expected = expectedTensors(config_);
  tensors_.reserve(expected.size() + 1);
  for (const ExpectedTensor& each : expected) take(each);
  takeHead();
  refuseUnknown();
  for (std::size_t i = 0; i < tensors_.size(); ++i) byName_.emplace(tensors_[i].name, i);
  fingerprint_ = fingerprintOf(config_, tensors_);
}

void OpenCheckpoint::readConfig(const std::string& preset) {
  const fs::path path = folder_ / "config.json";
  configFile_ = path.string();
  std::error_code ignored;
  const bool present = fs::exists(path, ignored);
  const auto text = [&] { return readFile(path, kMaxConfigBytes); };
  shards_ = openShards(folder_);
  deepMind_ = hasDeepMindNames(shards_.found);
  if (deepMind_) {
    shards_.found = toHuggingFaceNames(std::move(shards_.found));
    config_ = deepMindConfig(shards_.found, present ? text() : "", configFile_, preset);
    return;
  }
  if (!preset.empty())
    throw Error(ErrorCode::badArgument,
                fmt::format("{}: preset {}: expected tensors with DeepMind's names, found others, whose "
                            "configuration is config.json",
                            folder_.string(), printable(preset)));
  config_ = parseConfig(text(), configFile_);
}

// What a tensor is called in the files.
std::string OpenCheckpoint::fileName(const std::string& tensor) const {
  return deepMind_ ? deepMindName(tensor) : tensor;
}

void OpenCheckpoint::countBlocks() {
  const std::string witness = gateBlocksWitness(config_);
  if (witness.empty()) return;
  const auto found = shards_.found.find(witness);
  if (found == shards_.found.end())
    failTensor(folder_.string(), fileName(witness), "expected it, found no such tensor");
  config_.gateBlocks = countGateBlocks(config_, found->second.tensor.shape, found->second.file);
}

StoredTensor OpenCheckpoint::stored(const FoundTensor& found) {
  const SafetensorsTensor& tensor = found.tensor;
  const auto dtype = kernelDType(tensor.dtype);
  if (!dtype)
    failTensor(found.file, tensor.name,
               fmt::format("expected dtype F32, F16 or BF16, found {}", tensor.dtype));
  const void* data = tensor.data;
  if (reinterpret_cast<std::uintptr_t>(data) % kernels::dtypeSize(*dtype) != 0) {
    std::vector<std::byte>& copy = aligned_.emplace_back(tensor.bytes);
    std::memcpy(copy.data(), data, tensor.bytes);
    data = copy.data();
  }
  return {tensor.name,     *dtype, tensor.shape, data, tensor.bytes, fs::path(found.file).filename().string(),
          found.transposed};
}

void OpenCheckpoint::take(const ExpectedTensor& expected) {
  const auto found = shards_.found.find(expected.name);
  if (found == shards_.found.end())
    failTensor(
        folder_.string(), fileName(expected.name),
        fmt::format("expected {} = {}, found no such tensor", shapeText(expected.shape), expected.formula));
  const SafetensorsTensor& tensor = found->second.tensor;
  if (tensor.shape != expected.shape)
    failTensor(
        found->second.file, tensor.name,
        fmt::format("expected shape {} = {} by {}, found {}", shapeText(expected.shape), expected.formula,
                    deepMind_ ? "config.json or the other tensors" : "config.json", shapeText(tensor.shape)));
  tensors_.push_back(stored(found->second));
  tensors_.back().name = expected.name;
  shards_.found.erase(found);
}

bool sameValues(const StoredTensor& a, const StoredTensor& b, std::uint64_t limit) {
  if (a.dtype == b.dtype) return std::memcmp(a.data, b.data, std::min(a.bytes, limit)) == 0;
  const std::size_t count = std::min(a.bytes, limit) / kernels::dtypeSize(a.dtype);
  for (std::size_t i = 0; i < count; ++i)
    if (kernels::loadAsFloat(a.data, a.dtype, i) != kernels::loadAsFloat(b.data, b.dtype, i)) return false;
  return true;
}

// Absent, equal or different (DESIGN §8). Only a beginning is compared here: opening reads no weights.
void OpenCheckpoint::takeHead() {
  const auto found = shards_.found.find(kHeadName);
  if (found == shards_.found.end()) {
    if (!config_.tieWordEmbeddings)
      failTensor(folder_.string(), std::string(kHeadName),
                 "expected it since tie_word_embeddings is false, found no such tensor");
    return;
  }
  const std::vector<std::int64_t> expected = {config_.V, config_.D};
  if (found->second.tensor.shape != expected)
    failTensor(found->second.file, std::string(kHeadName),
               fmt::format("expected shape {} = [vocab_size, hidden_size] by config.json, found {}",
                           shapeText(expected), shapeText(found->second.tensor.shape)));
  StoredTensor head = stored(found->second);
  shards_.found.erase(found);
  const StoredTensor& embedding = tensors_.front();
  const bool small = head.bytes <= kQuickCompareBytes;
  const bool same = sameValues(embedding, head, kQuickCompareBytes);
  if (!same && config_.tieWordEmbeddings) {
    duplicateHead_ = std::move(head);
    failHead();
  }
  if (same && (small || config_.tieWordEmbeddings))
    duplicateHead_ = std::move(head);
  else
    tensors_.push_back(std::move(head));
}

void OpenCheckpoint::failHead() const {
  failTensor(
      duplicateHead_.file, std::string(kHeadName),
      fmt::format(
          "expected a copy of {} since tie_word_embeddings is {} in config.json, found different values",
          kEmbeddingName, config_.tieStated ? "true" : "not stated (and then true)"));
}

const StoredTensor& OpenCheckpoint::outputHead() const {
  if (const StoredTensor* own = find(kHeadName)) return *own;
  const std::lock_guard lock(headMutex_);
  if (duplicateHead_.data != nullptr && !headCompared_) {
    if (!sameValues(tensors_.front(), duplicateHead_, duplicateHead_.bytes)) failHead();
    headCompared_ = true;
  }
  return tensors_.front();
}

void OpenCheckpoint::refuseUnknown() const {
  if (shards_.found.empty()) return;
  const FoundTensor& found = shards_.found.begin()->second;
  failTensor(
      found.file, found.tensor.name,
      fmt::format("expected only the tensors of a {} model ({} layers), found this one too{}",
                  patternString(config_).substr(0, 12), config_.L,
                  shards_.found.size() > 1 ? fmt::format(" and {} more", shards_.found.size() - 1) : ""));
}

const StoredTensor* OpenCheckpoint::find(std::string_view name) const {
  const auto found = byName_.find(name);
  return found == byName_.end() ? nullptr : &tensors_[found->second];
}

const StoredTensor& OpenCheckpoint::tensor(std::string_view name) const {
  if (const StoredTensor* found = find(name)) return *found;
  failTensor(folder_.string(), std::string(name), "expected it, found no such tensor");
}

// Row strips, so that what is read lies together and what is written does so soon after.
template <std::size_t kElement>
void copyTransposed(const StoredTensor& tensor, std::uint64_t first, std::uint64_t count, std::byte* out) {
  constexpr std::uint64_t kStrip = 32;
  const auto cols = static_cast<std::uint64_t>(tensor.shape.back());
  const std::uint64_t rows = tensor.bytes / kElement / cols;
  const auto* const from = static_cast<const std::byte*>(tensor.data);
  const std::uint64_t end = first + count;
  for (std::uint64_t top = first / cols; top * cols < end; top += kStrip)
    for (std::uint64_t c = 0; c < cols; ++c)
      for (std::uint64_t r = top; r < std::min(rows, top + kStrip); ++r)
        if (const std::uint64_t at = r * cols + c; at >= first && at < end)
          std::memcpy(out + (at - first) * kElement, from + (c * rows + r) * kElement, kElement);
}

}  // namespace

void copyElements(const StoredTensor& tensor, std::uint64_t first, std::uint64_t count, std::byte* out) {
  const std::size_t element = kernels::dtypeSize(tensor.dtype);
  if (!tensor.transposed)
    std::memcpy(out, static_cast<const std::byte*>(tensor.data) + first * element, count * element);
  else if (element == 2)
    copyTransposed<2>(tensor, first, count, out);
  else
    copyTransposed<4>(tensor, first, count, out);
}

std::shared_ptr<const Checkpoint> Checkpoint::open(const fs::path& folder, const std::string& preset) {
  try {
    return std::make_shared<const OpenCheckpoint>(folder, preset);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::outOfMemory,
                fmt::format("{}: not enough memory to open the model", folder.string()));
  }
}

}  // namespace eyrie::engine
