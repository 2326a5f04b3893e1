#include "ui/inspect/inspector_widget.h"

#include <imgui.h>

#include <QAction>
#include <QApplication>
#include <QContextMenuEvent>
#include <QDialog>
#include <QKeyEvent>
#include <QLabel>
#include <QMenu>
#include <QMouseEvent>
#include <QPainter>
#include <QTimer>
#include <QVBoxLayout>
#include <QWheelEvent>

#include "ui/imgui/imgui_backend.h"
#include "ui/imgui/imgui_host.h"
#include "ui/inspect/value_table.h"
#include "ui/plot/painter_backend.h"

namespace eyrie::ui {
namespace {

constexpr int kLeastMillisecondsBetweenFrames = 16;

// Ground and outline of a card; its list comes on top.
DrawList cardGround(const InspectorScene::Card& card) {
  const Theme& theme = Theme::current();
  DrawList list;
  list.rect(QRectF(QPointF(), card.rect.size()), theme.panel, metrics::kPanelRadius, theme.line);
  return list;
}

bool visible(const InspectorScene::Card& card, double scroll, QSize size) {
  return card.rect.translated(0, -scroll).intersects(QRectF(QPointF(), size));
}

}  // namespace

class InspectorWidget::GlSurface final : public ImGuiHost {
 public:
  explicit GlSurface(InspectorWidget* owner) : ImGuiHost(owner), owner_(*owner) {}
  ~GlSurface() override { releaseGl(); }

 protected:
  void glReady() override { textures_ = std::make_unique<GlTextures>(); }
  void glLost() override { textures_.reset(); }

  void frame() override {
    const ImGuiIO& io = ImGui::GetIO();
    Pointer pointer;
    pointer.place = QPointF(static_cast<double>(io.MousePos.x), static_cast<double>(io.MousePos.y));
    pointer.pressed = ImGui::IsMouseClicked(ImGuiMouseButton_Left);
    pointer.down = ImGui::IsMouseDown(ImGuiMouseButton_Left);
    pointer.wheel = static_cast<double>(io.MouseWheel);
    pointer.wheelSideways = static_cast<double>(io.MouseWheelH);
    pointer.zooms = io.KeyCtrl;
    owner_.pointed(pointer);
    const double ratio = devicePixelRatioF();
    textures_->startFrame(ratio);
    InspectorScene& scene = owner_.scene_;
    ImDrawList& target = *ImGui::GetBackgroundDrawList();
    target._FringeScale = static_cast<float>(1 / ratio);  // edges soften over a physical pixel
    for (const InspectorScene::Card& card : scene.prepare(size())) {
      if (!visible(card, scene.scroll(), size())) continue;
      const QPointF origin = card.rect.topLeft() - QPointF(0, scene.scroll());
      drawImGui(target, cardGround(card), origin, *textures_, ratio);
      drawImGui(target, card.list, origin, *textures_, ratio);
    }
    drawImGui(target, owner_.overlay(), {}, *textures_, ratio);
    ++owner_.frames_;
  }

 private:
  InspectorWidget& owner_;
  std::unique_ptr<GlTextures> textures_;
};

class InspectorWidget::PaintedSurface final : public QWidget {
 public:
  explicit PaintedSurface(InspectorWidget* owner) : QWidget(owner), owner_(*owner) { setMouseTracking(true); }

 protected:
  void paintEvent(QPaintEvent*) override {
    QPainter painter(this);
    painter.fillRect(rect(), Theme::current().window);
    InspectorScene& scene = owner_.scene_;
    for (const InspectorScene::Card& card : scene.prepare(size())) {
      if (!visible(card, scene.scroll(), size())) continue;
      painter.save();
      painter.translate(card.rect.topLeft() - QPointF(0, scene.scroll()));
      paintDrawList(painter, cardGround(card));
      paintDrawList(painter, card.list);
      painter.restore();
    }
    paintDrawList(painter, owner_.overlay());
    ++owner_.frames_;
  }

