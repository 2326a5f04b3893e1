#include "ui/imgui/imgui_host.h"

#include <backends/imgui_impl_opengl3.h>
#include <imgui.h>

#include <QElapsedTimer>
#include <QHoverEvent>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QOpenGLContext>
#include <QOpenGLFunctions>
#include <QTimer>
#include <QWheelEvent>
#include <algorithm>
#include <array>
#include <deque>

#include "ui/imgui/imgui_style.h"

namespace eyrie::ui {
namespace {

constexpr int kFramesAfterInput = 2;
constexpr float kOffScreen = -1e6F;

// Dear ImGui 1.86 looks at the state of the mouse once a frame: a press and its release must reach it in
// different frames, so inputs wait in a queue.
struct Input {
  enum class Kind { move, button, wheel, leave } kind;
  QPointF place;
  int button = 0;
  bool down = false;
  QPointF wheel;
  Qt::KeyboardModifiers modifiers;
};

int buttonIndex(Qt::MouseButton button) {
  if (button == Qt::LeftButton) return 0;
  if (button == Qt::RightButton) return 1;
  return button == Qt::MiddleButton ? 2 : -1;
}

}  // namespace

struct ImGuiHost::Impl {
  ImGuiContext* context = nullptr;
  QMetaObject::Connection contextLoss;
  std::deque<Input> inputs;
  QElapsedTimer clock;
  double fontRatio = 0;
  bool fontDark = false;
  bool rendererReady = false;
  int framesOwed = 0;

