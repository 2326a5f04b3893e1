#include "engine/requests.h"

#include <fmt/core.h>

#include <algorithm>

#include "engine/context_reader.h"
#include "engine/error.h"
#include "engine/intervention_plan.h"
#include "engine/model_locator.h"
#include "kernels/logits.h"

namespace eyrie::engine {
namespace {

constexpr std::uint64_t kScoreBytes = std::uint64_t{1} << 30;

EngineEvent makeEvent(EventKind kind, RequestId id) {
  EngineEvent event;
  event.kind = kind;
  event.request = id;
  return event;
}

EngineEvent progressEvent(EventKind kind, RequestId id, std::int64_t done, std::int64_t total) {
  EngineEvent event = makeEvent(kind, id);
  event.done = done;
  event.total = total;
  event.fraction = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 1.0;
  return event;
}

std::shared_ptr<const ModelInfo> describe(const ModelLocation& location, const Model& model) {
  auto info = std::make_shared<ModelInfo>();
  info->name = location.name;
  info->folder = location.folder;
  info->summary = model.summary();
  info->fingerprint = model.fingerprint();
  info->backend = model.backendName();
  if (info->summary.hasTokenizer) {
    info->tokenizer = Tokenizer::loadFor(location.folder, model.config().V);
    info->chat = chatFormatOf(model.config(), *info->tokenizer, location.folder);
  } else {
    info->chat.bos = model.config().bosToken;
  }
  return info;
}

void throwIfStopped(const std::stop_token& stop) {
  if (stop.stop_requested()) throw Error(ErrorCode::cancelled, "cancelled");
}

class SilentObserver final : public GenerateObserver {
 public:
  explicit SilentObserver(std::function<void(std::int64_t, std::int64_t)> progress)
      : progress_(std::move(progress)) {}
  void onToken(const TokenRecord& record) override { (void)record; }
  void onProgress(std::int64_t fed, std::int64_t total) override { progress_(fed, total); }

 private:
  std::function<void(std::int64_t, std::int64_t)> progress_;
};

// Rows of log-probabilities of positions first.. from the logits of the positions before them.
class ScoreRows {
 public:
  ScoreRows(std::int64_t first, std::int64_t rows, std::int64_t V)
      : result_(std::make_shared<ScoreResult>()) {
    result_->first = first;
    result_->rows = rows;
    result_->V = V;
    result_->logprobs.resize(static_cast<std::size_t>(rows * V));
  }
  void take(std::int64_t position, std::span<const float> logits) {
    const std::int64_t row = position + 1 - result_->first;
    if (row < 0 || row >= result_->rows) return;
    const kernels::LogitStats stats = kernels::cpu::logitStats(logits.data(), result_->V, pool_);
    float* out = result_->logprobs.data() + row * result_->V;
    for (const float logit : logits) *out++ = logit - stats.logSumExp;
  }
  std::shared_ptr<const ScoreResult> result() const { return result_; }

 private:
  std::shared_ptr<ScoreResult> result_;
  kernels::ThreadPool pool_{1};
};

void checkScore(std::span<const std::int32_t> tokens, std::int64_t first, std::int64_t V) {
  const auto size = static_cast<std::int64_t>(tokens.size());
  if (first < 1 || first > size) {
    throw Error(ErrorCode::badArgument, fmt::format("score: first: expected 1 to {}, found {}", size, first));
  }
  const std::uint64_t bytes = static_cast<std::uint64_t>(size - first) * static_cast<std::uint64_t>(V) * 4;
  if (bytes > kScoreBytes) {
    throw Error(
        ErrorCode::outOfMemory,
        fmt::format("score: {} positions of {} log-probabilities need {} MiB, expected at most {} MiB",
                    size - first, V, bytes >> 20, kScoreBytes >> 20));
  }
}

}  // namespace

// Reports a run as it goes.
class Requests::RunObserver final : public GenerateObserver {
 public:
  RunObserver(Requests& requests, RequestId id, StateLog& log) : requests_(requests), id_(id), log_(log) {}
  void onToken(const TokenRecord& record) override {
    EngineEvent event = makeEvent(EventKind::token, id_);
    event.token = record;
    requests_.outbox_.push(std::move(event));
  }
  void onFrame(const TraceFrame& frame) override { requests_.outbox_.offer(frame); }
  void onProgress(std::int64_t fed, std::int64_t total) override {
    requests_.outbox_.push(progressEvent(EventKind::readProgress, id_, fed, total));
  }
  void onLastToken(const SequenceState& state) override { log_.keep(state); }

