#include "engine/kept_crossovers.h"

#include "engine/checkpoint/file_io.h"
#include "engine/checkpoint/strict_json.h"
#include "engine/error.h"

namespace eyrie::engine {
namespace {

namespace fs = std::filesystem;
using kernels::DType;
using kernels::cuda::MatmulCrossover;
using Json = nlohmann::json;

constexpr std::uint64_t kMaxBytes = 1 << 20;
constexpr std::int64_t kMaxRows = 1 << 16;

fs::path fileOf(const fs::path& cacheFolder) {
  return cacheFolder / "crossovers.json";
}

Json allOf(const fs::path& file) {
  try {
    Json all = parseStrictJson(readFile(file, kMaxBytes), file.string());
    if (all.is_object()) return all;
  } catch (const Error&) {  // not there yet, or damaged: measured again
  }
  return Json::object();
}

}  // namespace

std::optional<MatmulCrossover> keptCrossover(const fs::path& cacheFolder, const std::string& backend) {
  if (cacheFolder.empty()) return std::nullopt;
  const Json all = allOf(fileOf(cacheFolder));
  const auto kept = all.find(backend);
  if (kept == all.end() || !kept->is_object()) return std::nullopt;
  MatmulCrossover crossover;
  for (const DType dtype : MatmulCrossover::kTypes) {
    const auto rows = kept->find(kernels::dtypeName(dtype));
    if (rows == kept->end() || !rows->is_number_unsigned()) return std::nullopt;
    const auto found = rows->get<std::uint64_t>();
    if (found < 1 || found > kMaxRows) return std::nullopt;
    crossover.rows(dtype) = static_cast<std::int64_t>(found);
  }
  return crossover;
}

void keepCrossover(const fs::path& cacheFolder, const std::string& backend,
                   const MatmulCrossover& crossover) {
  if (cacheFolder.empty())
    throw Error(ErrorCode::ioFailed, "no cache folder: neither XDG_CACHE_HOME nor HOME");
  std::error_code failed;
  fs::create_directories(cacheFolder, failed);
  Json all = allOf(fileOf(cacheFolder));
  Json& kept = all[backend] = Json::object();
  for (const DType dtype : MatmulCrossover::kTypes) kept[kernels::dtypeName(dtype)] = crossover.rows(dtype);
  writeFile(fileOf(cacheFolder), all.dump(2) + "\n");
}

}  // namespace eyrie::engine
