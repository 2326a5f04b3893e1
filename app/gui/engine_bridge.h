// One engine on the GUI thread: commands go down, events come back as signals in batches of at most one a
// display frame, and the inspected run follows. GUI thread only; the model's work is on the engine's thread.
#pragma once

#include <QElapsedTimer>
#include <QObject>
#include <QString>
#include <QTimer>
#include <memory>
#include <vector>

#include "app/gui/frame_queue.h"
#include "engine/engine.h"
#include "ui/inspect/inspected_run.h"

namespace eyrie::app {

class EngineBridge final : public QObject {
  Q_OBJECT
 public:
  explicit EngineBridge(QObject* parent = nullptr);
  ~EngineBridge() override;

  ui::InspectedRun* run() { return &run_; }
  const std::shared_ptr<const engine::ModelInfo>& model() const { return run_.model; }
  bool isLoading() const { return load_ != 0; }
  bool isBusy() const { return engine_->busy(); }
  std::uint64_t droppedFrames() const { return engine_->droppedFrames(); }

  // `weights`: the dtype to convert to; empty: as stored.
  void load(const QString& model, const QString& weights = {});
  void cancelLoad();
  engine::RequestId start(engine::RunRequest request);
  engine::RequestId score(std::vector<std::int32_t> tokens, std::int64_t first);
  engine::RequestId trace(std::vector<std::int32_t> tokens, engine::TraceOptions options,
                          std::shared_ptr<engine::TraceSink> sink);
  void remember(std::shared_ptr<const engine::Snapshot> snapshot);
  void cancel(engine::RequestId request) { engine_->cancel(request); }
  // Reads `tokens` from the start and fills in the frames that the trace in view lacks. traceProgress
  // follows, then traceWritten, failed or cancelled.
  engine::RequestId reread(std::vector<std::int32_t> tokens, const engine::TraceOptions& options);
  // The trace in view becomes these records; frames stay as far as the tokens are the same.
  void showRecords(const std::vector<engine::TokenRecord>& records);
  void clearTrace();
  void shutDown();  // cancels everything; at most the current token is waited for

 signals:
  void loadProgress(double fraction);  // below 0: no longer loading
  void loaded();
  void loadFailed(const QString& message);
  void readProgress(quint64 request, qint64 done, qint64 total);
  void tokensArrived(quint64 request, const std::vector<eyrie::engine::TokenRecord>& tokens);
  void finished(quint64 request, const eyrie::engine::EngineEvent& event);
  void scored(quint64 request, const std::shared_ptr<const eyrie::engine::ScoreResult>& score);
  void traceProgress(quint64 request, qint64 done, qint64 total);
  void traceWritten(quint64 request);
  void failed(quint64 request, const QString& message);
  void cancelled(quint64 request);

 private:
  void wake();
  void drain();
  bool drainFrames(const QElapsedTimer& clock);
  void takeToken(const engine::EngineEvent& event);
  void handle(const engine::EngineEvent& event);
  void handleUnfinished(const engine::EngineEvent& event);
  void deliverTokens();
  void becomeModel(const std::shared_ptr<const engine::ModelInfo>& model);
  void useLayout(const engine::TraceOptions& options);
  void takeReread();
  void stopReread();

  ui::InspectedRun run_;
  std::unique_ptr<engine::Engine> engine_;
  engine::RequestId load_ = 0;
  QTimer tick_;
  QElapsedTimer sinceDrain_;
  engine::RequestId tokensOf_ = 0;
  std::vector<engine::TokenRecord> tokens_;  // of this drain
  std::uint64_t shownRevision_ = 0;
  engine::RequestId rereadRequest_ = 0;
  std::shared_ptr<FrameQueue> reread_;
};

}  // namespace eyrie::app