  void enter() const { ImGui::SetCurrentContext(context); }
};

ImGuiHost::ImGuiHost(QWidget* parent) : QOpenGLWidget(parent), impl_(std::make_unique<Impl>()) {
  QSurfaceFormat format = QSurfaceFormat::defaultFormat();
  format.setRenderableType(QSurfaceFormat::OpenGL);
  format.setVersion(3, 3);
  format.setProfile(QSurfaceFormat::CoreProfile);
  format.setSwapInterval(1);
  setFormat(format);
  setMouseTracking(true);
  setFocusPolicy(Qt::NoFocus);  // the view around it has the keyboard
  impl_->context = ImGui::CreateContext();
  impl_->enter();
  ImGuiIO& io = ImGui::GetIO();
  io.IniFilename = nullptr;  // Qt keeps the layout
  io.LogFilename = nullptr;
  io.BackendPlatformName = "eyrie_qt";
  impl_->clock.start();
}

ImGuiHost::~ImGuiHost() {
  releaseGl();
  impl_->enter();
  ImGui::DestroyContext(impl_->context);
  ImGui::SetCurrentContext(nullptr);
}

void ImGuiHost::releaseGl() {
  // aboutToBeDestroyed fires again from ~QOpenGLWidget, when this object is gone: disconnect first.
  disconnect(impl_->contextLoss);
  if (!impl_->rendererReady || !context()) return;
  makeCurrent();
  impl_->enter();
  glLost();
  ImGui_ImplOpenGL3_Shutdown();
  impl_->rendererReady = false;
  doneCurrent();
}

void ImGuiHost::giveUp(const QString& reason) {
  if (!failure_.isEmpty()) return;
  failure_ = reason;
  // Not from within painting: the receiver may delete or hide this widget.
  QTimer::singleShot(0, this, [this] { emit failed(failure_); });
}

void ImGuiHost::initializeGL() {
  const QSurfaceFormat actual = context()->format();
  if (context()->isOpenGLES() || actual.majorVersion() < 3) {
    giveUp(tr("OpenGL %1.%2 is not enough: 3.0 is needed.")
               .arg(actual.majorVersion())
               .arg(actual.minorVersion()));
    return;
  }
  impl_->enter();
  if (!ImGui_ImplOpenGL3_Init(actual.version() >= qMakePair(3, 2) ? "#version 150" : "#version 130")) {
    giveUp(tr("The OpenGL functions could not be loaded."));
    return;
  }
  impl_->rendererReady = true;
  impl_->fontRatio = 0;
  impl_->contextLoss = connect(context(), &QOpenGLContext::aboutToBeDestroyed, this, [this] { releaseGl(); });
  glReady();
}

void ImGuiHost::paintGL() {
  if (!impl_->rendererReady) return;
  impl_->enter();
  const Theme& theme = Theme::current();
  const double ratio = devicePixelRatioF();
  ImGuiIO& io = ImGui::GetIO();
  if (impl_->fontRatio != ratio) {
    ImGui_ImplOpenGL3_DestroyFontsTexture();
    loadImGuiFonts(ratio);
    ImGui_ImplOpenGL3_CreateFontsTexture();
    impl_->fontRatio = ratio;
    impl_->fontDark = !theme.dark;
  }
  if (impl_->fontDark != theme.dark) applyImGuiStyle(theme);
  impl_->fontDark = theme.dark;
  io.DisplaySize = ImVec2(static_cast<float>(width()), static_cast<float>(height()));
  io.DisplayFramebufferScale = ImVec2(static_cast<float>(ratio), static_cast<float>(ratio));
  const double seconds = static_cast<double>(impl_->clock.nsecsElapsed()) * 1e-9;
  impl_->clock.restart();
  io.DeltaTime = static_cast<float>(std::clamp(seconds, 1e-3, 1e-1));
  applyInput();
  ImGui_ImplOpenGL3_NewFrame();
  ImGui::NewFrame();
  frame();
  ImGui::Render();
  QOpenGLFunctions* gl = context()->functions();
  const QColor ground = theme.window;
  gl->glClearColor(ground.redF(), ground.greenF(), ground.blueF(), 1);
  gl->glClear(GL_COLOR_BUFFER_BIT);
  ImGui_ImplOpenGL3_RenderDrawData(ImGui::GetDrawData());
  ++frames_;
  if (!impl_->inputs.empty()) {
    impl_->framesOwed = kFramesAfterInput;
  } else if (impl_->framesOwed > 0) {
    --impl_->framesOwed;
  } else {
    return;
  }
  update();
}

void ImGuiHost::applyInput() {
  ImGuiIO& io = ImGui::GetIO();
  io.MouseWheel = 0;
  io.MouseWheelH = 0;
  std::array<bool, 3> changed = {};
  while (!impl_->inputs.empty()) {
    const Input input = impl_->inputs.front();
    if (input.kind == Input::Kind::button) {
      const auto index = static_cast<std::size_t>(input.button);
      if (changed[index]) break;  // its release waits for the next frame
      changed[index] = true;
      io.MouseDown[input.button] = input.down;
    } else if (std::find(changed.begin(), changed.end(), true) != changed.end()) {
      break;  // a click happens where it was made
    }
    impl_->inputs.pop_front();
    io.MousePos = ImVec2(static_cast<float>(input.place.x()), static_cast<float>(input.place.y()));
    io.KeyCtrl = input.modifiers.testFlag(Qt::ControlModifier);
    io.KeyShift = input.modifiers.testFlag(Qt::ShiftModifier);
    io.KeyAlt = input.modifiers.testFlag(Qt::AltModifier);
    io.MouseWheel += static_cast<float>(input.wheel.y());
    io.MouseWheelH += static_cast<float>(input.wheel.x());
  }
}

void ImGuiHost::queueButton(Qt::MouseButton button, bool down, QPointF place) {
  const int index = buttonIndex(button);
  if (index < 0) return;
  impl_->inputs.push_back({Input::Kind::button, place, index, down, {}, {}});
}

bool ImGuiHost::event(QEvent* event) {
  // Positions come from events, never from the cursor: Wayland does not tell.
  switch (event->type()) {
    case QEvent::MouseButtonPress:
    case QEvent::MouseButtonDblClick:
    case QEvent::MouseButtonRelease: {
      const auto* mouse = static_cast<QMouseEvent*>(event);
      queueButton(mouse->button(), event->type() != QEvent::MouseButtonRelease, mouse->position());
      break;
    }
    case QEvent::MouseMove: {
      const auto* mouse = static_cast<QMouseEvent*>(event);
      if (!impl_->inputs.empty() && impl_->inputs.back().kind == Input::Kind::move)
        impl_->inputs.pop_back();  // only the last of a row of moves matters
      impl_->inputs.push_back({Input::Kind::move, mouse->position(), 0, false, {}, mouse->modifiers()});
      break;
    }
    case QEvent::Leave:
      impl_->inputs.push_back({Input::Kind::leave, {kOffScreen, kOffScreen}, 0, false, {}, {}});
      break;
    case QEvent::Wheel: {
      const auto* wheel = static_cast<QWheelEvent*>(event);
      constexpr double kNotch = 120;
      constexpr double kPixelsPerNotch = 60;
      const QPointF notches = wheel->pixelDelta().isNull() ? QPointF(wheel->angleDelta()) / kNotch
                                                           : QPointF(wheel->pixelDelta()) / kPixelsPerNotch;
      impl_->inputs.push_back({Input::Kind::wheel, wheel->position(), 0, false, notches, wheel->modifiers()});
      break;
    }
    default:
      return QOpenGLWidget::event(event);
  }
  impl_->framesOwed = kFramesAfterInput;
  update();
  event->accept();
  // Keep Qt's own handling of focus and hovering, but let the widget have the event.
  return true;
}

}  // namespace eyrie::ui