  bool event(QEvent* event) override {
    Pointer pointer = last_;
    pointer.pressed = false;
    pointer.wheel = pointer.wheelSideways = 0;
    switch (event->type()) {
      case QEvent::MouseButtonPress:
      case QEvent::MouseMove:
      case QEvent::MouseButtonRelease: {
        const auto* mouse = static_cast<QMouseEvent*>(event);
        if (event->type() != QEvent::MouseMove && mouse->button() != Qt::LeftButton)
          return QWidget::event(event);
        pointer.place = mouse->position();
        pointer.pressed = event->type() == QEvent::MouseButtonPress;
        pointer.down = mouse->buttons().testFlag(Qt::LeftButton);
        if (pointer.pressed) owner_.setFocus(Qt::MouseFocusReason);
        break;
      }
      case QEvent::Wheel: {
        const auto* wheel = static_cast<QWheelEvent*>(event);
        pointer.wheel = wheel->angleDelta().y() / 120.0;
        pointer.wheelSideways = wheel->angleDelta().x() / 120.0;
        pointer.zooms = wheel->modifiers().testFlag(Qt::ControlModifier);
        break;
      }
      case QEvent::Leave:
        pointer = {};
        break;
      default:
        return QWidget::event(event);
    }
    last_ = pointer;
    owner_.pointed(pointer);
    update();
    return true;
  }

