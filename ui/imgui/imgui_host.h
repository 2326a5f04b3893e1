// A QOpenGLWidget with one Dear ImGui context of its own. Subclasses draw in frame(); everything between Qt
// and ImGui (input, scale, fonts, colours, life of GL objects) is here. GUI thread only.
//
// Set Qt::AA_ShareOpenGLContexts before QApplication: then docking and floating keep the GL objects. Without
// it they are rebuilt. The widget repaints when update() is called, when input arrives, and for two frames
// after input; it has no loop of its own.
#pragma once

#include <QOpenGLWidget>
#include <memory>

struct ImGuiContext;

namespace eyrie::ui {

class ImGuiHost : public QOpenGLWidget {
  Q_OBJECT
 public:
  explicit ImGuiHost(QWidget* parent = nullptr);
  ~ImGuiHost() override;

  // Why nothing can be drawn; empty while all is well.
  QString failure() const { return failure_; }
  // Frames drawn since construction.
  std::int64_t frames() const { return frames_; }

 signals:
  void failed(const QString& reason);  // no OpenGL 3: the parent shows something else

 protected:
  // Between ImGui::NewFrame and Render; the context is current in both senses.
  virtual void frame() = 0;
  // GL objects of the subclass: made in glReady (again after a context loss), freed in glLost. A subclass
  // that has any calls releaseGl() in its own destructor, while its glLost is still there to be called.
  virtual void glReady() {}
  virtual void glLost() {}
  void releaseGl();

  void initializeGL() final;
  void paintGL() final;
  bool event(QEvent* event) override;

 private:
  struct Impl;
  void giveUp(const QString& reason);
  void queueButton(Qt::MouseButton button, bool down, QPointF place);
  void applyInput();

  std::unique_ptr<Impl> impl_;
  QString failure_;
  std::int64_t frames_ = 0;
};

}  // namespace eyrie::ui
