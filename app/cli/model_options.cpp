#include "app/cli/model_options.h"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>
#include <system_error>

#include "app/cli/checks.h"
#include "app/cli/command.h"
#include "engine/checkpoint/strict_json.h"
#include "engine/error.h"
#include "engine/model_locator.h"

namespace eyrie::app {

using engine::Error;
using engine::ErrorCode;

namespace {

// Longest prompt or token file read, a pipe's or a device's too: finding its tokens takes eighty times as
// much memory.
constexpr std::size_t kMaxInputBytes = 128U << 20U;

std::string readAll(std::istream& stream, const std::string& name) {
  std::string text;
  std::string part(1U << 16U, '\0');
  while (stream) {
    stream.read(part.data(), static_cast<std::streamsize>(part.size()));
    text.append(part, 0, static_cast<std::size_t>(stream.gcount()));
    if (text.size() > kMaxInputBytes) {
      throw Error(ErrorCode::badFile,
                  fmt::format("{}: expected at most {} MiB, found more", name, kMaxInputBytes >> 20U));
    }
  }
  if (stream.bad()) throw Error(ErrorCode::ioFailed, fmt::format("{}: reading failed", name));
  return text;
}

const std::string& standardInput() {
  static const std::string text = readAll(std::cin, "standard input");
  return text;
}

std::unique_ptr<std::istream> openInput(const std::string& file) {
  std::error_code status;
  if (std::filesystem::is_directory(file, status)) {
    throw Error(ErrorCode::badFile, fmt::format("{}: expected a file, found a folder", file));
  }
  auto stream = std::make_unique<std::ifstream>(file, std::ios::binary);
  if (*stream) return stream;
  const int reason = errno;
  throw Error(reason == ENOENT ? ErrorCode::notFound : ErrorCode::ioFailed,
              fmt::format("{}: cannot be opened: {}", file, std::generic_category().message(reason)));
}

std::string readInput(const std::string& file) {
  return file == "-" ? standardInput() : readAll(*openInput(file), file);
}

std::vector<std::int32_t> parseTokenList(const std::string& text) {
  std::vector<std::int32_t> tokens;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    while (at != end && *at == ' ') ++at;
    std::int32_t token = 0;
    const auto [next, status] = std::from_chars(at, end, token);
    if (status != std::errc{}) {
      wrongUsage(fmt::format("--tokens: expected whole numbers with commas between, found '{}'", text));
    }
    tokens.push_back(token);
    at = next;
    while (at != end && *at == ' ') ++at;
    if (at == end) break;
    if (*at != ',' || at + 1 == end) {
      wrongUsage(fmt::format("--tokens: expected whole numbers with commas between, found '{}'", text));
    }
    ++at;
  }
  if (tokens.empty()) wrongUsage("--tokens: expected at least one token");
  return tokens;
}

std::vector<std::int32_t> parseTokenFile(const std::string& file) {
  const auto json = engine::parseStrictJson(readInput(file), file, {.depth = 2, .values = kMaxInputBytes});
  if (!json.is_array()) {
    throw Error(ErrorCode::badFile, fmt::format("{}: expected a JSON array of token ids, found {}", file,
                                                engine::jsonExcerpt(json)));
  }
  std::vector<std::int32_t> tokens;
  tokens.reserve(json.size());
  for (const auto& item : json) {
    const bool whole = item.is_number_integer();
    const auto value = whole ? item.get<std::int64_t>() : -1;
    if (!whole || value < 0 || value > INT32_MAX) {
      throw Error(ErrorCode::badFile, fmt::format("{}: entry {}: expected a token id, found {}", file,
                                                  tokens.size(), engine::jsonExcerpt(item)));
    }
    tokens.push_back(static_cast<std::int32_t>(value));
  }
  if (tokens.empty()) throw Error(ErrorCode::badFile, fmt::format("{}: expected at least one token", file));
  return tokens;
}

void checkVocabulary(const std::vector<std::int32_t>& tokens, const engine::ModelInfo& info) {
  const auto V = info.summary.config.V;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= V) {
      throw Error(ErrorCode::badArgument, fmt::format("token {} at place {}: {} has the tokens 0 to {}",
                                                      tokens[i], i, info.name, V - 1));
    }
  }
}

}  // namespace

engine::SequenceState LoadedModel::newState() const {
  engine::SequenceState state = model->newState();
  state.intervene(interventions);
  return state;
}

engine::SequenceState LoadedModel::restoreState(const engine::HostState& saved) const {
  engine::SequenceState state = model->restoreState(saved);
  state.intervene(interventions);
  return state;
}

