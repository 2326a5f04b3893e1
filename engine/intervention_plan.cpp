#include "engine/intervention_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>

#include "engine/error.h"

namespace eyrie::engine {
namespace {

using Target = InterventionTarget;

bool has(BlockKind kind, Target target) {
  switch (target) {
    case Target::mlp:
    case Target::block:
      return true;
    case Target::attention:
    case Target::head:
      return kind != BlockKind::recurrent;
    case Target::window:
      return kind == BlockKind::localAttention;
    default:
      return kind == BlockKind::recurrent;
  }
}

std::int64_t channelsOf(const ModelConfig& config, Target target) {
  switch (target) {
    case Target::recurrence:
    case Target::attention:
    case Target::mlp:
    case Target::block:
      return config.D;
    case Target::head:
      return config.Dh;
    default:
      return config.R;
  }
}

IndexRange within(const IndexRange& range, std::int64_t size) {
  return {range.first, std::min(range.end, size)};
}

// One rule against the model; knows the rule's place for messages.
class RuleCheck {
 public:
  RuleCheck(const Intervention& rule, std::size_t index, const ModelConfig& config)
      : rule_(rule), index_(index), config_(config) {}

  void run() const {
    checkRange(rule_.layers, config_.L, "layers");
    checkTarget();
    checkReal();
    checkRange(rule_.channels, channelsOf(config_, rule_.target), "channels");
    if (rule_.target == Target::head) checkRange(rule_.heads, config_.H, "heads");
    if (rule_.target == Target::window && rule_.value > static_cast<double>(config_.W)) {
      fail(fmt::format("expected a window of 1 to {}, the model's own, found {}", config_.W, rule_.value));
    }
  }

 private:
  // The complex recurrence has no overrides.
  void checkReal() const {
    if (config_.rgLru == RgLru::real || rule_.target > Target::state) return;
    fail(fmt::format("{} acts in the real RG-LRU alone, and this model's states are complex",
                     targetName(rule_.target)));
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::badArgument,
                fmt::format("intervention {}, '{}': {}", index_ + 1, printIntervention(rule_), what));
  }

  void checkRange(const IndexRange& range, std::int64_t size, const char* things) const {
    const std::int64_t last = range.end == IndexRange::kOpen ? range.first : range.end - 1;
    if (last < size) return;
    fail(fmt::format("expected {} from 0 to {}, found {}", things, size - 1, last));
  }

  void checkTarget() const {
    const IndexRange layers = within(rule_.layers, config_.L);
    const auto begin = config_.blocks.begin();
    if (std::any_of(begin + layers.first, begin + layers.end,
                    [&](BlockKind kind) { return has(kind, rule_.target); })) {
      return;
    }
    const char* name = targetName(rule_.target);
    if (layers.end == layers.first + 1) {
      const BlockKind kind = config_.blocks[static_cast<std::size_t>(layers.first)];
      fail(fmt::format("layer {} ({}) has no {}", layers.first, nameOf(kind), name));
    }
    fail(fmt::format("none of the layers {} to {} ({}) has {}", layers.first, layers.end - 1,
                     patternString(config_), name));
  }

  const Intervention& rule_;
  std::size_t index_;
  const ModelConfig& config_;
};

// Rules on one channel, one after the other, are one map v -> scale v + offset.
void compose(ScanEdits::Channels& channels, const IndexRange& range, const Intervention& rule) {
  const auto value = static_cast<float>(rule.value);
  for (std::int64_t r = range.first; r < range.end; ++r) {
    float& scale = channels.scale[static_cast<std::size_t>(r)];
    float& offset = channels.offset[static_cast<std::size_t>(r)];
    if (rule.action == InterventionAction::set) {
      scale = 0;
      offset = value;
    } else {
      scale *= value;
      offset *= value;
    }
  }
}

// The map is one of ln a, so scaling a adds. ln 0 is -infinity: a = 0, whatever follows.
void composeDecay(ScanEdits::Channels& channels, const IndexRange& range, const Intervention& rule) {
  const auto logarithm = static_cast<float>(std::log(rule.value));
  for (std::int64_t r = range.first; r < range.end; ++r) {
    float& offset = channels.offset[static_cast<std::size_t>(r)];
    if (rule.action == InterventionAction::set) {
      channels.scale[static_cast<std::size_t>(r)] = 0;
      offset = logarithm;
    } else {
      offset += logarithm;
    }
  }
}

void addScanRule(ScanEdits& scan, const Intervention& rule, std::int64_t R) {
  if (scan.empty()) {
    for (auto* channels :
         {&scan.recurrenceGate, &scan.inputGate, &scan.logDecay, &scan.multiplier, &scan.state}) {
      channels->scale.assign(static_cast<std::size_t>(R), 1.0F);
      channels->offset.assign(static_cast<std::size_t>(R), 0.0F);
    }
  }
  const IndexRange range = within(rule.channels, R);
  switch (rule.target) {
    case Target::recurrenceGate:
      return compose(scan.recurrenceGate, range, rule);
    case Target::inputGate:
      return compose(scan.inputGate, range, rule);
    case Target::decay:
      return composeDecay(scan.logDecay, range, rule);
    case Target::multiplier:
      return compose(scan.multiplier, range, rule);
    default:
      return compose(scan.state, range, rule);
  }
}

void addHeads(LayerEdits& layer, const Intervention& rule, const ModelConfig& config) {
  const IndexRange heads = within(rule.heads, config.H);
  const IndexRange channels = within(rule.channels, config.Dh);
  for (std::int64_t head = heads.first; head < heads.end; ++head) {
    const std::int64_t column = head * config.Dh;
    layer.heads.push_back(
        {rule.action, static_cast<float>(rule.value), column + channels.first, column + channels.end});
  }
}

void addRule(LayerEdits& layer, const Intervention& rule, const ModelConfig& config) {
  const IndexRange columns = within(rule.channels, channelsOf(config, rule.target));
  const ColumnEdit edit{rule.action, static_cast<float>(rule.value), columns.first, columns.end};
  switch (rule.target) {
    case Target::conv:
      layer.conv.push_back(edit);
      break;
    case Target::recurrence:
    case Target::attention:
      layer.temporal.push_back(edit);
      break;
    case Target::head:
      addHeads(layer, rule, config);
      break;
    case Target::mlp:
      layer.mlp.push_back(edit);
      break;
    case Target::block:
      layer.temporal.push_back(edit);
      layer.mlp.push_back(edit);
      break;
    case Target::window:
      layer.older = config.olderKeys() - (config.W - static_cast<std::int64_t>(rule.value));
      break;
    default:
      addScanRule(layer.scan, rule, config.R);
  }
}

}  // namespace

