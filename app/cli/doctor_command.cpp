// eyrie-cli doctor: what this machine offers, and whether a backend computes what the reference computes.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>

#include "app/cli/checks.h"
#include "app/cli/command.h"
#include "app/cli/console.h"
#include "app/cli/doctor_card.h"
#include "app/cli/machine.h"
#include "app/cli/model_options.h"
#include "engine/verify/card_ops.h"
#include "engine/verify/goldens.h"
#include "engine/verify/intervention_checks.h"
#include "engine/verify/invariants.h"
#include "engine/verify/op_parity.h"
#include "engine/verify/serving_checks.h"
#include "kernels/cpu/instruction_set.h"

namespace eyrie::app {
namespace {

using engine::verify::CheckResult;

struct DoctorOptions {
  std::string backend = "auto";
  int threads = 0;
  std::string goldens;
  std::vector<std::string> only;
  bool verbose = false;

  bool wants(const std::string& part) const {
    return only.empty() || std::find(only.begin(), only.end(), part) != only.end();
  }
};

const std::vector<std::string>& doctorParts() {
  static const std::vector<std::string> parts{"ceilings",      "ops",     "invariants", "serving",
                                              "interventions", "goldens", "times"};
  return parts;
}

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

void printMachine() {
  const Machine machine = thisMachine();
  print(fmt::format("eyrie-cli {}\n", EYRIE_VERSION));
  print(fmt::format("system: {}\n", machine.system));
  print(fmt::format("cpu: {}, {} cores, {}\n", machine.processor, machine.cores,
                    kernels::cpu::instructionSets().front()));
  print(fmt::format("memory: {:.1f} GiB, {:.1f} GiB free\n", double(machine.memoryBytes) / kGiB,
                    double(machine.freeBytes) / kGiB));
}

// One line a group, and one for each check that failed. Returns whether all passed.
bool runChecks(const DoctorOptions& options, const std::string& group,
               const std::function<std::vector<CheckResult>()>& checks) {
  const auto start = std::chrono::steady_clock::now();
  const std::vector<CheckResult> results = checks();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto passed = std::count_if(results.begin(), results.end(), [](const auto& r) { return r.passed; });
  for (const CheckResult& result : results) {
    if (options.verbose || !result.passed) print("  " + engine::verify::describeCheck(result) + "\n");
  }
  print(fmt::format("{}: {} of {} passed ({:.1f} s)\n", group, passed, results.size(), seconds));
  flushOutput();
  return passed == static_cast<std::ptrdiff_t>(results.size());
}

int doctor(const DoctorOptions& options) {
  printMachine();
  const bool hasDevice = printDevices();
  const engine::BackendKind backend = backendKind(options.backend);
  const bool onCard =
      backend == engine::BackendKind::cuda || (backend == engine::BackendKind::automatic && hasDevice);
  if (onCard && !hasDevice) return kFailed;
  if (onCard && options.wants("ceilings")) printCardCeilings();
  bool sound = true;
  const auto run = [&](const char* part, const char* group, const auto& checks) {
    if (options.wants(part)) sound &= runChecks(options, group, checks);
  };
  if (backend != engine::BackendKind::reference) {
    run("ops", "ops against the reference", [&] {
      return onCard ? engine::verify::checkCardOps() : engine::verify::checkOpParity(options.threads);
    });
  }
  run("invariants", "invariants", [&] { return engine::verify::checkInvariants(backend, options.threads); });
  run("serving", "predictions, batches, quantised weights",
      [&] { return engine::verify::checkServing(backend, options.threads); });
  run("interventions", "interventions",
      [&] { return engine::verify::checkInterventions(backend, options.threads); });
  if (!options.goldens.empty()) {
    run("goldens", "reference outputs",
        [&] { return engine::verify::checkGoldens(options.goldens, backend, options.threads); });
  }
  if (onCard && options.wants("times")) printCardTimes();
  print(sound ? "sound\n" : "NOT SOUND\n");
  return sound ? kDone : kFailed;
}

}  // namespace

void addDoctorCommand(CLI::App& parser, Action& action) {
  auto options = std::make_shared<DoctorOptions>();
  CLI::App* command =
      parser.add_subcommand("doctor", "What this machine offers, and whether it computes right");
  command->add_option("--backend", options->backend, "auto, cpu, reference or cuda [auto]")
      ->check(CLI::IsMember({"auto", "cpu", "reference", "cuda"}))
      ->type_name("NAME");
  command->add_option("--threads", options->threads, "1 to 1024 [all cores]")
      ->check(wholeNumber(1, 1024))
      ->type_name("N");
  command->add_option("--goldens", options->goldens, "Folder of reference outputs to check as well")
      ->check(filled())
      ->type_name("DIR");
  command->add_option("--only", options->only, "These parts [all]; ceilings and times are a card's")
      ->check(CLI::IsMember(doctorParts()))
      ->delimiter(',')
      ->type_name("PART,...");
  command->add_flag("--verbose", options->verbose, "Every check, not only those that failed");
  command->callback([options, &action] { action = [options] { return doctor(*options); }; });
}

}  // namespace eyrie::app
