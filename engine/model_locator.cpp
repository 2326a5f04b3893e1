#include "engine/model_locator.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <set>
#include <system_error>

#include "engine/checkpoint/file_io.h"
#include "engine/checkpoint/strict_json.h"
#include "engine/error.h"

namespace eyrie::engine {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxConfigBytes = 4U << 20U;
constexpr std::uint64_t kMaxRefBytes = 4096;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

bool isModelFolder(const fs::path& folder) {
  std::error_code ignored;
  return fs::is_regular_file(folder / "config.json", ignored);
}

// Folders inside `root`, sorted; none where it cannot be read.
std::vector<fs::path> foldersIn(const fs::path& root) {
  std::vector<fs::path> folders;
  std::error_code failed;
  for (fs::directory_iterator entry(root, failed), end; !failed && entry != end; entry.increment(failed)) {
    std::error_code ignored;
    if (entry->is_directory(ignored)) folders.push_back(entry->path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

std::vector<fs::path> builtInRoots() {
  std::vector<fs::path> roots;
  std::string list = environment("EYRIE_MODELS");
  while (!list.empty()) {
    const std::size_t end = std::min(list.find(':'), list.size());
    if (end > 0) roots.emplace_back(list.substr(0, end));
    list.erase(0, end + 1);
  }
  std::error_code failed;
  const fs::path binary = fs::read_symlink("/proc/self/exe", failed);
  if (!failed) {
    roots.push_back(binary.parent_path() / "../share/eyrie/models");
    roots.push_back(binary.parent_path() / "../../../assets/models");  // build/<preset>/bin
  }
#ifdef EYRIE_SOURCE_MODELS
  roots.emplace_back(EYRIE_SOURCE_MODELS);
#endif
  return roots;
}

std::vector<fs::path> cacheRoots() {
  const std::string hub = environment("HF_HUB_CACHE");
  if (!hub.empty()) return {hub};
  const std::string home = environment("HF_HOME");
  if (!home.empty()) return {fs::path(home) / "hub"};
  const std::string cache = environment("XDG_CACHE_HOME");
  if (!cache.empty()) return {fs::path(cache) / "huggingface" / "hub"};
  return {fs::path(environment("HOME")) / ".cache" / "huggingface" / "hub"};
}

std::string trimmedFile(const fs::path& file) {
  try {
    std::string text = readFile(file, kMaxRefBytes);
    while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ') text.pop_back();
    return text;
  } catch (const Error&) {
    return {};
  }
}

// The snapshot that refs/main names, else the newest that has a configuration.
std::optional<fs::path> snapshotOf(const fs::path& repository) {
  const std::string revision = trimmedFile(repository / "refs" / "main");
  if (!revision.empty() && revision.find_first_of("/\\") == std::string::npos &&
      isModelFolder(repository / "snapshots" / revision))
    return repository / "snapshots" / revision;
  std::optional<fs::path> newest;
  fs::file_time_type newestTime{};
  for (const fs::path& folder : foldersIn(repository / "snapshots")) {
    std::error_code failed;
    const auto time = fs::last_write_time(folder, failed);
    if (failed || !isModelFolder(folder) || (newest && time <= newestTime)) continue;
    newest = folder;
    newestTime = time;
  }
  return newest;
}

// "models--org--name" and "org/name".
std::string cacheFolderName(const std::string& name) {
  const std::size_t slash = name.find('/');
  return fmt::format("models--{}--{}", name.substr(0, slash), name.substr(slash + 1));
}

std::string cacheModelName(const std::string& folder) {
  std::string name = folder.substr(std::string_view("models--").size());
  const std::size_t dashes = name.find("--");
  if (dashes == std::string::npos) return name;
  return fmt::format("{}/{}", name.substr(0, dashes), name.substr(dashes + 2));
}

bool isRecurrentGemma(const fs::path& folder) {
  try {
    const fs::path file = folder / "config.json";
    const auto config = parseStrictJson(readFile(file, kMaxConfigBytes), file.string());
    return config.is_object() && config.value("model_type", "") == "recurrent_gemma";
  } catch (const std::exception&) {  // an unreadable model is not listed; naming it says why
    return false;
  }
}

bool isCacheName(const std::string& name) {
  const std::size_t slash = name.find('/');
  return slash != std::string::npos && slash > 0 && slash + 1 < name.size() &&
         name.find('/', slash + 1) == std::string::npos && name.front() != '.' && name.front() != '~' &&
         name.find("..") == std::string::npos;
}

fs::path expandHome(const std::string& path) {
  if (path == "~" || path.starts_with("~/"))
    return fs::path(environment("HOME")) / path.substr(std::min<std::size_t>(2, path.size()));
  return path;
}

std::string folderName(const fs::path& folder) {
  std::error_code failed;
  fs::path whole = fs::absolute(folder, failed).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();
  const std::string name = whole.filename().string();
  return name.empty() ? folder.string() : name;
}

}  // namespace

fs::path cacheFolder() {
  const std::string cache = environment("XDG_CACHE_HOME");
  if (!cache.empty()) return fs::path(cache) / "eyrie";
  const std::string home = environment("HOME");
  return home.empty() ? fs::path() : fs::path(home) / ".cache" / "eyrie";
}

std::vector<ModelLocation> builtInModels() {
  std::vector<ModelLocation> models;
  std::set<std::string> names;
  for (const fs::path& root : builtInRoots())
    for (const fs::path& folder : foldersIn(root))
      if (isModelFolder(folder) && names.insert(folder.filename().string()).second)
        models.push_back({folder.filename().string(), folder.lexically_normal(), true});
  return models;
}

std::vector<ModelLocation> cachedModels() {
  std::vector<ModelLocation> models;
  for (const fs::path& root : cacheRoots())
    for (const fs::path& repository : foldersIn(root)) {
      const std::string name = repository.filename().string();
      if (!name.starts_with("models--")) continue;
      const auto snapshot = snapshotOf(repository);
      if (snapshot && isRecurrentGemma(*snapshot)) models.push_back({cacheModelName(name), *snapshot, false});
    }
  return models;
}

ModelLocation locateModel(const std::string& nameOrPath) {
  if (nameOrPath.empty())
    throw Error(ErrorCode::notFound, "expected a model's name or folder, found an empty name");
  std::vector<std::string> looked;
  const bool bare = nameOrPath.find('/') == std::string::npos;
  if (bare) {
    for (const ModelLocation& model : builtInModels())
      if (model.name == nameOrPath) return model;
    for (const fs::path& root : builtInRoots())
      looked.push_back((root / printable(nameOrPath)).lexically_normal().string());
  }
  fs::path folder = expandHome(nameOrPath);
  std::error_code ignored;
  if (fs::is_regular_file(folder, ignored) &&
      (folder.filename() == "config.json" || folder.extension() == ".safetensors"))
    folder = folder.has_parent_path() ? folder.parent_path() : fs::path(".");
  if (fs::is_directory(folder, ignored)) return {folderName(folder), folder, false};
  looked.push_back(printable(folder.string()));
  if (isCacheName(nameOrPath))
    for (const fs::path& root : cacheRoots()) {
      const fs::path repository = root / cacheFolderName(nameOrPath);
      if (const auto snapshot = snapshotOf(repository)) return {nameOrPath, *snapshot, false};
      looked.push_back(printable(repository.string()));
    }
  throw Error(ErrorCode::notFound,
              fmt::format("{}: no such model; looked at {}", printable(nameOrPath), fmt::join(looked, ", ")));
}

}  // namespace eyrie::engine
