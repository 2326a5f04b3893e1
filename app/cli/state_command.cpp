// eyrie-cli state: states as files. Saves one after a prompt, shows, compares, mixes and transplants.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "app/cli/checks.h"
#include "app/cli/command.h"
#include "app/cli/console.h"
#include "app/cli/model_options.h"
#include "engine/checkpoint/file_io.h"
#include "engine/error.h"
#include "engine/state_algebra.h"

namespace eyrie::app {
namespace {

using engine::BlockKind;
using engine::SavedState;

struct StateOptions {
  ModelOptions model;
  InputOptions input;
  std::string first;   // or the one that is changed
  std::string second;  // or the one that is taken from
  std::string out;
  double at = 0;
  std::vector<std::int64_t> layers;
  std::int64_t blocks = 16;
  bool json = false;
};

double norm(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(sum);
}

void writeAndSay(const std::string& file, const SavedState& saved) {
  engine::writeStateFile(file, saved);
  printLine({{"file", file},
             {"model", saved.model},
             {"position", saved.state.position},
             {"tokens", saved.tokens.size()},
             {"bytes", saved.state.bytes()}});
}

// All but the last token: that one gives the first prediction when somebody goes on from here.
int save(const StateOptions& options) {
  options.input.check();
  engine::outputTarget(options.out);
  Interrupt interrupt;
  const LoadedModel loaded = loadModel(options.model, interrupt.token());
  std::vector<std::int32_t> tokens = options.input.read(loaded.info).tokens;
  engine::SequenceState state = loaded.newState();
  loaded.model->prefill(state, std::span(tokens).first(tokens.size() - 1), engine::LogitRows::none, nullptr,
                        nullptr, interrupt.token());
  if (interrupt.requested()) {
    complain("cancelled; no file was written");
    return kCancelled;
  }
  writeAndSay(options.out, savedState(loaded, std::move(tokens), state.download()));
  return kDone;
}

Json layerJson(const SavedState& saved, std::size_t i) {
  const engine::LayerState& layer = saved.state.layers[i];
  const BlockKind kind = saved.config.blocks[i];
  if (kind == BlockKind::recurrent) {
    return {
        {"kind", nameOf(kind)}, {"h_norm", number(norm(layer.h))}, {"tail_norm", number(norm(layer.tail))}};
  }
  return {{"kind", nameOf(kind)},
          {"keys", static_cast<std::int64_t>(layer.keys.size()) / (saved.config.kvHeads * saved.config.Dh)},
          {"keys_norm", number(norm(layer.keys))},
          {"values_norm", number(norm(layer.values))}};
}

void printSummary(const SavedState& saved) {
  const auto row = [](std::string_view name, const std::string& value) {
    print(fmt::format("{:<14}{}\n", name, plain(value)));
  };
  row("model", saved.model);
  row("fingerprint", saved.fingerprint);
  row("made by", saved.origin);
  row("interventions",
      saved.interventions.empty() ? "none" : engine::printInterventions(saved.interventions));
  row("position",
      fmt::format("{} ({} tokens, {})", saved.state.position, saved.tokens.size(),
                  std::int64_t(saved.tokens.size()) > saved.state.position ? "the last still to be read"
                                                                           : "all read"));
  row("bytes", std::to_string(saved.state.bytes()));
  row("text", Json(saved.text).dump(-1, ' ', false, Json::error_handler_t::replace));
  print("\n");
  for (std::size_t i = 0; i < saved.state.layers.size(); ++i) {
    const engine::LayerState& layer = saved.state.layers[i];
    if (saved.config.blocks[i] == BlockKind::recurrent) {
      print(fmt::format("layer {:<4}recurrent         |h| {:<12.5g} |tail| {:.5g}\n", i, norm(layer.h),
                        norm(layer.tail)));
    } else {
      print(fmt::format("layer {:<4}{:<18}|k| {:<12.5g} |v| {:.5g}\n", i, nameOf(saved.config.blocks[i]),
                        norm(layer.keys), norm(layer.values)));
    }
  }
}

int show(const StateOptions& options) {
  const SavedState saved = engine::readStateFile(options.first);
  if (!options.json) {
    printSummary(saved);
    return kDone;
  }
  Json layers = Json::array();
  for (std::size_t i = 0; i < saved.state.layers.size(); ++i) layers.push_back(layerJson(saved, i));
  printLine({{"file", options.first},
             {"model", saved.model},
             {"fingerprint", saved.fingerprint},
             {"origin", saved.origin},
             {"interventions", interventionsJson(saved.interventions)},
             {"position", saved.state.position},
             {"tokens", saved.tokens},
             {"text", saved.text},
             {"bytes", saved.state.bytes()},
             {"layers", std::move(layers)}});
  return kDone;
}

struct Two {
  SavedState a;
  SavedState b;
};

enum class Weights : std::uint8_t { same, anyType };

Two readTwo(const StateOptions& options, Weights weights) {
  Two two{engine::readStateFile(options.first), engine::readStateFile(options.second)};
  const bool known =
      weights == Weights::anyType && engine::ofOneCheckpoint(two.a.fingerprint, two.b.fingerprint);
  engine::checkStateOf(two.b, options.second, two.a.config, (known ? two.b : two.a).fingerprint, two.a.model);
  return two;
}

Json differenceJson(const engine::ArrayDifference& figures) {
  return {{"difference", number(figures.difference)},
          {"norm_a", number(figures.normA)},
          {"norm_b", number(figures.normB)},
          {"relative", number(figures.relative)},
          {"cosine", number(figures.cosine)}};
}

Json differenceJson(const engine::LayerDifference& layer, BlockKind kind) {
  if (kind != BlockKind::recurrent) {
    return {{"kind", nameOf(kind)},
            {"shared_keys", layer.sharedKeys},
            {"keys", differenceJson(layer.keys)},
            {"values", differenceJson(layer.values)}};
  }
  Json blocks = Json::array();
  for (const engine::ArrayDifference& block : layer.blocks) blocks.push_back(differenceJson(block));
  return {{"kind", nameOf(kind)},
          {"h", differenceJson(layer.h)},
          {"tail", differenceJson(layer.tail)},
          {"h_blocks", std::move(blocks)}};
}

std::string figuresText(const char* name, const engine::ArrayDifference& figures) {
  return fmt::format("  {:<7}{:>9.3f} % {:>9.4f}", name, 100 * figures.relative, figures.cosine);
}

int diff(const StateOptions& options) {
  const Two two = readTwo(options, Weights::anyType);
  const auto layers = engine::difference(two.a.state, two.b.state, two.a.config, options.blocks);
  if (!options.json) {
    if (two.a.fingerprint != two.b.fingerprint)
      print(fmt::format("one model in two types: {} and {}\n", plain(two.a.fingerprint),
                        plain(two.b.fingerprint)));
    print("difference as a share of the second's norm, and cosine\n");
  }
  Json rows = Json::array();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const BlockKind kind = two.a.config.blocks[i];
    if (options.json) {
      rows.push_back(differenceJson(layers[i], kind));
    } else if (kind == BlockKind::recurrent) {
      print(fmt::format("layer {:<4}{:<18}{}{}\n", i, nameOf(kind), figuresText("h", layers[i].h),
                        figuresText("tail", layers[i].tail)));
    } else {
      print(fmt::format("layer {:<4}{:<18}{}{}  {} keys in common\n", i, nameOf(kind),
                        figuresText("keys", layers[i].keys), figuresText("values", layers[i].values),
                        layers[i].sharedKeys));
    }
  }
  if (!options.json) return kDone;
  const auto side = [](const std::string& file, const SavedState& saved) {
    return Json{{"file", file}, {"position", saved.state.position}, {"fingerprint", saved.fingerprint}};
  };
  printLine({{"a", side(options.first, two.a)},
             {"b", side(options.second, two.b)},
             {"model", two.a.model},
             {"layers", std::move(rows)}});
  return kDone;
}

engine::Interventions rulesOfBoth(const Two& two) {
  engine::Interventions rules = two.a.interventions;
  for (const engine::Intervention& rule : two.b.interventions) {
    if (std::find(rules.begin(), rules.end(), rule) == rules.end()) rules.push_back(rule);
  }
  return rules;
}

// At the ends a mixture is one of the two.
engine::Interventions rulesAt(double t, const Two& two) {
  if (t == 0) return two.a.interventions;
  if (t == 1) return two.b.interventions;
  return rulesOfBoth(two);
}

int interpolate(const StateOptions& options) {
  engine::outputTarget(options.out);
  Two two = readTwo(options, Weights::same);
  engine::HostState state = engine::interpolate(two.a.state, two.b.state, options.at, two.a.config);
  // Whoever goes on needs the tokens of the place where the mixture stands; b alone has its own.
  const bool ofA = state.position == two.a.state.position && options.at != 1;
  SavedState& mixed = ofA ? two.a : two.b;
  mixed.state = std::move(state);
  mixed.interventions = rulesAt(options.at, two);
  mixed.origin = fmt::format("interpolate {} {} at {}", options.first, options.second, options.at);
  writeAndSay(options.out, mixed);
  return kDone;
}

int transplant(const StateOptions& options) {
  engine::outputTarget(options.out);
  Two two = readTwo(options, Weights::same);
  two.a.state = engine::transplant(std::move(two.a.state), two.b.state, options.layers, two.a.config);
  two.a.interventions = rulesOfBoth(two);
  two.a.origin = fmt::format("transplant layers {} of {} into {}", fmt::join(options.layers, ","),
                             options.second, options.first);
  writeAndSay(options.out, two.a);
  return kDone;
}

}  // namespace

