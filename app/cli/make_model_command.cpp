// eyrie-cli make-model: random weights of a known size in Hugging Face layout, for benchmarks and tests.
#include <fmt/format.h>

#include <algorithm>

#include "app/cli/command.h"
#include "app/cli/console.h"
#include "app/cli/model_presets.h"
#include "app/cli/random_model.h"

namespace eyrie::app {
namespace {

struct MakeModelOptions {
  std::string preset;
  std::string dtype;
  std::uint64_t seed = 0;
  std::string out;
};

kernels::DType dtypeOf(const std::string& name) {
  if (name == "f32") return kernels::DType::f32;
  return name == "f16" ? kernels::DType::f16 : kernels::DType::bf16;
}

std::string presetNames() {
  std::string names;
  for (const auto& preset : modelPresets()) names += (names.empty() ? "" : ", ") + preset.name;
  return names;
}

int makeModel(const MakeModelOptions& options) {
  const auto& presets = modelPresets();
  const auto preset = std::find_if(presets.begin(), presets.end(),
                                   [&](const ModelPreset& known) { return known.name == options.preset; });
  if (preset == presets.end()) {
    wrongUsage(fmt::format("--preset: expected one of {}; found '{}'", presetNames(), options.preset));
  }
  const std::string dtype = options.dtype.empty() ? preset->dtype : options.dtype;
  Interrupt interrupt;
  const WrittenModel written =
      writeRandomModel(options.out, preset->config, dtypeOf(dtype), options.seed, interrupt.token());
  printLine({{"preset", preset->name},
             {"folder", options.out},
             {"parameters", written.parameters},
             {"dtype", dtype},
             {"bytes", written.bytes},
             {"seed", options.seed}});
  return kDone;
}

}  // namespace

void addMakeModelCommand(CLI::App& parser, Action& action) {
  auto options = std::make_shared<MakeModelOptions>();
  CLI::App* command = parser.add_subcommand("make-model", "Writes a model of random weights");
  command->add_option("--preset", options->preset, "Size: " + presetNames())->required()->type_name("NAME");
  command->add_option("--seed", options->seed, "Seed of the weights [0]")->type_name("S");
  command->add_option("--dtype", options->dtype, "f32, f16 or bf16 [the preset's]")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}))
      ->type_name("TYPE");
  command->add_option("--out", options->out, "Folder to write")->required()->type_name("DIR");
  command->callback([options, &action] { action = [options] { return makeModel(*options); }; });
}

}  // namespace eyrie::app
