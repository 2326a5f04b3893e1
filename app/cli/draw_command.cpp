// eyrie-cli draw: a picture of a trace file.
#include <filesystem>

#include "app/cli/checks.h"
#include "app/cli/command.h"
#include "app/cli/console.h"
#include "app/cli/trace_picture.h"

namespace eyrie::app {
namespace {

int draw(const PictureOptions& options) {
  const auto ending = std::filesystem::path(options.out).extension();
  if (ending != ".png" && ending != ".svg") wrongUsage("--out: expected a name ending in .png or .svg");
  drawTrace(options);
  printLine({{"file", options.out}, {"view", options.view}});
  return kDone;
}

}  // namespace

void addDrawCommand(CLI::App& parser, Action& action) {
  auto options = std::make_shared<PictureOptions>();
  CLI::App* command = parser.add_subcommand("draw", "Draws a trace file");
  command->add_option("trace", options->trace, "A trace: .npz or .safetensors")
      ->required()
      ->check(filled())
      ->type_name("TRACE");
  command->add_option("--view", options->view, "gates, attention, norms; also time, horizon, share")
      ->required()
      ->check(CLI::IsMember({"gates", "attention", "norms", "time", "horizon", "share"}))
      ->type_name("VIEW");
  command->add_option("--out", options->out, "F.png or F.svg")->required()->type_name("F");
  command->add_option("--token", options->token, "Token shown [the last]")
      ->check(wholeNumber(0, INT32_MAX))
      ->type_name("N");
  command->add_option("--layer", options->layer, "Layer shown [the first]")
      ->check(wholeNumber(0, INT32_MAX))
      ->type_name("N");
  command->add_option("--width", options->width, "Logical pixels, 320 to 8000 [1000]")
      ->check(wholeNumber(320, 8000))
      ->type_name("N");
  command->add_option("--height", options->height, "Logical pixels, 240 to 8000 [what the view needs]")
      ->check(wholeNumber(240, 8000))
      ->type_name("N");
  command->add_flag("--dark", options->dark, "On a dark ground");
  command->callback([options, &action] { action = [options] { return draw(*options); }; });
}

}  // namespace eyrie::app
