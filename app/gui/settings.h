// What the window remembers between starts. An INI file; its schema is versioned.
#pragma once

#include <QByteArray>
#include <QSettings>
#include <QStringList>

#include "ui/theme/theme.h"
#include "ui/widgets/sampling_panel.h"
#include "ui/widgets/trace_export_dialog.h"

namespace eyrie::app {

class Settings {
 public:
  explicit Settings(const QString& file);

  ui::ThemeMode theme() const;
  void setTheme(ui::ThemeMode mode);
  QString layout() const;  // "chat", "inspect"
  void setLayout(const QString& name);
  QByteArray layoutState(const QString& name) const;
  void setLayoutState(const QString& name, const QByteArray& state);
  void forgetLayouts();
  QByteArray geometry() const;
  void setGeometry(const QByteArray& geometry);
  QStringList recentModels() const;  // newest first
  void addRecentModel(const QString& model);
  QString weights() const;  // the dtype that weights were last converted to; empty: as stored
  void setWeights(const QString& dtype);
  double proseSize() const;  // of the conversation's words, pixels
  void setProseSize(double pixels);
  ui::TraceExportChoice traceExport() const;  // as it was last chosen; layers are the model's, not kept
  void setTraceExport(const ui::TraceExportChoice& choice);
  // What new conversations begin with.
  ui::SamplingChoice sampling() const;
  void setSampling(const ui::SamplingChoice& choice);
  int traceLevel() const;  // -1: by the model's size; else engine::TraceLevel
  void setTraceLevel(int level);
  bool panelsLocked() const;
  void setPanelsLocked(bool locked);

 private:
  QSettings ini_;
};

}  // namespace eyrie::app