 private:
  InspectorWidget& owner_;
  Pointer last_;
};

InspectorWidget::InspectorWidget(QWidget* parent) : QWidget(parent) {
  setObjectName(QStringLiteral("inspector"));
  setFocusPolicy(Qt::StrongFocus);
  setAccessibleName(tr("Inspector"));
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(0, 0, 0, 0);
  layout->setSpacing(0);
  notice_ = new QLabel(this);
  notice_->setProperty("role", "warning");
  notice_->setWordWrap(true);
  notice_->setContentsMargins(metrics::kPanelPadding, metrics::kGroup, metrics::kPanelPadding, 0);
  notice_->hide();
  layout->addWidget(notice_);
  // A QOpenGLWidget brings the offscreen platform down.
  if (QGuiApplication::platformName() == QLatin1String("offscreen") ||
      qEnvironmentVariableIsSet("EYRIE_NO_OPENGL")) {
    surface_ = new PaintedSurface(this);
  } else {
    gl_ = new GlSurface(this);
    surface_ = gl_;
    connect(gl_, &ImGuiHost::failed, this, &InspectorWidget::paintInstead);
  }
  layout->addWidget(surface_, 1);
  pace_ = new QTimer(this);
  pace_->setSingleShot(true);
  pace_->setInterval(kLeastMillisecondsBetweenFrames);
  connect(pace_, &QTimer::timeout, this, [this] {
    surface_->update();
    setAccessibleDescription(scene_.description());
  });
  connect(&scene_, &InspectorScene::changed, this, &InspectorWidget::requestFrame);
  addShortcuts();
}

InspectorWidget::~InspectorWidget() {
  delete surface_;
}

bool InspectorWidget::usesOpenGl() const {
  return gl_ != nullptr;
}

void InspectorWidget::paintInstead(const QString& reason) {
  if (!gl_) return;
  notice_->setText(tr("OpenGL cannot be used, so these views are drawn more slowly. %1").arg(reason));
  notice_->show();
  auto* painted = new PaintedSurface(this);
  layout()->replaceWidget(gl_, painted);
  gl_->hide();
  gl_->deleteLater();
  gl_ = nullptr;
  surface_ = painted;
  painted->show();
}

void InspectorWidget::setRun(InspectedRun* run) {
  scene_.setRun(run);
}
void InspectorWidget::setSelection(Selection* selection) {
  scene_.setSelection(selection);
}
void InspectorWidget::setTimeRange(TimeRange* range) {
  scene_.setTimeRange(range);
}

QStringList InspectorWidget::viewNames() const {
  QStringList names;
  for (int i = 0; i < kViewKinds; ++i) names << viewName(static_cast<ViewKind>(i));
  return names;
}

DrawList InspectorWidget::overlay() const {
  DrawList list = scene_.overlay();
  if (ring_ && hasFocus())
    list.frame(QRectF(surface_->rect()).adjusted(2, 2, -2, -2), Theme::current().accent,
               metrics::kPanelRadius);
  return list;
}

void InspectorWidget::focusInEvent(QFocusEvent* event) {
  QWidget::focusInEvent(event);
  ring_ = event->reason() == Qt::TabFocusReason || event->reason() == Qt::BacktabFocusReason ||
          event->reason() == Qt::ShortcutFocusReason;
  requestFrame();
}

void InspectorWidget::focusOutEvent(QFocusEvent* event) {
  QWidget::focusOutEvent(event);
  requestFrame();
}

void InspectorWidget::requestFrame() {
  if (!pace_->isActive()) pace_->start();
}

void InspectorWidget::pointed(const Pointer& pointer) {
  for (const InspectorScene::Card& card : scene_.prepare(surface_->size()))
    if (card.rect.contains(pointer.place + QPointF(0, scene_.scroll()))) current_ = card.kind;
  if (pointer.pressed && !hasFocus()) setFocus(Qt::MouseFocusReason);
  if (scene_.point(pointer)) requestFrame();
}

void InspectorWidget::addShortcuts() {
  const auto add = [&](const QString& text, const QKeySequence& key, auto slot) {
    auto* action = new QAction(text, this);
    action->setShortcut(key);
    action->setShortcutContext(Qt::WidgetWithChildrenShortcut);
    connect(action, &QAction::triggered, this, slot);
    addAction(action);
  };
  for (int i = 0; i < kGateQuantities; ++i) {
    const auto quantity = static_cast<GateQuantity>(i);
    add(tr("Show %1").arg(gateQuantityName(quantity)), QKeySequence(Qt::Key_1 + i),
        [this, quantity] { scene_.setQuantity(quantity); });
  }
  add(tr("Sort channels by half-life"), QKeySequence(Qt::Key_S),
      [this] { scene_.setSorted(!scene_.state().sortByHalfLife); });
  const auto step = [this](int by) {
    Selection& selection = *scene_.selection();
    const std::vector<int> layers = recurrentLayers(scene_.run()->trace.config());
    selection.selectRecurrentLayer(neighbourLayer(layers, shownRecurrentLayer(*scene_.run(), selection), by));
  };
  add(tr("Previous recurrent layer"), QKeySequence(Qt::Key_Up), [step] { step(-1); });
  add(tr("Next recurrent layer"), QKeySequence(Qt::Key_Down), [step] { step(1); });
}

void InspectorWidget::keyPressEvent(QKeyEvent* event) {
  Selection& selection = *scene_.selection();
  const std::int64_t size = scene_.run()->trace.size();
  const std::int64_t token = shownToken(*scene_.run(), selection);
  const std::int64_t step = event->modifiers().testFlag(Qt::ShiftModifier) ? 10 : 1;
  switch (event->key()) {
    case Qt::Key_Left:
      selection.selectToken(std::max<std::int64_t>(0, token - step));
      break;
    case Qt::Key_Right:
      selection.selectToken(std::min(size - 1, token + step));
      break;
    case Qt::Key_Home:
      if (size > 0) selection.selectToken(0);
      break;
    case Qt::Key_End:
      selection.selectToken(-1);
      break;
    default:
      QWidget::keyPressEvent(event);
      return;
  }
  event->accept();
}

void InspectorWidget::contextMenuEvent(QContextMenuEvent* event) {
  QMenu menu(this);
  const ViewKind kind = current_;
  menu.addAction(tr("Export “%1”…").arg(viewName(kind)), this, [this, kind] { emit exportRequested(kind); });
  menu.addAction(tr("Show “%1” as a table").arg(viewName(kind)), this, [this, kind] { showTable(kind); });
  menu.addSeparator();
  menu.addActions(actions());
  menu.exec(event->globalPos());
}

void InspectorWidget::showTable(ViewKind kind) {
  auto* dialog = new ValueTableDialog(kind, *scene_.run(), *scene_.selection(), this);
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->show();
}

void InspectorWidget::resizeEvent(QResizeEvent* event) {
  QWidget::resizeEvent(event);
  requestFrame();
}

void InspectorWidget::changeEvent(QEvent* event) {
  QWidget::changeEvent(event);
  if (event->type() == QEvent::PaletteChange || event->type() == QEvent::StyleChange ||
      event->type() == QEvent::LanguageChange)
    requestFrame();
}

}  // namespace eyrie::ui
