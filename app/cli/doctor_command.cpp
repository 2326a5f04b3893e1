// eyrie-cli doctor: what this machine offers, and whether a backend computes what the reference computes.
#include <fmt/format.h>

#include "app/cli/command.h"
#include "app/cli/console.h"
#include "app/cli/machine.h"
#include "app/cli/model_options.h"

namespace eyrie::app {
namespace {

struct DoctorOptions {
  std::string backend = "auto";
};

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

void printMachine() {
  const Machine machine = thisMachine();
  print(fmt::format("eyrie-cli {}\n", EYRIE_VERSION));
  print(fmt::format("system: {}\n", machine.system));
  print(fmt::format("cpu: {}, {} cores\n", machine.processor, machine.cores));
  print(fmt::format("memory: {:.1f} GiB, {:.1f} GiB free\n", double(machine.memoryBytes) / kGiB,
                    double(machine.freeBytes) / kGiB));
}

int doctor(const DoctorOptions&) {
  printMachine();
  return kDone;
}

}  // namespace

void addDoctorCommand(CLI::App& parser, Action& action) {
  auto options = std::make_shared<DoctorOptions>();
  CLI::App* command =
      parser.add_subcommand("doctor", "What this machine offers, and whether it computes right");
  command->add_option("--backend", options->backend, "auto, cpu, reference or cuda [auto]")
      ->check(CLI::IsMember({"auto", "cpu", "reference", "cuda"}))
      ->type_name("NAME");
  command->callback([options, &action] { action = [options] { return doctor(*options); }; });
}

}  // namespace eyrie::app
