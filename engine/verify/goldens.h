// Outputs of the official implementations (tests/golden/README.md) against ours. All in fp32, DeepMind's code
// beyond the window: Hugging Face's is wrong there (trap 24), and bf16 outputs are no reference (trap 45).
#pragma once

#include <filesystem>
#include <vector>

#include "engine/model.h"
#include "engine/verify/check.h"

namespace eyrie::engine::verify {

// One set: a checkpoint folder with tokens.json, logits.npy and, where there are, rows.json,
// state.safetensors and trace.npz. Prefill, single steps and odd chunks; and variants bent on purpose, which
// must be rejected. Throws Error when the folder cannot be read.
std::vector<CheckResult> checkGolden(const std::filesystem::path& folder, BackendKind backend,
                                     int threads = 0);
// Every set below `folder`, in order of name. Throws Error(notFound) when there is none.
std::vector<CheckResult> checkGoldens(const std::filesystem::path& folder, BackendKind backend,
                                      int threads = 0);

}  // namespace eyrie::engine::verify
