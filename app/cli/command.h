// One command of eyrie-cli: it adds its options to the parser and, when chosen, runs.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

namespace eyrie::app {

// Exit codes of eyrie-cli.
inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kWrongUsage = 2;
inline constexpr int kCancelled = 130;  // Ctrl-C, with what there was until then

// What the parsed command line asks for; runs after parsing, may throw engine::Error.
using Action = std::function<int()>;

// Wrong options that only show beyond the parser: one line on stderr, exit code 2.
[[noreturn]] void wrongUsage(const std::string& message);

// Each registers a subcommand; choosing it sets `action`.
void addGenerateCommand(CLI::App& parser, Action& action);
void addScoreCommand(CLI::App& parser, Action& action);
void addTraceCommand(CLI::App& parser, Action& action);
void addDrawCommand(CLI::App& parser, Action& action);
void addInspectCommand(CLI::App& parser, Action& action);
void addMakeModelCommand(CLI::App& parser, Action& action);
void addStateCommand(CLI::App& parser, Action& action);
void addSessionCommand(CLI::App& parser, Action& action);
void addDoctorCommand(CLI::App& parser, Action& action);
void addBenchCommand(CLI::App& parser, Action& action);

}  // namespace eyrie::app