void ModelOptions::addTo(CLI::App& command) {
  command.add_option("--model", model, "Folder, Hugging Face cache name, or built-in: griffin, hawk, mqa")
      ->required()
      ->check(filled())
      ->type_name("M");
  command
      .add_option("--preset", preset,
                  "What tensors with DeepMind's names do not tell (window, soft cap, embedding scale): a "
                  "name that make-model knows [config.json]")
      ->check(presetName())
      ->type_name("NAME");
  command.add_option("--backend", backend, "auto, cpu, reference or cuda [auto]")
      ->check(CLI::IsMember({"auto", "cpu", "reference", "cuda"}))
      ->type_name("NAME");
  command.add_option("--threads", threads, "1 to 1024 [all cores]")
      ->check(wholeNumber(1, 1024))
      ->type_name("N");
  command.add_option("--dtype", dtype, "Weights as auto, f32, bf16, f16, int8 or int4 [auto: as stored]")
      ->check(knownDtype())
      ->type_name("TYPE");
  command.add_option("--intervene", intervene, "What to change: 'layer 3 state *= 0.5; layer 5 head 2 off'")
      ->check(interventionSpec())
      ->type_name("SPEC");
}

CLI::Validator knownDtype() {
  return CLI::IsMember({"auto", "f32", "bf16", "f16", "int8", "int4"});
}

// What any model would refuse; what only this model does shows when it is known.
CLI::Validator interventionSpec() {
  const auto check = [](std::string& text) -> std::string {
    try {
      engine::parseInterventions(text);
      return {};
    } catch (const Error& error) {
      return error.what();
    }
  };
  return {check, ""};
}

engine::BackendKind backendKind(const std::string& name) {
  if (name == "cpu") return engine::BackendKind::cpu;
  if (name == "reference") return engine::BackendKind::reference;
  if (name == "cuda") return engine::BackendKind::cuda;
  return engine::BackendKind::automatic;
}

engine::ModelInfo openModel(const ModelOptions& options,
                            std::shared_ptr<const engine::Checkpoint>& checkpoint) {
  const auto location = engine::locateModel(options.model);
  checkpoint = engine::Checkpoint::open(location.folder, options.preset);
  engine::ModelInfo info;
  info.name = location.name;
  info.folder = location.folder;
  info.summary = engine::summarise(*checkpoint, engine::conversionNamed(options.dtype));
  info.fingerprint = checkpoint->fingerprint();
  info.tokenizer = engine::Tokenizer::loadFor(location.folder, info.summary.config.V);
  if (info.tokenizer) info.chat = engine::chatFormatOf(info.summary.config, *info.tokenizer, location.folder);
  return info;
}

std::shared_ptr<const engine::InterventionPlan> readInterventions(const ModelOptions& options,
                                                                  const engine::ModelConfig& config) {
  auto plan = engine::planInterventions(engine::parseInterventions(options.intervene), config);
  for (const engine::Intervention& rule : engine::rulesOf(plan)) {
    note(fmt::format("[intervention: {}]", engine::printIntervention(rule)));
  }
  return plan;
}

Json interventionsJson(const engine::Interventions& rules) {
  Json lines = Json::array();
  for (const auto& rule : rules) lines.push_back(engine::printIntervention(rule));
  return lines;
}

Json interventionsJson(const std::shared_ptr<const engine::InterventionPlan>& plan) {
  return interventionsJson(engine::rulesOf(plan));
}

LoadedModel loadModel(const ModelOptions& options, std::stop_token stop, const engine::CpuOps* ops) {
  std::shared_ptr<const engine::Checkpoint> checkpoint;
  LoadedModel loaded;
  loaded.info = openModel(options, checkpoint);
  loaded.interventions = readInterventions(options, checkpoint->config());
  engine::LoadOptions load;
  load.backend = backendKind(options.backend);
  load.threads = options.threads;
  load.stop = std::move(stop);
  load.ops = ops;
  load.weights = engine::conversionNamed(options.dtype);
  load.cacheFolder = engine::cacheFolder();
  loaded.model = engine::Model::load(std::move(checkpoint), load);
  loaded.info.backend = loaded.model->backendName();
  loaded.info.fingerprint = loaded.model->fingerprint();
  return loaded;
}

std::unique_ptr<engine::TokenStream> InputOptions::stream(const engine::ModelInfo& info) const {
  if (!isText() || info.tokenizer == nullptr) return std::make_unique<engine::ListStream>(read(info).tokens);
  std::unique_ptr<std::istream> words;
  if (textFile == "-")
    words = std::make_unique<std::istringstream>(standardInput());
  else
    words = openInput(textFile);
  return std::make_unique<engine::TextStream>(std::move(words), textFile, info.tokenizer, info.chat.bos);
}

engine::SavedState savedState(const LoadedModel& loaded, std::vector<std::int32_t> tokens,
                              engine::HostState state) {
  engine::SavedState saved;
  saved.model = loaded.info.name;
  saved.fingerprint = loaded.info.fingerprint;
  saved.origin = "read";
  if (loaded.info.tokenizer) saved.text = loaded.info.tokenizer->decode(tokens);
  saved.interventions = engine::rulesOf(loaded.interventions);
  saved.tokens = std::move(tokens);
  saved.config = loaded.model->config();
  saved.state = std::move(state);
  return saved;
}

