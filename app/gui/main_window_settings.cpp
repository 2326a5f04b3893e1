// Settings, and what can be done with everything that is kept.
#include <QDesktopServices>
#include <QFileDialog>
#include <QMenu>
#include <QMessageBox>
#include <QPushButton>
#include <QUrl>

#include "app/gui/main_window.h"
#include "ui/widgets/settings_dialog.h"

namespace eyrie::app {

void MainWindow::showSettings() {
  ui::SettingsDialog dialog({theme_->mode(), settings_.proseSize(), settings_.sampling(), paths_.data}, this);
  connect(&dialog, &ui::SettingsDialog::themeChosen, this, [this](ui::ThemeMode mode) {
    settings_.setTheme(mode);
    theme_->setMode(mode);
  });
  connect(&dialog, &ui::SettingsDialog::proseSizeChosen, this, [this](double pixels) {
    settings_.setProseSize(pixels);
    theme_->setProseSize(pixels);
  });
  connect(&dialog, &ui::SettingsDialog::samplingChosen, this, [this](const ui::SamplingChoice& choice) {
    settings_.setSampling(choice);
    // A conversation that has not begun is a new one.
    if (!chat_->conversation()->isEmpty()) return;
    composer_->sampling()->setChoice(choice);
    emit composer_->sampling()->changed();
  });
  connect(&dialog, &ui::SettingsDialog::openDataRequested, this,
          [this] { QDesktopServices::openUrl(QUrl::fromLocalFile(paths_.data)); });
  // Both ask or tell something over the window: the dialog is in the way.
  connect(&dialog, &ui::SettingsDialog::backupRequested, &dialog, [this, &dialog] {
    dialog.accept();
    backUp();
  });
  connect(&dialog, &ui::SettingsDialog::wipeRequested, &dialog, [this, &dialog] {
    dialog.accept();
    wipeData();
  });
  dialog.exec();
}

void MainWindow::backUp() {
  const QString file = QFileDialog::getSaveFileName(
      this, tr("Back up all sessions"), QStringLiteral("eyrie-backup.db"), tr("SQLite database (*.db)"));
  if (file.isEmpty()) return;
  sessions_.backup(file, [this, file](const QString& error) {
    notice()->showNotice(error.isEmpty() ? ui::NoticeBar::Kind::note : ui::NoticeBar::Kind::error,
                         error.isEmpty() ? tr("Backup written to %1").arg(file) : error, {}, {},
                         error.isEmpty() ? 8000 : 0);
  });
}

void MainWindow::fillDataMenu(QMenu* menu) {
  connect(menu->addAction(tr("Open the data folder")), &QAction::triggered, this,
          [this] { QDesktopServices::openUrl(QUrl::fromLocalFile(paths_.data)); });
  connect(menu->addAction(tr("Back up all sessions…")), &QAction::triggered, this, &MainWindow::backUp);
  connect(menu->addAction(tr("How to move it…")), &QAction::triggered, this, [this] {
    notice()->showNotice(ui::NoticeBar::Kind::note, tr("Close Eyrie and move %1 to the other machine or "
                                                       "folder; XDG_DATA_HOME or --profile says where it is.")
                                                        .arg(paths_.data));
  });
  menu->addSeparator();
  connect(menu->addAction(tr("Delete all sessions…")), &QAction::triggered, this, [this] { wipeData(); });
}

void MainWindow::wipeData() {
  QMessageBox box(QMessageBox::Warning, tr("Delete all sessions"),
                  tr("Every conversation in %1 will be deleted. This cannot be undone.").arg(paths_.data),
                  QMessageBox::Cancel, this);
  QPushButton* erase = box.addButton(tr("Delete everything"), QMessageBox::DestructiveRole);
  box.setDefaultButton(QMessageBox::Cancel);
  box.exec();
  if (box.clickedButton() != static_cast<QAbstractButton*>(erase)) return;
  chat_->newSession();
  compare_->clear();
  sessions_.wipe([this](const QString& error) {
    notice()->showNotice(error.isEmpty() ? ui::NoticeBar::Kind::note : ui::NoticeBar::Kind::error,
                         error.isEmpty() ? tr("All sessions are deleted.") : error, {}, {},
                         error.isEmpty() ? 6000 : 0);
  });
}

}  // namespace eyrie::app
