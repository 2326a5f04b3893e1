// Export of the trace of the conversation in view, and of views as pictures; reading it again to inspect.
#include <spdlog/spdlog.h>

#include <QFileDialog>
#include <QFileInfo>
#include <QLocale>

#include "app/gui/main_window.h"
#include "sessions/export/trace_writer.h"

namespace eyrie::app {

// In words, what the file says about how its tokens came about.
QString MainWindow::exportFacts() const {
  const std::optional<engine::SamplingOptions> sampling = chat_->sampledWith();
  const QString model = QString::fromStdString(bridge_.model()->name);
  if (!sampling) return tr("%1; read, nothing was drawn").arg(model);
  const QLocale locale;
  QStringList parts = {model, tr("seed %1").arg(sampling->seed),
                       tr("temperature %1").arg(locale.toString(double(sampling->temperature), 'g', 3))};
  if (sampling->topK > 0) parts << tr("top-k %1").arg(sampling->topK);
  if (sampling->topP < 1) parts << tr("top-p %1").arg(locale.toString(double(sampling->topP), 'g', 3));
  if (sampling->minP > 0) parts << tr("min-p %1").arg(locale.toString(double(sampling->minP), 'g', 3));
  if (sampling->repetitionPenalty > 1)
    parts << tr("repetition penalty %1").arg(locale.toString(double(sampling->repetitionPenalty), 'g', 3));
  return parts.join(QStringLiteral(", "));
}

void MainWindow::chooseTraceExport() {
  const ui::Prompt prompt = chat_->prompt(false);
  // Without anything to export there is nothing to choose either.
  if (prompt.tokens.size() < 2) return exportTrace({});
  ui::TraceExportDialog dialog(bridge_.model()->summary.config, std::int64_t(prompt.tokens.size()),
                               exportFacts(), this);
  dialog.setChoice(settings_.traceExport());
  if (dialog.exec() != QDialog::Accepted) return;
  const ui::TraceExportChoice choice = dialog.choice();
  settings_.setTraceExport(choice);
  const QString ending = QLatin1Char('.') + choice.ending;
  QString file =
      QFileDialog::getSaveFileName(this, tr("Export trace"), tr("trace") + ending, QLatin1Char('*') + ending);
  if (file.isEmpty()) return;
  if (QFileInfo(file).suffix().isEmpty()) file += ending;
  exportTrace(file, choice);
}

void MainWindow::exportTrace(const QString& file, const ui::TraceExportChoice& choice) {
  const ui::Prompt prompt = chat_->prompt(false);
  if (prompt.tokens.size() < 2) {
    return notice()->showNotice(ui::NoticeBar::Kind::note,
                                tr("There is nothing to export yet: write or read something first."), {}, {},
                                6000);
  }
  try {
    const std::optional<engine::SamplingOptions> sampling = chat_->sampledWith();
    sessions::TraceFileOptions options;
    options.format = sessions::traceFormatOf(file.toStdString());
    options.precision = choice.f32 ? sessions::TracePrecision::f32 : sessions::TracePrecision::f16;
    options.sampling = sampling.value_or(engine::SamplingOptions());
    options.sampled = sampling.has_value();
    options.copyReader = true;
    ui::TraceExportChoice asked = choice;
    asked.ending = QFileInfo(file).suffix().toLower();
    exportRequest_ = bridge_.trace(prompt.tokens, ui::traceOptionsFor(asked, bridge_.model()->summary.config),
                                   sessions::makeTraceWriter(file.toStdString(), options));
    exportFile_ = file;
  } catch (const engine::Error& error) {
    return notice()->showNotice(ui::NoticeBar::Kind::error, QString::fromUtf8(error.what()));
  }
  notice()->showNotice(ui::NoticeBar::Kind::note, tr("Writing %1").arg(file), tr("Cancel"),
                       [this] { bridge_.cancel(exportRequest_); });
}

// What was written in an earlier sitting, or beside what is shown now, has no frames: the model reads it
// again.
void MainWindow::reread() {
  if (chat_->isWriting() || rereadRequest_ != 0 || !bridge_.model()) return;
  const ui::Prompt prompt = chat_->prompt(false);
  if (prompt.tokens.empty()) return;
  rereadRequest_ = bridge_.reread(prompt.tokens, traceOptions());
  views_.hint->setProgress(0, std::int64_t(prompt.tokens.size()));
  status_->setState(ui::StatusStrip::State::busy, tr("Reading again"));
}

void MainWindow::followReread() {
  connect(views_.hint, &ui::RereadHint::rereadRequested, this, &MainWindow::reread);
  connect(views_.hint, &ui::RereadHint::cancelRequested, this, [this] { bridge_.cancel(rereadRequest_); });
  connect(&bridge_, &EngineBridge::traceProgress, this, [this](quint64 request, qint64 done, qint64 total) {
    if (request == rereadRequest_) views_.hint->setProgress(done, total);
  });
  const auto ended = [this](quint64 request) {
    if (request != rereadRequest_ || rereadRequest_ == 0) return;
    rereadRequest_ = 0;
    views_.hint->setProgress(0, 0);
    if (!chat_->isWriting()) status_->setState(ui::StatusStrip::State::ready, tr("Ready"));
  };
  connect(&bridge_, &EngineBridge::traceWritten, this, ended);
  connect(&bridge_, &EngineBridge::cancelled, this, ended);
  connect(&bridge_, &EngineBridge::failed, this, [this, ended](quint64 request, const QString& text) {
    if (request == rereadRequest_ && rereadRequest_ != 0)
      notice()->showNotice(ui::NoticeBar::Kind::error, text);
    ended(request);
  });
}

void MainWindow::followExport() {
  connect(&bridge_, &EngineBridge::traceProgress, this, [this](quint64 request, qint64 done, qint64 total) {
    if (request != exportRequest_ || total <= 0) return;
    notice()->showNotice(ui::NoticeBar::Kind::note,
                         tr("Writing %1: %2 %").arg(exportFile_).arg(100 * done / total), tr("Cancel"),
                         [this] { bridge_.cancel(exportRequest_); });
  });
  connect(&bridge_, &EngineBridge::traceWritten, this, [this](quint64 request) {
    if (request != exportRequest_) return;
    exportRequest_ = 0;
    notice()->showNotice(
        ui::NoticeBar::Kind::note,
        tr("Trace written to %1; open_trace.py beside it opens it in numpy.").arg(exportFile_), {}, {},
        12000);
    emit exported(exportFile_);
  });
  connect(&bridge_, &EngineBridge::failed, this, [this](quint64 request, const QString& text) {
    if (request != exportRequest_ || exportRequest_ == 0) return;
    exportRequest_ = 0;
    notice()->showNotice(ui::NoticeBar::Kind::error, text);
  });
  connect(&bridge_, &EngineBridge::cancelled, this, [this](quint64 request) {
    if (request != exportRequest_ || exportRequest_ == 0) return;
    exportRequest_ = 0;
    notice()->showNotice(ui::NoticeBar::Kind::note, tr("Export cancelled; nothing was written."), {}, {},
                         6000);
  });
}

void MainWindow::exportView(int view, const QString& ending) {
  const QString file = QFileDialog::getSaveFileName(this, tr("Export view"), QStringLiteral("view.") + ending,
                                                    tr("Pictures (*.png *.svg)"));
  if (!file.isEmpty()) exportViewTo(view, file);
}

void MainWindow::exportViewTo(int view, const QString& file) {
  const QString error = saveView(views_, view, file);
  if (!error.isEmpty()) return notice()->showNotice(ui::NoticeBar::Kind::error, error);
  notice()->showNotice(ui::NoticeBar::Kind::note, tr("View written to %1").arg(file), {}, {}, 8000);
  emit exported(file);
}

}  // namespace eyrie::app
