// eyrie-cli: the engine without a window. Results on stdout, messages on stderr; DESIGN §8.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iostream>
#include <new>
#include <span>

#include "app/cli/command.h"
#include "app/cli/console.h"
#include "engine/checkpoint/strict_json.h"
#include "engine/error.h"

namespace {

using namespace eyrie;

// CLI11 says of an unknown command only that there should be one.
void checkCommand(const CLI::App& parser, std::span<char*> words) {
  const auto commands = parser.get_subcommands([](const CLI::App*) { return true; });
  if (commands.empty()) return;
  const std::string word = words.empty() ? std::string() : words.front();
  if (parser.get_option_no_throw(word) != nullptr) return;  // --help
  std::vector<std::string> names;
  for (const CLI::App* command : commands) {
    if (command->get_name() == word) return checkCommand(*command, words.subspan(1));
    names.push_back(command->get_name());
  }
  app::wrongUsage(fmt::format("expected {}, found {}", fmt::join(names, ", "),
                              words.empty() ? "nothing" : "'" + engine::printable(word) + "'"));
}

int refuse(const CLI::App& parser, const CLI::ParseError& error) {
  std::string command = parser.get_name();
  for (const CLI::App* at = &parser; !at->get_subcommands().empty();) {
    at = at->get_subcommands().front();
    command += " " + at->get_name();
  }
  app::complain(fmt::format("{}; {} --help says more", error.what(), command));
  return app::kWrongUsage;
}

// -1: nothing is settled yet, the command is to run.
int parse(CLI::App& parser, int argc, char** argv) {
  try {
    checkCommand(parser, std::span(argv, std::size_t(argc)).subspan(std::min(1, argc)));
    parser.parse(argc, argv);
    return -1;
  } catch (const CLI::Success& shown) {  // help and version
    parser.exit(shown);
    if (std::cout.flush()) return app::kDone;
    app::complain("writing to standard output failed");
    return app::kFailed;
  } catch (const CLI::ParseError& error) {
    return refuse(parser, error);
  }
}

int perform(const CLI::App& parser, const app::Action& action) {
  try {
    const int code = action();
    app::flushOutput();
    return code;
  } catch (const CLI::ParseError& error) {
    return refuse(parser, error);
  } catch (const engine::Error& error) {
    const bool cancelled = error.code() == engine::ErrorCode::cancelled;
    app::complain(cancelled ? "cancelled" : error.what());
    return cancelled ? app::kCancelled : app::kFailed;
  } catch (const std::bad_alloc&) {
    app::complain("out of memory");
  } catch (const std::exception& error) {
    app::complain(fmt::format("internal error: {}", error.what()));
  }
  return app::kFailed;
}

}  // namespace

// Only options described wrongly below can throw here, at every start.
int main(int argc, char** argv) {  // NOLINT(bugprone-exception-escape)
  CLI::App parser{"Eyrie on the command line: recurrent language models, their states and traces.",
                  "eyrie-cli"};
  parser.set_version_flag("--version", "eyrie-cli " EYRIE_VERSION);
  parser.require_subcommand(1);
  parser.get_formatter()->column_width(34);

  app::Action action;
  app::addGenerateCommand(parser, action);
  app::addScoreCommand(parser, action);
  app::addTraceCommand(parser, action);
  app::addDrawCommand(parser, action);
  app::addInspectCommand(parser, action);
  app::addMakeModelCommand(parser, action);
  app::addStateCommand(parser, action);
  app::addSessionCommand(parser, action);
  app::addDoctorCommand(parser, action);
  app::addBenchCommand(parser, action);

  const int parsed = parse(parser, argc, argv);
  return parsed >= 0 ? parsed : perform(parser, action);
}
