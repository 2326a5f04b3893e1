// eyrie-cli make-model: random weights of a known size in Hugging Face layout, for benchmarks and tests.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "app/cli/checks.h"
#include "app/cli/command.h"
#include "app/cli/console.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/make_model.h"

namespace eyrie::app {
namespace {

struct MakeModelCommandOptions {
  std::string preset;
  std::string dtype = "bf16";
  std::uint64_t seed = 0;
  std::string out;
};

kernels::DType dtypeOf(const std::string& name) {
  if (name == "f32") return kernels::DType::f32;
  return name == "f16" ? kernels::DType::f16 : kernels::DType::bf16;
}

int makeModel(const MakeModelCommandOptions& options) {
  Interrupt interrupt;
  engine::MakeModelOptions make;
  make.seed = options.seed;
  make.dtype = dtypeOf(options.dtype);
  make.stop = interrupt.token();
  engine::makeModel(engine::presetConfig(options.preset), options.out, make);
  const engine::ModelSummary summary = engine::summarise(*engine::Checkpoint::open(options.out));
  printLine({{"preset", options.preset},
             {"folder", options.out},
             {"parameters", summary.parameters},
             {"dtype", options.dtype},
             {"bytes", summary.weightBytes},
             {"seed", options.seed}});
  return kDone;
}

}  // namespace

void addMakeModelCommand(CLI::App& parser, Action& action) {
  auto options = std::make_shared<MakeModelCommandOptions>();
  CLI::App* command = parser.add_subcommand("make-model", "Writes a model of random weights");
  command
      ->add_option("--preset", options->preset,
                   fmt::format("Size: {}", fmt::join(engine::modelPresets(), ", ")))
      ->required()
      ->check(presetName())
      ->type_name("NAME");
  command->add_option("--seed", options->seed, "Seed of the weights [0]")
      ->check(wholeNumber(0, UINT64_MAX))
      ->type_name("S");
  command->add_option("--dtype", options->dtype, "f32, f16 or bf16 [bf16]")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}))
      ->type_name("TYPE");
  command->add_option("--out", options->out, "Folder to write; new or empty")
      ->required()
      ->check(filled())
      ->type_name("DIR");
  command->callback([options, &action] { action = [options] { return makeModel(*options); }; });
}

}  // namespace eyrie::app
