#include "tests/ui/inspect/synthetic_run.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace eyrie::ui {

using engine::Quantity;

engine::ModelConfig syntheticConfig(const SyntheticOptions& options) {
  engine::ModelConfig config;
  config.D = config.R = options.R;
  config.E = 3 * options.R;
  config.L = static_cast<std::int64_t>(options.pattern.size());
  config.H = options.H;
  config.Dh = options.R / options.H;
  config.V = 4096;
  config.W = options.W;
  config.rgLru = options.rgLru;
  for (const char kind : options.pattern)
    config.blocks.push_back(kind == 'R'   ? engine::BlockKind::recurrent
                            : kind == 'A' ? engine::BlockKind::localAttention
                                          : engine::BlockKind::globalAttention);
  return config;
}

void appendSynthetic(InspectedRun& run, std::int64_t position, bool generated, std::uint32_t seed) {
  std::mt19937 random(static_cast<std::uint32_t>(position) * 7919 + seed);
  std::uniform_real_distribution<float> uniform(0, 1);
  const engine::ModelConfig& config = run.trace.config();
  engine::TokenRecord record;
  record.position = position;
  record.token = static_cast<std::int32_t>(random() % 4096);
  record.generated = generated;
  record.logprob = position == 0 ? std::nanf("") : -6.0F * uniform(random) * uniform(random) - 0.02F;
  record.entropy = 0.5F + 3 * uniform(random);
  record.rank = static_cast<std::int32_t>(uniform(random) * 6);
  record.milliseconds = 4 + uniform(random);
  run.trace.append(record);
  engine::TraceFrame frame{position, record.token, {}};
  frame.values.assign(static_cast<std::size_t>(run.trace.layout().frameSize()), 0.0F);
  for (const engine::TraceColumn& column : run.trace.layout().columns()) {
    float* out = frame.values.data() + column.offset;
    const float layer = static_cast<float>(column.layerIdx);
    const auto logDecay = [&](std::int64_t channel) {
      const float place = static_cast<float>((channel * 37) % config.R) / static_cast<float>(config.R);
      return -0.6931F / (0.4F * std::pow(400.0F, place * place)) * (0.5F + uniform(random));
    };
    for (std::int64_t i = 0; i < column.size; ++i) {
      switch (column.quantity) {
        case Quantity::stateNorm:
          out[i] =
              (3 + 2.5F * layer) * (1 - std::exp(-static_cast<float>(position) / 12)) + 2 * uniform(random);
          break;
        case Quantity::halfLifeQuantiles:
          out[i] = 0.5F * std::pow(4.0F, static_cast<float>(i)) * (0.8F + 0.4F * uniform(random));
          break;
        case Quantity::logDecay:
          out[i] = logDecay(i);
          break;
        case Quantity::decay:
          out[i] = std::exp(logDecay(i));
          break;
        case Quantity::write:
          out[i] = uniform(random) - 0.5F;
          break;
        case Quantity::attention:
          break;
        default:
          out[i] = uniform(random);
      }
    }
    if (column.quantity == Quantity::attention) {
      const std::int64_t span = column.shape.back();
      const std::int64_t visible = std::min(span, position + 1);
      for (std::int64_t head = 0; head < config.H; ++head) {
        float sum = 0;
        for (std::int64_t k = span - visible; k < span; ++k)
          sum += out[head * span + k] = std::pow(uniform(random), 24.0F);
        for (std::int64_t k = span - visible; k < span; ++k) out[head * span + k] /= sum;
      }
    }
  }
  run.trace.append(frame);
}

void fillSynthetic(InspectedRun& run, const SyntheticOptions& options) {
  const engine::ModelConfig config = syntheticConfig(options);
  engine::TraceOptions trace;
  trace.level = options.level;
  run.isHawk = options.pattern.find('A') == std::string::npos;
  run.trace = engine::Trace(config, engine::FrameLayout(config, trace));
  for (std::int64_t t = 0; t < options.tokens; ++t) appendSynthetic(run, t, t >= options.prompt);
}

}  // namespace eyrie::ui
