// Export of the trace of the conversation in view, and of views as pictures.
#include <spdlog/spdlog.h>

#include <QFileDialog>
#include <QFileInfo>

#include "app/gui/main_window.h"
#include "sessions/export/trace_writer.h"

namespace eyrie::app {

void MainWindow::chooseTraceFile(const QString& ending) {
  const QString file = QFileDialog::getSaveFileName(
      this, tr("Export trace"), QStringLiteral("trace.") + ending, QStringLiteral("*.") + ending);
  if (!file.isEmpty()) exportTrace(file);
}

void MainWindow::exportTrace(const QString& file) {
  const ui::Prompt prompt = chat_->prompt(false);
  if (prompt.tokens.size() < 2) {
    return notice_->showNotice(ui::NoticeBar::Kind::note,
                               tr("There is nothing to export yet: write or read something first."), {}, {},
                               6000);
  }
  try {
    sessions::TraceFileOptions options;
    options.format = sessions::traceFormatOf(file.toStdString());
    options.sampling = composer_->sampling()->choice().options;
    options.sampled = true;
    options.copyReader = true;
    engine::TraceOptions levels;
    levels.level = engine::TraceLevel::full;
    exportRequest_ =
        bridge_.trace(prompt.tokens, levels, sessions::makeTraceWriter(file.toStdString(), options));
    exportFile_ = file;
  } catch (const engine::Error& error) {
    return notice_->showNotice(ui::NoticeBar::Kind::error, QString::fromUtf8(error.what()));
  }
  notice_->showNotice(ui::NoticeBar::Kind::note, tr("Writing %1").arg(file), tr("Cancel"),
                      [this] { bridge_.cancel(exportRequest_); });
}

void MainWindow::followExport() {
  connect(&bridge_, &EngineBridge::traceProgress, this, [this](quint64 request, qint64 done, qint64 total) {
    if (request != exportRequest_ || total <= 0) return;
    notice_->showNotice(ui::NoticeBar::Kind::note,
                        tr("Writing %1: %2 %").arg(exportFile_).arg(100 * done / total), tr("Cancel"),
                        [this] { bridge_.cancel(exportRequest_); });
  });
  connect(&bridge_, &EngineBridge::traceWritten, this, [this](quint64 request) {
    if (request != exportRequest_) return;
    exportRequest_ = 0;
    notice_->showNotice(
        ui::NoticeBar::Kind::note,
        tr("Trace written to %1; open_trace.py beside it opens it in numpy.").arg(exportFile_), {}, {},
        12000);
    emit exported(exportFile_);
  });
  connect(&bridge_, &EngineBridge::failed, this, [this](quint64 request, const QString& text) {
    if (request != exportRequest_ || exportRequest_ == 0) return;
    exportRequest_ = 0;
    notice_->showNotice(ui::NoticeBar::Kind::error, text);
  });
  connect(&bridge_, &EngineBridge::cancelled, this, [this](quint64 request) {
    if (request != exportRequest_ || exportRequest_ == 0) return;
    exportRequest_ = 0;
    notice_->showNotice(ui::NoticeBar::Kind::note, tr("Export cancelled; nothing was written."), {}, {},
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
  if (!error.isEmpty()) return notice_->showNotice(ui::NoticeBar::Kind::error, error);
  notice_->showNotice(ui::NoticeBar::Kind::note, tr("View written to %1").arg(file), {}, {}, 8000);
  emit exported(file);
}

}  // namespace eyrie::app
