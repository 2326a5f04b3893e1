// eyrie-cli draw: a picture of a trace file.
#include "app/cli/command.h"
#include "engine/error.h"

namespace eyrie::app {
namespace {

struct DrawOptions {
  std::string trace;
  std::string view;
  std::string out;
};

int draw(const DrawOptions&) {
  throw engine::Error(engine::ErrorCode::unsupported, "draw: this build has no window, and so no pictures");
}

}  // namespace

void addDrawCommand(CLI::App& parser, Action& action) {
  auto options = std::make_shared<DrawOptions>();
  CLI::App* command = parser.add_subcommand("draw", "Draws a trace file");
  command->add_option("trace", options->trace, "A trace: .npz or .safetensors")
      ->required()
      ->type_name("TRACE");
  command->add_option("--view", options->view, "gates, attention or norms")
      ->required()
      ->check(CLI::IsMember({"gates", "attention", "norms"}))
      ->type_name("VIEW");
  command->add_option("--out", options->out, "F.png or F.svg")->required()->type_name("F");
  command->callback([options, &action] { action = [options] { return draw(*options); }; });
}

}  // namespace eyrie::app
