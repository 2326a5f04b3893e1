#include "app/gui/app_paths.h"

#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/spdlog.h>

#include <QDir>
#include <QFileInfo>
#include <QStandardPaths>

#include "sessions/store/session_store.h"

namespace eyrie::app {

namespace {

void toLog(QtMsgType type, const QMessageLogContext&, const QString& text) {
  const auto level = type == QtDebugMsg || type == QtInfoMsg ? spdlog::level::info
                     : type == QtWarningMsg                  ? spdlog::level::warn
                                                             : spdlog::level::err;
  spdlog::log(level, "qt: {}", text.toStdString());
}

}  // namespace

AppPaths AppPaths::of(const QString& profile) {
  AppPaths paths;
  if (!profile.isEmpty()) {
    const QDir folder(QDir(profile).absolutePath());
    paths = {folder.filePath(QStringLiteral("eyrie.ini")), folder.filePath(QStringLiteral("sessions.db")),
             folder.path(), folder.filePath(QStringLiteral("eyrie.log"))};
  } else {
    const QString config = QStandardPaths::writableLocation(QStandardPaths::GenericConfigLocation);
    const QString cache = QStandardPaths::writableLocation(QStandardPaths::GenericCacheLocation);
    paths.settings = config + QStringLiteral("/eyrie/eyrie.ini");
    paths.store = QString::fromStdString(sessions::defaultStorePath().string());
    paths.data = QFileInfo(paths.store).path();
    paths.log = cache + QStringLiteral("/eyrie/eyrie.log");
  }
  for (const QString& file : {paths.settings, paths.store, paths.log}) QDir().mkpath(QFileInfo(file).path());
  return paths;
}

void startLog(const QString& file) {
  try {
    auto logger = spdlog::rotating_logger_mt("eyrie", file.toStdString(), 1 << 20, 3);
    logger->flush_on(spdlog::level::info);
    spdlog::set_default_logger(logger);
  } catch (const spdlog::spdlog_ex& error) {
    // A read-only folder is no reason not to start; messages go to standard error instead.
    spdlog::warn("no log file: {}", error.what());
  }
  qInstallMessageHandler(toLog);
}

}  // namespace eyrie::app
