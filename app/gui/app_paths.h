// Where this run keeps its things: the profile given on the command line, else the XDG folders.
#pragma once

#include <QString>

namespace eyrie::app {

struct AppPaths {
  QString settings;  // INI file
  QString store;     // sessions.db
  QString data;      // folder of the store
  QString log;       // file

  // `profile` empty: $XDG_CONFIG_HOME/eyrie, $XDG_DATA_HOME/eyrie, $XDG_CACHE_HOME/eyrie. Makes the folders.
  static AppPaths of(const QString& profile);
};

// Rotating log, 3 files of 1 MB. Qt's own messages go there as well.
void startLog(const QString& file);

}  // namespace eyrie::app
