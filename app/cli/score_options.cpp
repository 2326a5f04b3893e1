#include "app/cli/score_options.h"

#include <fmt/format.h>

#include <filesystem>
#include <set>

#include "app/cli/checks.h"
#include "app/cli/command.h"
#include "engine/checkpoint/file_io.h"

namespace eyrie::app {

void ScoreOptions::addTo(CLI::App& command) {
  command.footer(
      "A text file is read piece by piece, in the same memory whatever its length. Held whole are\n"
      "standard input, a token file, and a text whose tokenizer knows no place to cut, at most 128 MiB\n"
      "each; with --logits or --state all tokens are, too.");
  model.addTo(command);
  input.addTextTo(command);
  const auto file = [&](const char* name, std::string& target, const char* help, const char* type) {
    command.add_option(name, target, help)->check(filled())->type_name(type);
  };
  file("--logits", logits, "Writes all logits, (T, V) f32", "OUT.npy");
  file("--state", state, "Writes the state after the last token", "OUT.safetensors");
  file("--per-token", perToken, "Writes one line a token", "OUT.jsonl");
  command.add_option("--chunk", chunk, "Tokens read at once [what the backend prefers]")
      ->check(wholeNumber(1, 1 << 30))
      ->type_name("N");
  command.add_option("--bucket", bucket, "Sums for every N positions [from each power of two to the next]")
      ->check(wholeNumber(1, 1 << 30))
      ->type_name("N");
  file("--checkpoint", checkpoint, "Keeps what there is so far there; the same command goes on from it",
       "FILE");
  command
      .add_option("--checkpoint-every", checkpointSeconds, "Seconds from one to the next [30]; 0: each chunk")
      ->check(wholeNumber(0, 1 << 20))
      ->type_name("S");
  file("--against", against, "A second model or dtype on the same tokens: its perplexity and KL(M || it)",
       "M2");
  command.add_option("--against-dtype", againstDtype, "As --dtype, for --against [auto]")
      ->check(knownDtype())
      ->type_name("TYPE");
  command.add_option("--against-intervene", againstIntervene, "As --intervene, for --against [nothing]")
      ->check(interventionSpec())
      ->type_name("SPEC");
  command.add_flag("--progress", progress, "Says on stderr how far it is [where that is a terminal]");
}

void ScoreOptions::check() const {
  input.check();
  std::set<std::filesystem::path> files;
  for (const std::string& name : {logits, state, perToken, checkpoint}) {
    if (name.empty() || files.insert(std::filesystem::absolute(name).lexically_normal()).second) continue;
    wrongUsage(fmt::format(
        "--logits, --state, --per-token, --checkpoint: expected different files, found {} twice", name));
  }
  if (!checkpoint.empty() && !logits.empty())
    wrongUsage("--logits cannot be continued: not with --checkpoint");
  if (!checkpoint.empty() && !against.empty())
    wrongUsage("--against cannot be continued: not with --checkpoint");
  if (against.empty() && againstDtype != "auto") wrongUsage("--against-dtype goes with --against");
  if (against.empty() && !againstIntervene.empty()) wrongUsage("--against-intervene goes with --against");
  for (const std::string& name : {state, checkpoint}) {
    if (!name.empty()) engine::outputTarget(name);
  }
}

}  // namespace eyrie::app