void InputOptions::addTokensTo(CLI::App& command) {
  tokensOption_ =
      command.add_option("--tokens", tokens, "Token ids, used as they are: 2,17,…")->type_name("IDS");
  tokensFileOption_ =
      command.add_option("--tokens-file", tokensFile, "JSON array of token ids, at most 128 MiB; - is stdin")
          ->check(filled())
          ->type_name("F.json");
}

void InputOptions::addPromptTo(CLI::App& command) {
  textOption_ = command.add_option("--prompt", text, "Text to read")->type_name("TEXT");
  textFileOption_ =
      command.add_option("--prompt-file", textFile, "File with the text, at most 128 MiB; - is stdin")
          ->check(filled())
          ->type_name("F");
  addTokensTo(command);
  command.add_flag("--chat", chat, "The text is a user's turn, the model's turn follows");
}

void InputOptions::addTextTo(CLI::App& command) {
  textFileOption_ = command
                        .add_option("--text-file", textFile,
                                    "File with the text, of any length; - is stdin, at most 128 MiB")
                        ->check(filled())
                        ->type_name("F");
  addTokensTo(command);
}

std::vector<const CLI::Option*> InputOptions::sources() const {
  std::vector<const CLI::Option*> sources;
  for (const CLI::Option* option : {textOption_, textFileOption_, tokensOption_, tokensFileOption_}) {
    if (option != nullptr) sources.push_back(option);
  }
  return sources;
}

bool InputOptions::given() const {
  const auto options = sources();
  return std::any_of(options.begin(), options.end(), [](const auto* option) { return option->count() > 0; });
}

void InputOptions::check() const {
  std::size_t given = 0;
  std::string names;
  for (const CLI::Option* option : sources()) {
    given += option->count() > 0 ? 1 : 0;
    names += (names.empty() ? "" : ", ") + option->get_name();
  }
  if (given != 1) wrongUsage(fmt::format("expected one of {}, found {}", names, given));
  if (chat && !isText()) wrongUsage("--chat goes with text, not with a token list");
  if (tokensOption_->count() > 0) parseTokenList(tokens);  // wrong usage before a model is loaded
  // Read while Ctrl-C still ends the program at once: nothing is begun yet that could be left half done.
  if (textFile == "-" || tokensFile == "-") standardInput();
}

std::string InputOptions::readText() const {
  return textOption_ != nullptr && textOption_->count() > 0 ? text : readInput(textFile);
}

Input InputOptions::read(const engine::ModelInfo& info, bool goesOn) const {
  Input input;
  if (!isText()) {
    input.tokens = tokensOption_->count() > 0 ? parseTokenList(tokens) : parseTokenFile(tokensFile);
  } else if (info.tokenizer == nullptr) {
    throw Error(ErrorCode::notFound, fmt::format("{}: no tokenizer.model or tokenizer.json, so text cannot "
                                                 "be read; give --tokens or --tokens-file",
                                                 info.name));
  } else {
    const std::string words = readText();
    input.textBytes = words.size();
    if (goesOn) {
      input.tokens = info.tokenizer->encode(words);
    } else {
      const engine::ChatMessage message{chat ? engine::Role::user : engine::Role::text, words};
      input.tokens = engine::renderChat(info.chat, *info.tokenizer, {message}, chat);
    }
  }
  checkVocabulary(input.tokens, info);
  return input;
}

void WritingOptions::addTo(CLI::App& command) {
  command.add_option("--max-tokens", maxTokens, "Tokens to write at most [128]; 0 reads only")
      ->check(wholeNumber(0, 1 << 30))
      ->type_name("N");
  command.add_option("--temperature", sampling.temperature, "0 is greedy [0.8]")
      ->check(realNumber())
      ->type_name("T");
  command.add_option("--top-k", sampling.topK, "Only the K likeliest [0: off]")
      ->check(wholeNumber(0, INT32_MAX))
      ->type_name("K");
  command.add_option("--top-p", sampling.topP, "Only the likeliest that make up P [0.95]")
      ->check(realNumber())
      ->type_name("P");
  command.add_option("--min-p", sampling.minP, "Only those as likely as P times the likeliest [0: off]")
      ->check(realNumber())
      ->type_name("P");
  command.add_option("--repetition-penalty", sampling.repetitionPenalty, "1 or more [1: off]")
      ->check(realNumber())
      ->type_name("X");
  seedOption_ = command.add_option("--seed", sampling.seed, "Seed of the drawing [drawn, reported]")
                    ->check(wholeNumber(0, UINT64_MAX))
                    ->type_name("S");
}

void WritingOptions::check() {
  try {
    engine::checkSampling(sampling);
  } catch (const Error& error) {
    wrongUsage(error.what());
  }
  // 32 bits, so that every reader of JSON keeps the number exactly.
  if (seedOption_->count() == 0) sampling.seed = std::random_device{}();
}

}  // namespace eyrie::app