void editColumns(const std::vector<ColumnEdit>& edits, float* rows, std::int64_t T, std::int64_t width) {
  for (const ColumnEdit& edit : edits) {
    for (std::int64_t t = 0; t < T; ++t) {
      float* row = rows + t * width;
      if (edit.action == InterventionAction::set) {
        std::fill(row + edit.first, row + edit.end, edit.value);
      } else {
        for (std::int64_t i = edit.first; i < edit.end; ++i) row[i] *= edit.value;
      }
    }
  }
}

kernels::RgLruOverrides ScanEdits::view() const {
  const auto channels = [](const Channels& from) {
    return kernels::RgLruOverrides::Channels{from.scale.data(), from.offset.data()};
  };
  return {channels(recurrenceGate), channels(inputGate), channels(logDecay), channels(multiplier),
          channels(state)};
}

InterventionPlan::InterventionPlan(Interventions rules, const ModelConfig& config)
    : rules_(std::move(rules)), config_(config) {
  for (std::size_t i = 0; i < rules_.size(); ++i) RuleCheck(rules_[i], i, config_).run();
}

IndexRange InterventionPlan::unchanged(std::int64_t position) const {
  IndexRange range;
  for (const Intervention& rule : rules_) {
    for (const std::int64_t edge : {rule.tokens.first, rule.tokens.end}) {
      if (edge <= position) range.first = std::max(range.first, edge);
      if (edge > position) range.end = std::min(range.end, edge);
    }
  }
  return range;
}

ChunkEdits InterventionPlan::at(std::int64_t position) const {
  static std::atomic<std::uint64_t> made{0};
  ChunkEdits edits;
  edits.serial = ++made;
  edits.positions = unchanged(position);
  for (const Intervention& rule : rules_) {
    if (!rule.tokens.contains(position)) continue;
    edits.layers.resize(static_cast<std::size_t>(config_.L));
    const IndexRange layers = within(rule.layers, config_.L);
    for (std::int64_t layerIdx = layers.first; layerIdx < layers.end; ++layerIdx) {
      const auto at = static_cast<std::size_t>(layerIdx);
      if (has(config_.blocks[at], rule.target)) addRule(edits.layers[at], rule, config_);
    }
  }
  return edits;
}

std::int64_t olderKeys(const ModelConfig& config, int layerIdx, const ChunkEdits* edits) {
  const auto layer = static_cast<std::size_t>(layerIdx);
  if (config.blocks[layer] != BlockKind::localAttention) return kAllKeys;
  return edits == nullptr || edits->layers[layer].older < 0 ? config.olderKeys() : edits->layers[layer].older;
}

const Interventions& rulesOf(const std::shared_ptr<const InterventionPlan>& plan) {
  static const Interventions none;
  return plan == nullptr ? none : plan->rules();
}

std::shared_ptr<const InterventionPlan> planInterventions(const Interventions& rules,
                                                          const ModelConfig& config) {
  return rules.empty() ? nullptr : std::make_shared<const InterventionPlan>(rules, config);
}

const ChunkEdits* EditCache::at(const std::shared_ptr<const InterventionPlan>& plan, std::int64_t position) {
  if (plan == nullptr) return nullptr;
  if (plan != plan_ || !edits_.positions.contains(position)) {
    edits_ = plan->at(position);
    plan_ = plan;
  }
  return edits_.layers.empty() ? nullptr : &edits_;
}

}  // namespace eyrie::engine
