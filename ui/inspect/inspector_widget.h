// The inspector: live views of gates, attention, norms and memory in one panel. Drawn by Dear ImGui on
// OpenGL; by QPainter where there is no OpenGL 3, with a line that says so. GUI thread only.
#pragma once

#include <QWidget>

#include "ui/inspect/inspector_scene.h"

class QAction;
class QLabel;
class QTimer;

namespace eyrie::ui {

class InspectorWidget final : public QWidget {
  Q_OBJECT
 public:
  explicit InspectorWidget(QWidget* parent = nullptr);
  ~InspectorWidget() override;

  // Not owned; must outlive the widget or be replaced by null first.
  void setRun(InspectedRun* run);
  void setSelection(Selection* selection);
  void setTimeRange(TimeRange* range);  // the timeline's, so that both show the same tokens
  InspectorScene& scene() { return scene_; }

  // Every view, by the names of viewName.
  QStringList viewNames() const;
  bool exportView(ViewKind kind, const QString& file) { return scene_.save(kind, file); }
  // The view last pointed at.
  ViewKind currentView() const { return current_; }
  bool exportCurrentView(const QString& file) { return exportView(current_, file); }
  // The numbers a view shows, as a table in a dialog.
  void showTable(ViewKind kind);

  bool usesOpenGl() const;
  std::int64_t frames() const { return frames_; }
  QSize sizeHint() const override { return {760, 700}; }
  QSize minimumSizeHint() const override { return {320, 240}; }

 signals:
  void exportRequested(ViewKind kind);  // from the context menu: the app asks for a file name

 protected:
  void keyPressEvent(QKeyEvent* event) override;
  void contextMenuEvent(QContextMenuEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;
  void changeEvent(QEvent* event) override;
  void focusInEvent(QFocusEvent* event) override;
  void focusOutEvent(QFocusEvent* event) override;

 private:
  class GlSurface;
  class PaintedSurface;
  void paintInstead(const QString& reason);
  void requestFrame();
  void pointed(const Pointer& pointer);
  void addShortcuts();
  DrawList overlay() const;  // the scene's, and the focus ring

  InspectorScene scene_;
  GlSurface* gl_ = nullptr;
  QWidget* surface_ = nullptr;
  QLabel* notice_ = nullptr;
  QTimer* pace_ = nullptr;
  ViewKind current_ = ViewKind::gates;
  std::int64_t frames_ = 0;
  bool ring_ = false;  // the keyboard brought the focus here
};

}  // namespace eyrie::ui
