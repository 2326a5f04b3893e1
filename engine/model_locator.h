// Turns what a user names into a folder: a path, a Hugging Face cache name, or a built-in model.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace eyrie::engine {

struct ModelLocation {
  std::string name;  // "griffin", "google/recurrentgemma-2b", or the folder's name
  std::filesystem::path folder;
  bool builtIn = false;
};

// Folders searched for built-ins: $EYRIE_MODELS, <binary>/../share/eyrie/models, the source tree's
// assets/models.
std::vector<ModelLocation> builtInModels();
// Models in the local Hugging Face cache ($HF_HUB_CACHE, $HF_HOME/hub, ~/.cache/huggingface/hub) of type
// recurrent_gemma.
std::vector<ModelLocation> cachedModels();
// Where we keep what can be made anew: $XDG_CACHE_HOME/eyrie, else ~/.cache/eyrie; empty where there is
// neither variable nor home.
std::filesystem::path cacheFolder();
// Throws Error(notFound) saying every place that was looked at.
ModelLocation locateModel(const std::string& nameOrPath);

}  // namespace eyrie::engine
