#include "app/gui/engine_bridge.h"

#include <algorithm>

#include "ui/widgets/model_button.h"

namespace eyrie::app {

namespace {
constexpr int kFrameMs = 16;     // one display frame at 60 Hz
constexpr qint64 kBudgetMs = 8;  // of the GUI thread per frame
}  // namespace

EngineBridge::EngineBridge(QObject* parent) : QObject(parent), engine_(std::make_unique<engine::Engine>()) {
  tick_.setSingleShot(true);
  tick_.setTimerType(Qt::PreciseTimer);
  connect(&tick_, &QTimer::timeout, this, &EngineBridge::drain);
  sinceDrain_.start();
  engine_->setWake([this] { QMetaObject::invokeMethod(this, &EngineBridge::wake, Qt::QueuedConnection); });
}

EngineBridge::~EngineBridge() {
  shutDown();
}

void EngineBridge::shutDown() {
  tick_.stop();
  stopReread();
  engine_->setWake({});
  engine_->cancelAll();
}

void EngineBridge::load(const QString& model, const QString& weights) {
  cancelLoad();
  load_ = engine_->load({model.toStdString(), engine::BackendKind::automatic, 0,
                         engine::conversionNamed(weights.toStdString())});
  emit loadProgress(0);
}

void EngineBridge::cancelLoad() {
  if (load_ != 0) engine_->cancel(load_);
}

engine::RequestId EngineBridge::start(engine::RunRequest request) {
  useLayout(request.options.trace);
  return engine_->run(std::move(request));
}

engine::RequestId EngineBridge::score(std::vector<std::int32_t> tokens, std::int64_t first) {
  return engine_->score(std::move(tokens), first);
}

engine::RequestId EngineBridge::trace(std::vector<std::int32_t> tokens, engine::TraceOptions options,
                                      std::shared_ptr<engine::TraceSink> sink) {
  return engine_->trace(std::move(tokens), std::move(options), std::move(sink));
}

void EngineBridge::remember(std::shared_ptr<const engine::Snapshot> snapshot) {
  engine_->remember(std::move(snapshot));
}

// Frames are laid out by the trace options: other options, another trace. Records stay.
void EngineBridge::useLayout(const engine::TraceOptions& options) {
  if (!run_.model) return;
  const engine::TraceOptions& now = run_.trace.layout().options();
  if (now.level == options.level && now.layers == options.layers && now.globalSpan == options.globalSpan)
    return;
  std::vector<engine::TokenRecord> records;
  for (std::int64_t i = 0; i < run_.trace.size(); ++i) records.push_back(run_.trace.token(i));
  const engine::ModelConfig& config = run_.model->summary.config;
  run_.trace = engine::Trace(config, engine::FrameLayout(config, options));
  for (const engine::TokenRecord& record : records) run_.trace.append(record);
  emit run_.modelChanged();
  emit run_.traceChanged();
}

void EngineBridge::showRecords(const std::vector<engine::TokenRecord>& records) {
  stopReread();
  const auto at = [&](std::int64_t i) { return records[std::size_t(i)]; };
  const auto count = std::int64_t(records.size());
  std::int64_t same = 0;
  while (same < std::min(count, run_.trace.size()) && run_.trace.token(same).token == at(same).token) ++same;
  run_.trace.truncate(same);
  for (std::int64_t i = same; i < count; ++i) run_.trace.append(at(i));
  emit run_.traceChanged();
}

engine::RequestId EngineBridge::reread(std::vector<std::int32_t> tokens,
                                       const engine::TraceOptions& options) {
  stopReread();
  useLayout(options);
  reread_ = std::make_shared<FrameQueue>();
  rereadRequest_ = engine_->trace(std::move(tokens), options, reread_);
  tick_.start(kFrameMs);
  return rereadRequest_;
}

void EngineBridge::takeReread() {
  if (!reread_) return;
  for (const engine::TraceFrame& frame : reread_->take()) {
    // Appended where there is one already, or for another token, a frame would begin a branch.
    const bool wanted = frame.position < run_.trace.size() && !run_.trace.hasFrame(frame.position) &&
                        run_.trace.token(frame.position).token == frame.token;
    if (wanted) run_.trace.append(frame);
  }
}

void EngineBridge::stopReread() {
  if (!reread_) return;
  reread_->close();
  reread_.reset();
  engine_->cancel(rereadRequest_);
}

void EngineBridge::clearTrace() {
  showRecords({});
}

void EngineBridge::becomeModel(const std::shared_ptr<const engine::ModelInfo>& model) {
  stopReread();
  const engine::ModelConfig& config = model->summary.config;
  const engine::TraceOptions options = run_.trace.layout().options();
  run_.model = model;
  run_.isHawk = ui::looksLikeHawk(QString::fromStdString(engine::patternString(config)));
  run_.trace = engine::Trace(config, engine::FrameLayout(config, options));
  emit run_.modelChanged();
  emit run_.traceChanged();
}

void EngineBridge::wake() {
  if (tick_.isActive()) return;
  const qint64 since = sinceDrain_.elapsed();
  since >= kFrameMs ? drain() : tick_.start(int(kFrameMs - since));
}

bool EngineBridge::drainFrames(const QElapsedTimer& clock) {
  engine::TraceFrame frame;
  while (clock.elapsed() < kBudgetMs) {
    if (!engine_->pollFrame(frame)) return true;
    run_.trace.append(frame);
  }
  return false;
}

void EngineBridge::drain() {
  QElapsedTimer clock;
  clock.start();
  // Frames first: a record that arrives after its frame fills its place, the other way round begins a branch.
  const bool noFrames = drainFrames(clock);
  takeReread();
  // Only an empty poll makes the engine wake us again; else the tick must.
  bool all = false;
  engine::EngineEvent event;
  while (noFrames && !all && clock.elapsed() < kBudgetMs) {
    all = !engine_->poll(event);
    if (!all) handle(event);
  }
  deliverTokens();
  const std::uint64_t revision = run_.trace.revision();
  if (revision != shownRevision_) emit run_.traceChanged();
  shownRevision_ = revision;
  sinceDrain_.restart();
  if (!all || reread_) tick_.start(kFrameMs);
}

void EngineBridge::deliverTokens() {
  if (tokens_.empty()) return;
  const std::vector<engine::TokenRecord> batch = std::move(tokens_);
  tokens_.clear();
  emit tokensArrived(tokensOf_, batch);
}

void EngineBridge::takeToken(const engine::EngineEvent& event) {
  if (tokensOf_ != event.request) deliverTokens();
  tokensOf_ = event.request;
  run_.trace.append(event.token);
  tokens_.push_back(event.token);
}

void EngineBridge::handle(const engine::EngineEvent& event) {
  using engine::EventKind;
  if (event.kind == EventKind::token) return takeToken(event);
  deliverTokens();  // what follows comes after them
  if (reread_ && event.request == rereadRequest_ && event.kind != EventKind::traceProgress) {
    takeReread();
    reread_.reset();
  }
  switch (event.kind) {
    case EventKind::loadProgress:
      return emit loadProgress(event.fraction);
    case EventKind::loaded:
      if (event.request == load_) load_ = 0;
      becomeModel(event.model);
      emit loadProgress(-1);
      return emit loaded();
    case EventKind::readProgress:
      return emit readProgress(event.request, event.done, event.total);
    case EventKind::finished:
      return emit finished(event.request, event);
    case EventKind::scored:
      return emit scored(event.request, event.score);
    case EventKind::traceProgress:
      return emit traceProgress(event.request, event.done, event.total);
    case EventKind::traceWritten:
      return emit traceWritten(event.request);
    case EventKind::failed:
    case EventKind::cancelled:
      return handleUnfinished(event);
    case EventKind::token:
      return;
  }
}

void EngineBridge::handleUnfinished(const engine::EngineEvent& event) {
  const bool cancel = event.kind == engine::EventKind::cancelled;
  const QString text = event.error ? QString::fromStdString(event.error->what()) : QString();
  if (load_ != 0 && event.request == load_) {
    load_ = 0;
    emit loadProgress(-1);
    if (!cancel) emit loadFailed(text);
  } else if (cancel) {
    emit cancelled(event.request);
  } else {
    emit failed(event.request, text);
  }
}

}  // namespace eyrie::app