void addStateCommand(CLI::App& parser, Action& action) {
  auto options = std::make_shared<StateOptions>();
  CLI::App* command = parser.add_subcommand("state", "Saves, shows, compares, mixes and transplants states");
  command->require_subcommand(1);
  const auto add = [&](const char* name, const char* text, int (*run)(const StateOptions&)) {
    CLI::App* sub = command->add_subcommand(name, text);
    sub->callback([options, run, &action] { action = [options, run] { return run(*options); }; });
    return sub;
  };
  const auto addFile = [&](CLI::App* sub, const char* name, std::string& file, const char* text) {
    sub->add_option(name, file, text)->required()->check(filled())->type_name("F.safetensors");
  };
  const auto addJson = [&](CLI::App* sub) { sub->add_flag("--json", options->json, "One JSON object"); };

  CLI::App* saving = add("save", "The state after a prompt, for generate --state", save);
  options->model.addTo(*saving);
  options->input.addPromptTo(*saving);
  addFile(saving, "--out", options->out, "The file");
  CLI::App* showing = add("show", "What a state is of, and the norms of its layers", show);
  addFile(showing, "file", options->first, "The state");
  addJson(showing);
  CLI::App* comparing =
      add("diff", "How far two states of a model are apart, layer by layer; its weights may be of two types",
          diff);
  addFile(comparing, "a", options->first, "A state");
  addFile(comparing, "b", options->second, "Another");
  comparing->add_option("--blocks", options->blocks, "Runs of channels compared for themselves, in JSON [16]")
      ->check(wholeNumber(1, 1U << 20U))
      ->type_name("N");
  addJson(comparing);
  CLI::App* mixing = add("interpolate", "(1 - T) times one state plus T times another", interpolate);
  addFile(mixing, "a", options->first,
          "The state at T = 0; its tokens stay where both stand at one position and T is not 1");
  addFile(mixing, "b", options->second, "The state at T = 1");
  mixing->add_option("--at", options->at, "T; 0 to 1 lies between them")
      ->required()
      ->check(realNumber())
      ->type_name("T");
  addFile(mixing, "--out", options->out, "The file");
  CLI::App* moving = add("transplant", "A state with some layers of another", transplant);
  addFile(moving, "--into", options->first, "The state that receives, whose tokens are kept");
  addFile(moving, "--from", options->second, "The state that gives");
  moving->add_option("--layer", options->layers, "Layers to take, from 0: 3,5")
      ->required()
      ->check(wholeNumber(0, INT32_MAX))
      ->delimiter(',')
      ->type_name("N,...");
  addFile(moving, "--out", options->out, "The file");
}

}  // namespace eyrie::app
