#include "engine/verify/goldens.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/checkpoint/file_io.h"
#include "engine/checkpoint/safetensors.h"
#include "engine/error.h"
#include "engine/verify/model_run.h"
#include "engine/verify/npy_reader.h"
#include "engine/verify/test_models.h"

namespace eyrie::engine::verify {
namespace {

namespace fs = std::filesystem;
constexpr std::uint64_t kLargestJson = std::uint64_t{16} << 20;

// What the folder says, as arrays by name.
struct Golden {
  std::string name;
  std::shared_ptr<const Checkpoint> checkpoint;
  std::vector<std::int32_t> tokens;
  std::vector<std::int64_t> rows;  // positions of `logits`
  std::vector<float> logits;
  std::map<std::string, std::vector<float>> state;
  std::map<std::string, std::vector<float>> traces;
};

template <typename T>
std::vector<T> readList(const fs::path& path) {
  const nlohmann::json json = nlohmann::json::parse(readFile(path, kLargestJson), nullptr, false);
  if (!json.is_array()) throw Error(ErrorCode::badFile, path.string() + ": expected a list of numbers");
  std::vector<T> list;
  for (const auto& item : json) {
    if (!item.is_number_integer())
      throw Error(ErrorCode::badFile, path.string() + ": expected whole numbers");
    list.push_back(item.get<T>());
  }
  return list;
}

std::map<std::string, std::vector<float>> readTensors(const fs::path& path) {
  const MappedFile file(path);
  const SafetensorsFile parsed = parseSafetensors(file.bytes(), file.bytes().size(), path.string());
  std::map<std::string, std::vector<float>> arrays;
  for (const SafetensorsTensor& tensor : parsed.tensors) {
    if (tensor.dtype != "F32")
      throw Error(ErrorCode::badFile, path.string() + ": " + tensor.name + ": expected F32");
    std::vector<float> values(tensor.bytes / sizeof(float));
    const auto* bytes = static_cast<const std::byte*>(tensor.data);
    std::copy_n(bytes, tensor.bytes, reinterpret_cast<std::byte*>(values.data()));
    arrays.emplace(tensor.name, std::move(values));
  }
  return arrays;
}

Golden readGolden(const fs::path& folder) {
  Golden golden;
  golden.name = folder.filename().string();
  golden.checkpoint = Checkpoint::open(folder);
  golden.tokens = readList<std::int32_t>(folder / "tokens.json");
  golden.logits = readNpy(folder / "logits.npy").values;
  if (fs::exists(folder / "rows.json")) {
    golden.rows = readList<std::int64_t>(folder / "rows.json");
  } else {
    for (std::size_t i = 0; i < golden.tokens.size(); ++i)
      golden.rows.push_back(static_cast<std::int64_t>(i));
  }
  if (fs::exists(folder / "state.safetensors")) golden.state = readTensors(folder / "state.safetensors");
  if (fs::exists(folder / "trace.npz")) {
    for (auto& [name, array] : readNpz(folder / "trace.npz"))
      golden.traces.emplace(name, std::move(array.values));
    golden.traces.erase("tokens");
  }
  return golden;
}

std::vector<float> rowsOf(const std::vector<float>& logits, const std::vector<std::int64_t>& rows,
                          std::int64_t V) {
  std::vector<float> chosen;
  for (const std::int64_t row : rows) {
    const auto begin = logits.begin() + row * V;
    chosen.insert(chosen.end(), begin, begin + V);
  }
  return chosen;
}

struct Tolerances {
  Tolerance logits = kGoldenLogits;
  Tolerance state = kGoldenState;
  Tolerance logDecay = kGoldenLogDecay;
};

// Cards multiply few rows in f32, whatever the weights are.
Tolerances tolerancesOf(const Model& model, const Feeding& feeding) {
  constexpr std::int64_t kRowsOfTensorCores = 9;
  const bool wide = model.summary().dtype == "f32" || feeding.chunk < kRowsOfTensorCores;
  if (wide || !model.backendName().starts_with("cuda")) return {};
  return {kTensorLogits, kTensorState, kTensorLogDecay};
}

void checkArrays(const std::string& name, const std::map<std::string, std::vector<float>>& found,
                 const std::map<std::string, std::vector<float>>& expected, const Tolerances& tolerances,
                 std::vector<CheckResult>& results) {
  for (const auto& [array, values] : expected) {
    const auto it = found.find(array);
    const Tolerance& tolerance = array.ends_with(".log_decay") ? tolerances.logDecay : tolerances.state;
    results.push_back(compareArrays(fmt::format("{} · {}", name, array),
                                    it == found.end() ? std::span<const float>() : it->second, values,
                                    tolerance));
  }
}

std::vector<CheckResult> checkFeeding(Model& model, const Golden& golden, const Feeding& feeding) {
  const ModelConfig& config = model.config();
  TraceOptions options{TraceLevel::full, {}, static_cast<std::int64_t>(golden.tokens.size())};
  const FrameLayout layout(config, options);
  const bool traced = !golden.traces.empty();
  const ModelRun run = runModel(model, golden.tokens, feeding, traced ? &layout : nullptr);
  const std::string name = fmt::format("{} · {} · {}", golden.name, model.backendName(), feeding.name);
  const Tolerances tolerances = tolerancesOf(model, feeding);
  std::vector<CheckResult> results;
  results.push_back(compareArrays(name + " · logits", rowsOf(run.logits, golden.rows, config.V),
                                  golden.logits, tolerances.logits));
  checkArrays(name, run.stateArrays(), golden.state, tolerances, results);
  checkArrays(name, run.traces, golden.traces, tolerances, results);
  return results;
}

CheckResult checkLogits(std::shared_ptr<const Checkpoint> checkpoint, const Golden& golden,
                        const LoadOptions& options, const std::string& name) {
  const auto model = Model::load(std::move(checkpoint), options);
  // Fed so that every backend computes in f32.
  const Feeding& feeding = model->summary().dtype == "f32" ? kPrefill : kOddChunks;
  const ModelRun run = runModel(*model, golden.tokens, feeding);
  return mustReject(
      golden.name + " · rejects " + name,
      compareArrays(name, rowsOf(run.logits, golden.rows, model->config().V), golden.logits, kGoldenLogits));
}

std::string swapGates(const std::string& name) {
  constexpr std::string_view kInput = "rg_lru.input_gate_";
  constexpr std::string_view kRecurrent = "rg_lru.recurrent_gate_";
  std::string swapped = name;
  if (const std::size_t at = name.find(kInput); at != std::string::npos) {
    swapped.replace(at, kInput.size(), kRecurrent);
  } else if (const std::size_t found = name.find(kRecurrent); found != std::string::npos) {
    swapped.replace(found, kRecurrent.size(), kInput);
  }
  return swapped;
}

std::string swapMlpHalves(const std::string& name) {
  std::string swapped = name;
  if (const std::size_t at = name.find("gate_proj."); at != std::string::npos) {
    swapped.replace(at, 9, "up_proj");
  } else if (const std::size_t found = name.find("up_proj."); found != std::string::npos) {
    swapped.replace(found, 7, "gate_proj");
  }
  return swapped;
}

// The real parts of a where its angles belong.
std::string wrongAngles(const std::string& name) {
  constexpr std::string_view kImag = "rg_lru.recurrent_imag_param";
  if (!name.ends_with(kImag)) return name;
  return name.substr(0, name.size() - kImag.size()) + "rg_lru.recurrent_param";
}

// One mistake at a time, of those that still give plausible text.
std::vector<CheckResult> checkBentVariants(const Golden& golden, const LoadOptions& options) {
  const ModelConfig& right = golden.checkpoint->config();
  const auto T = static_cast<std::int64_t>(golden.tokens.size());
  std::vector<CheckResult> results;
  const auto bend = [&](const ModelConfig& config, const std::string& name,
                        std::function<std::string(const std::string&)> rename = {}) {
    results.push_back(
        checkLogits(bentCheckpoint(golden.checkpoint, config, std::move(rename)), golden, options, name));
  };
  ModelConfig bent = right;
  if (right.hasKind(BlockKind::localAttention) && T > right.W) {
    bent.windowCounting =
        right.windowCounting == WindowCounting::dm ? WindowCounting::hf : WindowCounting::dm;
    bend(bent, "a window shifted by one (trap 22)");
  }
  if (right.hasKind(BlockKind::recurrent)) bend(right, "swapped gates (trap 3)", swapGates);
  if (right.rgLru == RgLru::complex) bend(right, "angles of another tensor", wrongAngles);
  bent = right;
  bent.scaleEmbedding = !right.scaleEmbedding;
  bend(bent, "the other embedding scale (trap 17)");
  bent = right;
  bent.logitsSoftCap = right.logitsSoftCap > 0 ? 0.0F : 30.0F;
  bend(bent, right.logitsSoftCap > 0 ? "a missing soft cap (trap 27)" : "an invented soft cap (trap 28)");
  bend(right, "swapped halves of the MLP (trap 14)", swapMlpHalves);
  return results;
}

void append(std::vector<CheckResult>& all, std::vector<CheckResult> more) {
  std::move(more.begin(), more.end(), std::back_inserter(all));
}

}  // namespace

std::vector<CheckResult> checkGolden(const fs::path& folder, BackendKind backend, int threads) {
  const Golden golden = readGolden(folder);
  LoadOptions options;
  options.backend = backend;
  options.threads = threads;
  const auto model = Model::load(golden.checkpoint, options);
  std::vector<CheckResult> results;
  for (const Feeding& feeding : {kPrefill, kSteps, kOddChunks})
    append(results, checkFeeding(*model, golden, feeding));
  append(results, checkBentVariants(golden, options));
  return results;
}

std::vector<CheckResult> checkGoldens(const fs::path& folder, BackendKind backend, int threads) {
  std::vector<fs::path> sets;
  if (fs::is_directory(folder)) {
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (fs::exists(entry.path() / "logits.npy")) sets.push_back(entry.path());
    }
  }
  if (sets.empty()) throw Error(ErrorCode::notFound, folder.string() + ": no reference outputs here");
  std::sort(sets.begin(), sets.end());
  std::vector<CheckResult> results;
  for (const fs::path& set : sets) append(results, checkGolden(set, backend, threads));
  return results;
}

}  // namespace eyrie::engine::verify
