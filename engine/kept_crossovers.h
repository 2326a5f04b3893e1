// Crossovers of products that `doctor` measured on a card, kept in the user's cache folder for all who
// compute on it: crossovers.json, {"<backend>": {"BF16": rows, …}, …}.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "kernels/cuda/matmul.h"

namespace eyrie::engine {

// `backend` as Backend::name() has it. None where nothing (or nothing sensible) is kept: never an error.
std::optional<kernels::cuda::MatmulCrossover> keptCrossover(const std::filesystem::path& cacheFolder,
                                                            const std::string& backend);
// Those of other backends stay. Makes the folder. Throws Error(ioFailed).
void keepCrossover(const std::filesystem::path& cacheFolder, const std::string& backend,
                   const kernels::cuda::MatmulCrossover& crossover);

}  // namespace eyrie::engine
