// eyrie-cli inspect: configuration, tensors, parameters and memory of a model, from its headers alone.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "app/cli/command.h"
#include "app/cli/console.h"
#include "app/cli/model_options.h"

namespace eyrie::app {
namespace {

std::string bytesText(std::uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = double(bytes) / 1024;
  for (const char* unit : {"KiB", "MiB"}) {
    if (value < 1024) return fmt::format("{:.1f} {}", value, unit);
    value /= 1024;
  }
  return fmt::format("{:.2f} GiB", value);
}

std::string shapeText(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::string dtypeText(kernels::DType dtype) {
  switch (dtype) {
    case kernels::DType::f32:
      return "f32";
    case kernels::DType::f16:
      return "f16";
    case kernels::DType::int8:
    case kernels::DType::int4:  // never in a file
    case kernels::DType::bf16:
      return "bf16";
  }
  return "?";
}

const char* activationText(kernels::Activation activation) {
  return activation == kernels::Activation::geluTanh ? "gelu_tanh" : "silu";
}

Json configJson(const engine::ModelConfig& config) {
  return {{"hidden_size", config.D},
          {"lru_width", config.R},
          {"rg_lru", config.rgLru == engine::RgLru::complex ? "complex" : "real"},
          {"mlp_width", config.E},
          {"num_hidden_layers", config.L},
          {"num_attention_heads", config.H},
          {"num_key_value_heads", config.kvHeads},
          {"head_dim", config.Dh},
          {"vocab_size", config.V},
          {"attention_window_size", config.W},
          {"visible_keys", config.olderKeys() + 1},
          {"conv1d_width", config.K},
          {"gate_blocks", config.gateBlocks},
          {"pattern", engine::patternString(config)},
          {"rotary_dims", config.rotary},
          {"rope_theta", config.ropeTheta},
          {"rms_norm_eps", config.normEps},
          {"logits_soft_cap", config.logitsSoftCap},
          {"embeddings_scale_by_sqrt_dim", config.scaleEmbedding},
          {"tie_word_embeddings", config.tieWordEmbeddings},
          {"hidden_activation", activationText(config.activation)},
          {"bos_token_id", config.bosToken},
          {"eos_token_id", config.eosTokens},
          {"pad_token_id", config.padToken}};
}

Json modelJson(const engine::ModelInfo& info, const engine::Checkpoint& checkpoint) {
  const engine::ModelSummary& summary = info.summary;
  Json tensors = Json::array();
  for (const auto& tensor : checkpoint.tensors()) {
    tensors.push_back({{"name", tensor.name},
                       {"dtype", dtypeText(tensor.dtype)},
                       {"shape", tensor.shape},
                       {"bytes", tensor.bytes},
                       {"file", tensor.file}});
  }
  return {{"name", info.name},
          {"folder", info.folder.string()},
          {"fingerprint", info.fingerprint},
          {"config", configJson(summary.config)},
          {"parameters", summary.parameters},
          {"embedding_parameters", summary.embeddingParameters},
          {"dtype", summary.dtype},
          {"memory",
           {{"weights", summary.weightBytes}, {"extra", summary.extraBytes}, {"state", summary.stateBytes}}},
          {"tokenizer", summary.hasTokenizer},
          {"chat_template", summary.hasChatTemplate},
          {"tensors", std::move(tensors)}};
}

void printRow(std::string_view name, std::string_view value) {
  print(fmt::format("{:<22}{}\n", name, plain(value)));
}

void printSummary(const engine::ModelInfo& info) {
  const engine::ModelSummary& summary = info.summary;
  const engine::ModelConfig& config = summary.config;
  printRow("model", info.name);
  printRow("folder", info.folder.string());
  printRow("fingerprint", info.fingerprint);
  printRow("layers", fmt::format("{} ({})", config.L, engine::patternString(config)));
  printRow("width", fmt::format("D {} · R {} · E {} · gate blocks {}", config.D, config.R, config.E,
                                config.gateBlocks));
  if (config.rgLru == engine::RgLru::complex)
    printRow("recurrence", fmt::format("complex, {} channels", config.channels()));
  printRow(
      "attention",
      config.hasKind(engine::BlockKind::localAttention) || config.hasKind(engine::BlockKind::globalAttention)
          ? fmt::format(
                "{} heads of {} · {} KV heads · window {}", config.H, config.Dh, config.kvHeads,
                config.hasKind(engine::BlockKind::localAttention) ? std::to_string(config.W) : "unbounded")
          : "none");
  printRow("vocabulary", std::to_string(config.V));
  printRow("tokenizer", summary.hasTokenizer ? "yes" : "no: token lists only");
  printRow("chat turns", summary.hasChatTemplate ? "yes" : "no");
  printRow("parameters",
           fmt::format("{} ({} of them the embedding)", summary.parameters, summary.embeddingParameters));
  printRow("dtype", summary.dtype);
  printRow("memory: weights", fmt::format("{} (mapped from the file)", bytesText(summary.weightBytes)));
  printRow("memory: working", bytesText(summary.extraBytes));
  printRow("memory: one state", bytesText(summary.stateBytes));
}

void printTensors(const std::vector<engine::StoredTensor>& tensors) {
  constexpr std::size_t kColumns = 5;
  constexpr std::size_t kNumbers = 3;  // aligned to the right
  using Row = std::array<std::string, kColumns>;
  std::vector<Row> rows{{"tensor", "dtype", "shape", "bytes", "file"}};
  for (const auto& tensor : tensors) {
    rows.push_back({tensor.name, dtypeText(tensor.dtype), shapeText(tensor.shape),
                    std::to_string(tensor.bytes), tensor.file});
  }
  std::array<std::size_t, kColumns> widths{};
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < kColumns; ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  print("\n");
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i + 1 < kColumns; ++i) {
      line += i == kNumbers ? fmt::format("{:>{}}  ", row[i], widths[i])
                            : fmt::format("{:<{}}  ", row[i], widths[i]);
    }
    print(plain(line + row.back()) + "\n");
  }
}

struct InspectOptions {
  ModelOptions model;
  bool json = false;
};

int inspect(const InspectOptions& options) {
  std::shared_ptr<const engine::Checkpoint> checkpoint;
  const engine::ModelInfo info = openModel(options.model, checkpoint);
  const auto interventions = readInterventions(options.model, checkpoint->config());
  if (options.json) {
    Json json = modelJson(info, *checkpoint);
    json["interventions"] = interventionsJson(interventions);
    printLine(json);
    return kDone;
  }
  printSummary(info);
  printTensors(checkpoint->tensors());
  return kDone;
}

}  // namespace

void addInspectCommand(CLI::App& parser, Action& action) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = parser.add_subcommand("inspect", "Configuration, tensors, parameters and memory");
  options->model.addTo(*command);
  command->add_flag("--json", options->json, "One JSON object");
  command->callback([options, &action] { action = [options] { return inspect(*options); }; });
}

}  // namespace eyrie::app
