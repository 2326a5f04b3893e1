// eyrie-cli: the engine without a window. Results on stdout, messages on stderr; DESIGN §8.
#include <fmt/core.h>

#include <cstdio>
#include <new>

#include "app/cli/command.h"
#include "app/cli/console.h"
#include "engine/error.h"

namespace {

using namespace eyrie;

int parse(CLI::App& parser, int argc, char** argv) {
  try {
    parser.parse(argc, argv);
    return -1;
  } catch (const CLI::ParseError& error) {
    const int code = parser.exit(error);  // help and version go to stdout, complaints to stderr
    return code == 0 ? app::kDone : app::kWrongUsage;
  }
}

int perform(const app::Action& action) {
  try {
    const int code = action();
    app::flushOutput();
    return code;
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "eyrie-cli: {}\n", error.what());
    return app::kWrongUsage;
  } catch (const engine::Error& error) {
    if (error.code() == engine::ErrorCode::cancelled) {
      fmt::print(stderr, "eyrie-cli: cancelled\n");
      return app::kCancelled;
    }
    fmt::print(stderr, "eyrie-cli: {}\n", error.what());
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "eyrie-cli: out of memory\n");
  } catch (const std::exception& error) {
    fmt::print(stderr, "eyrie-cli: internal error: {}\n", error.what());
  }
  return app::kFailed;
}

}  // namespace

int main(int argc, char** argv) {
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
  app::addSessionCommand(parser, action);
  app::addDoctorCommand(parser, action);

  const int parsed = parse(parser, argc, argv);
  return parsed >= 0 ? parsed : perform(action);
}