 private:
  Requests& requests_;
  RequestId id_;
  StateLog& log_;
};

class Requests::TraceForwarder final : public GenerateObserver {
 public:
  TraceForwarder(Requests& requests, RequestId id, TraceSink& sink)
      : requests_(requests), id_(id), sink_(sink) {}
  void onToken(const TokenRecord& record) override { sink_.token(record); }
  void onFrame(const TraceFrame& frame) override { sink_.frame(frame); }
  void onProgress(std::int64_t fed, std::int64_t total) override {
    requests_.outbox_.push(progressEvent(EventKind::traceProgress, id_, fed, total));
  }

 private:
  Requests& requests_;
  RequestId id_;
  TraceSink& sink_;
};

Model& Requests::model() {
  if (!model_) throw Error(ErrorCode::badArgument, "no model is loaded");
  return *model_;
}

void Requests::load(RequestId id, const LoadRequest& request, const std::stop_token& stop) {
  throwIfStopped(stop);
  const ModelLocation location = locateModel(request.model);
  std::shared_ptr<const Checkpoint> checkpoint = Checkpoint::open(location.folder);
  throwIfStopped(stop);
  LoadOptions options;
  options.backend = request.backend;
  options.threads = request.threads;
  options.weights = request.weights;
  options.cacheFolder = cacheFolder();
  options.stop = stop;
  int announced = -1;
  options.progress = [&](double fraction) {
    const int percent = static_cast<int>(fraction * 100);
    if (percent == announced) return;
    announced = percent;
    EngineEvent event = makeEvent(EventKind::loadProgress, id);
    event.fraction = fraction;
    outbox_.push(std::move(event));
  };
  std::shared_ptr<Model> model = Model::load(std::move(checkpoint), options);
  std::shared_ptr<const ModelInfo> info = describe(location, *model);
  throwIfStopped(stop);
  cache_.clear();
  use(id, request, std::move(model), std::move(info));
}

void Requests::use(RequestId id, const LoadRequest& request, std::shared_ptr<Model> model,
                   std::shared_ptr<const ModelInfo> info) {
  live_.reset();
  loaded_ = request;
  model_ = std::move(model);
  info_ = std::move(info);
  EngineEvent event = makeEvent(EventKind::loaded, id);
  event.fraction = 1;
  event.model = info_;
  outbox_.push(std::move(event));
}

void Requests::leaveCard() {
  if (!model_ || !model_->backendName().starts_with("cuda")) return;
  live_.reset();
  LoadRequest request = loaded_;
  request.backend = BackendKind::cpu;
  LoadOptions options;
  options.backend = request.backend;
  options.threads = request.threads;
  options.weights = request.weights;
  options.cacheFolder = cacheFolder();
  const ModelLocation location{info_->name, info_->folder};
  std::shared_ptr<Model> model = Model::load(Checkpoint::open(location.folder), options);
  std::shared_ptr<const ModelInfo> info = describe(location, *model);
  use(0, request, std::move(model), std::move(info));
}

bool Requests::isLive(const StateCache::Found& start) const {
  return live_ && start.log == &live_->log && start.position == live_->log.position();
}

StateCache::Found Requests::furthest(std::span<const std::int32_t> context, std::int64_t limit,
                                     const Interventions& interventions) {
  StateCache::Found found = cache_.furthest(context, limit, interventions);
  if (!live_ || live_->log.rules() != interventions) return found;
  // A log that keeps nothing still stands where its state does.
  const std::vector<std::int32_t>& tokens = live_->log.tokens();
  const bool whole =
      live_->log.position() <= limit && std::equal(tokens.begin(), tokens.end(), context.begin());
  const std::int64_t position = whole ? live_->log.position() : reach(live_->log, context, limit);
  if (position > 0 && position >= found.position) found = {&live_->log, position};
  return found;
}

Rewound Requests::stateAt(const StateCache::Found& start, const Plan& plan, RequestId id, std::size_t total,
                          const std::stop_token& stop) {
  if (start.log == nullptr) {
    Rewound fresh{model().newState()};
    fresh.state.intervene(plan);
    return fresh;
  }
  if (isLive(start)) return {live_->state.clone()};
  return start.log->rewind(model(), start.position, stop, [&](std::int64_t position) {
    outbox_.push(progressEvent(EventKind::readProgress, id, position, static_cast<std::int64_t>(total)));
  });
}

std::unique_ptr<Requests::Live> Requests::takeUp(const StateCache::Found& start, const Plan& plan,
                                                 RequestId id, std::size_t total, const std::stop_token& stop,
                                                 std::int64_t& replayed) {
  if (isLive(start)) return std::move(live_);
  Rewound back = stateAt(start, plan, id, total, stop);
  replayed = back.replayed;
  StateLog log = start.log == nullptr ? StateLog(model().config()) : start.log->until(back.state.position());
  log.intervene(plan);
  auto taken = std::make_unique<Live>(std::move(log), std::move(back.state));
  if (live_) cache_.remember(std::move(live_->log));
  live_.reset();
  return taken;
}

void Requests::run(RequestId id, const RunRequest& request, const std::stop_token& stop) {
  Model& model = this->model();
  if (request.context.empty()) {
    throw Error(ErrorCode::badArgument, "context: expected at least one token, found none");
  }
  const std::size_t total = request.context.size();
  const Plan plan = planInterventions(request.interventions, model.config());
  const StateCache::Found start =
      furthest(request.context, static_cast<std::int64_t>(total) - 1, request.interventions);
  EngineEvent event = makeEvent(EventKind::finished, id);
  std::int64_t replayed = 0;
  std::unique_ptr<Live> current = takeUp(start, plan, id, total, stop, replayed);
  RunObserver observer(*this, id, current->log);
  try {
    event.result = generate(model, current->state, request.context, request.options, observer, stop);
  } catch (...) {
    // Nobody should go on from the state of a run that threw; its key-frames are each whole.
    const std::int64_t kept = current->log.lastKeyFrame();
    if (kept > 0) cache_.remember(current->log.until(kept));
    throw;
  }
  event.result.replayedTokens = replayed;
  current->log.keep(current->state);
  if (request.snapshot) {
    auto snapshot = std::make_shared<Snapshot>();
    snapshot->tokens = current->log.tokens();
    snapshot->fingerprint = stateFingerprint(info_->fingerprint, request.interventions);
    snapshot->state = serialiseState(current->state.download(), snapshot->fingerprint);
    snapshot->interventions = request.interventions;
    event.snapshot = std::move(snapshot);
  }
  live_ = std::move(current);
  outbox_.push(std::move(event));
}

void Requests::score(RequestId id, std::span<const std::int32_t> tokens, std::int64_t first,
                     const Interventions& interventions, const std::stop_token& stop) {
  Model& model = this->model();
  const std::int64_t V = model.config().V;
  checkScore(tokens, first, V);
  const auto size = static_cast<std::int64_t>(tokens.size());
  ScoreRows rows(first, size - first, V);
  const Plan plan = planInterventions(interventions, model.config());
  const StateCache::Found start = furthest(tokens, first - 1, interventions);
  SequenceState state = std::move(stateAt(start, plan, id, tokens.size(), stop).state);
  throwIfStopped(stop);
  SilentObserver observer([&](std::int64_t done, std::int64_t total) {
    outbox_.push(progressEvent(EventKind::readProgress, id, done, total));
  });
  if (size > first) {
    ContextReader before(model, state, tokens, {}, observer);
    if (!before.readTo(first - 1, stop)) throwIfStopped(stop);
    ContextReader reader(model, state, tokens, {}, observer);
    reader.setLogitsSink(
        [&](std::int64_t position, std::span<const float> logits) { rows.take(position, logits); });
    if (!reader.readTo(size - 1, stop)) throwIfStopped(stop);
  }
  throwIfStopped(stop);
  EngineEvent event = makeEvent(EventKind::scored, id);
  event.score = rows.result();
  outbox_.push(std::move(event));
}

void Requests::trace(RequestId id, std::span<const std::int32_t> tokens, const TraceOptions& options,
                     TraceSink& sink, const Interventions& interventions, const std::stop_token& stop) {
  Model& model = this->model();
  const FrameLayout layout(model.config(), options);
  const auto plan = planInterventions(interventions, model.config());
  if (tokens.empty()) throw Error(ErrorCode::badArgument, "tokens: expected at least one, found none");
  throwIfStopped(stop);
  try {
    sink.begin(*info_, layout, static_cast<std::int64_t>(tokens.size()));
    SequenceState state = model.newState();
    state.intervene(plan);
    GenerateOptions reading;
    reading.maxTokens = 0;
    reading.scoreContext = true;
    reading.trace = options;
    TraceForwarder forwarder(*this, id, sink);
    const GenerateResult result = generate(model, state, tokens, reading, forwarder, stop);
    throwIfStopped(stop);
    if (result.next.position >= 0) sink.prediction(result.next);
    sink.end();
  } catch (...) {
    sink.abandon();
    throw;
  }
  outbox_.push(makeEvent(EventKind::traceWritten, id));
}

void Requests::remember(const Snapshot& snapshot) {
  Model& model = this->model();
  const Plan plan = planInterventions(snapshot.interventions, model.config());
  HostState state = parseState(snapshot.state, model.config(),
                               stateFingerprint(info_->fingerprint, snapshot.interventions));
  StateLog log(model.config(), snapshot.tokens, std::move(state));
  log.intervene(plan);
  cache_.remember(std::move(log));
}

}  // namespace eyrie::engine
