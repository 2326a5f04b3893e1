#include "ui/inspect/inspector_scene.h"

#include <QTimer>
#include <algorithm>
#include <chrono>
#include <cmath>

#include "ui/plot/painter_backend.h"

namespace eyrie::ui {
namespace {

constexpr double kMargin = metrics::kPanelPadding;
constexpr double kGap = metrics::kPanelPadding;
constexpr double kWheelStep = 60;
constexpr double kTwoColumns = 560;  // narrower, cards stand one under another

// Least heights of the four rows, and how they share what is left.
constexpr double kLeast[] = {132, 196, 172, 112};
constexpr double kWeight[] = {0.4, 2, 1.4, 0.4};

}  // namespace

// What a prepared list depends on. Equal keys, equal pictures.
struct InspectorScene::Key {
  std::uint64_t revision = 0;
  const void* run = nullptr;
  std::int64_t token = -1;
  std::int64_t hovered = -1;
  int recurrentLayer = -1;
  int attentionLayer = -1;
  QSizeF size;
  TimeSpan time;
  bool dark = false;
  GateQuantity quantity = GateQuantity::halfLife;
  bool sorted = true;
  double halfLifeTop = 0;
  double writeTop = 0;
  double normTop = 0;
  bool operator==(const Key&) const = default;
};

InspectorScene::InspectorScene(QObject* parent)
    : QObject(parent),
      noRun_(std::make_unique<InspectedRun>()),
      noSelection_(std::make_unique<Selection>()),
      ownRange_(std::make_unique<TimeRange>()) {
  for (int i = 0; i < kViewKinds; ++i) {
    const auto index = static_cast<std::size_t>(i);
    cards_[index].kind = static_cast<ViewKind>(i);
    views_[index] = makeView(cards_[index].kind);
  }
  clock_.start();
  run_ = noRun_.get();
  selection_ = noSelection_.get();
  range_ = ownRange_.get();
  attach();
}

InspectorScene::~InspectorScene() {
  detach();
}

void InspectorScene::attach() {
  connect(run_, &InspectedRun::traceChanged, this, &InspectorScene::runChanged);
  connect(run_, &InspectedRun::modelChanged, this, [this] {
    forget();
    runChanged();
  });
  // Whoever owns them may go first.
  connect(run_, &QObject::destroyed, this, [this] { setRun(nullptr); });
  connect(selection_, &QObject::destroyed, this, [this] { setSelection(nullptr); });
  connect(range_, &QObject::destroyed, this, [this] { setTimeRange(nullptr); });
  connect(selection_, &Selection::changed, this, [this] {
    range_->reveal(selection_->token());
    if (selection_->token() < 0) range_->follow();
    emit changed();
  });
  connect(selection_, &Selection::hoverChanged, this, &InspectorScene::changed);
  connect(range_, &TimeRange::changed, this, &InspectorScene::changed);
}

void InspectorScene::detach() {
  for (QObject* object :
       {static_cast<QObject*>(run_), static_cast<QObject*>(selection_), static_cast<QObject*>(range_)})
    if (object) disconnect(object, nullptr, this, nullptr);
}

// Another model: nothing of the old pictures, ranges or read-outs may be asked again.
void InspectorScene::forget() {
  for (auto& key : keys_) key.reset();
  for (Card& card : cards_) card.list = {};
  state_.halfLifeTop = ViewState().halfLifeTop;
  state_.writeTop = state_.normTop = 1;
  hover_ = {};
  hoveredCard_ = draggedCard_ = -1;
}

void InspectorScene::setRun(InspectedRun* run) {
  detach();
  run_ = run ? run : noRun_.get();
  attach();
  forget();
  runChanged();
}

void InspectorScene::setSelection(Selection* selection) {
  detach();
  selection_ = selection ? selection : noSelection_.get();
  attach();
  emit changed();
}

void InspectorScene::setTimeRange(TimeRange* range) {
  detach();
  range_ = range ? range : ownRange_.get();
  attach();
  runChanged();
}

void InspectorScene::runChanged() {
  range_->setSize(run_->trace.size());
  emit changed();
}

void InspectorScene::setQuantity(GateQuantity quantity) {
  act({ActionKind::setQuantity, static_cast<int>(quantity)});
}

void InspectorScene::setSorted(bool sorted) {
  if (sorted != state_.sortByHalfLife) act({ActionKind::toggleSort, 0});
}

void InspectorScene::arrange(QSizeF viewport) {
  const double width = viewport.width() - 2 * kMargin;
  const bool two = width >= kTwoColumns;
  double heights[4];
  double least = 2 * kMargin + 3 * kGap;
  double weights = 0;
  for (int i = 0; i < 4; ++i) {
    least += kLeast[i];
    weights += kWeight[i];
  }
  // Many layers need room for their rows before the rest is shared out.
  const auto layers = static_cast<double>(recurrentLayers(run_->trace.config()).size());
  const double gates = std::clamp(card::kHeader + layers * 17 + 48, kLeast[0], 220.0) - kLeast[0];
  const double spare = two ? std::max(0.0, viewport.height() - least - gates) : 0;
  for (int i = 0; i < 4; ++i) heights[i] = std::floor(kLeast[i] + spare * kWeight[i] / weights);
  heights[0] += std::floor(gates);
  double y = kMargin;
  const auto place = [&](ViewKind kind, double x, double w, double h) {
    cards_[static_cast<std::size_t>(kind)].rect = QRectF(x, y, w, h);
  };
  const auto pair = [&](ViewKind left, ViewKind right, double height) {
    const double half = std::floor((width - kGap) / 2);
    place(left, kMargin, two ? half : width, height);
    if (!two) y += height + kGap;
    place(right, two ? kMargin + half + kGap : kMargin, two ? width - half - kGap : width, height);
    y += height + kGap;
  };
  place(ViewKind::gates, kMargin, width, heights[0]);
  y += heights[0] + kGap;
  pair(ViewKind::layerOverTime, ViewKind::attention, heights[1]);
  pair(ViewKind::norms, ViewKind::horizon, heights[2]);
  place(ViewKind::share, kMargin, width, heights[3]);
  contentHeight_ = y + heights[3] + kMargin;
  scroll_ = std::clamp(scroll_, 0.0, std::max(0.0, contentHeight_ - viewport.height()));
}

InspectorScene::Key InspectorScene::keyOf(ViewKind kind, QSizeF size) const {
  Key key;
  key.revision = run_->trace.revision();
  key.run = run_;
  key.token = selection_->token();
  key.recurrentLayer = selection_->recurrentLayer();
  key.attentionLayer = selection_->attentionLayer();
  key.size = size;
  key.dark = Theme::current().dark;
  key.quantity = state_.quantity;
  key.sorted = state_.sortByHalfLife;
  key.halfLifeTop = state_.halfLifeTop;
  key.writeTop = state_.writeTop;
  const bool timeAxis = kind == ViewKind::layerOverTime || kind == ViewKind::norms || kind == ViewKind::share;
  if (timeAxis) key.time = range_->span();
  if (kind == ViewKind::attention) key.hovered = selection_->hovered();
  if (kind == ViewKind::norms) key.normTop = state_.normTop;
  return key;
}

// Views of large models or very long texts cost more than a frame: while nothing but the trace grows, they
// may take an eighth of the time.
bool InspectorScene::mayWait(ViewKind kind, const Key& key) {
  constexpr std::int64_t kCheap = 4'000'000;
  const auto index = static_cast<std::size_t>(kind);
  if (!keys_[index] || cost_[index] < kCheap) return false;
  Key grown = *keys_[index];
  grown.revision = key.revision;
  grown.time = key.time;
  const std::int64_t wait = madeAt_[index] + 8 * cost_[index] - clock_.nsecsElapsed();
  if (!(grown == key) || wait <= 0) return false;
  QTimer::singleShot(std::chrono::milliseconds(wait / 1'000'000 + 1), this, &InspectorScene::changed);
  return true;
}

const std::array<InspectorScene::Card, kViewKinds>& InspectorScene::prepare(QSizeF viewport) {
  viewport_ = viewport;
  arrange(viewport);
  for (Card& card : cards_) {
    const auto index = static_cast<std::size_t>(card.kind);
    Key key = keyOf(card.kind, card.rect.size());
    if (keys_[index] && *keys_[index] == key) continue;
    const QRectF shown = card.rect.translated(0, -scroll_);
    if (!shown.intersects(QRectF(QPointF(), viewport))) continue;  // prepared when scrolled to
    if (mayWait(card.kind, key)) continue;
    madeAt_[index] = clock_.nsecsElapsed();
    card.list = views_[index]->prepare(
        {*run_, *selection_, card.rect.size(), Theme::current(), range_->span(), state_, true});
    keys_[index] = std::make_unique<Key>(keyOf(card.kind, card.rect.size()));
    cost_[index] = clock_.nsecsElapsed() - madeAt_[index];
    ++prepared_[index];
  }
  return cards_;
}

void InspectorScene::act(const Action& action) {
  switch (action.kind) {
    case ActionKind::none:
      return;
    case ActionKind::selectToken:
      selection_->selectToken(action.value);
      return;
    case ActionKind::selectRecurrentLayer:
      selection_->selectRecurrentLayer(static_cast<int>(action.value));
      return;
    case ActionKind::selectAttentionLayer:
      selection_->selectAttentionLayer(static_cast<int>(action.value));
      return;
    case ActionKind::setQuantity:
      state_.quantity = static_cast<GateQuantity>(action.value);
      break;
    case ActionKind::toggleSort:
      state_.sortByHalfLife = !state_.sortByHalfLife;
      break;
  }
  emit changed();
}

void InspectorScene::wheel(const Pointer& pointer, const Region* region, const Card* card) {
  const bool timeAxis = region && region->timeAxis;
  if (timeAxis && pointer.zooms && pointer.wheel != 0) {
    const QRectF plot = region->rect.translated(card->rect.topLeft() - QPointF(0, scroll_));
    const TimeSpan span = range_->span();
    const double anchor = span.first + (pointer.place.x() - plot.left()) / plot.width() * span.count;
    range_->zoom(std::pow(0.8, pointer.wheel), anchor);
  } else if (timeAxis && pointer.wheelSideways != 0) {
    range_->travel(-pointer.wheelSideways * range_->span().count / 10);
  } else {
    scroll_ = std::clamp(scroll_ - pointer.wheel * kWheelStep, 0.0,
                         std::max(0.0, contentHeight_ - viewport_.height()));
  }
}

bool InspectorScene::point(const Pointer& pointer) {
  const QPointF content = pointer.place + QPointF(0, scroll_);
  const Hover before = hover_;
  const int cardBefore = hoveredCard_;
  hover_ = {};
  hoveredCard_ = -1;
  pointer_ = pointer.place;
  if (!pointer.down) draggedCard_ = -1;
  const Region* region = nullptr;
  const Card* over = nullptr;
  for (const Card& card : cards_) {
    const int index = static_cast<int>(card.kind);
    if (draggedCard_ >= 0 ? index != draggedCard_ : !card.rect.contains(content)) continue;
    const QPointF local = content - card.rect.topLeft();
    region = card.list.regionAt(local);
    over = &card;
    if (!region) continue;
    hover_ = region->at(local);
    hoveredCard_ = index;
    if (pointer.pressed && region->drags) draggedCard_ = index;
  }
  const double scrollBefore = scroll_;
  if (pointer.wheel != 0 || pointer.wheelSideways != 0) wheel(pointer, region, over);
  selection_->hoverToken(hover_.token);
  const bool dragging = pointer.down && draggedCard_ >= 0 && hover_.click.kind == ActionKind::selectToken;
  if (pointer.pressed || dragging) act(hover_.click);
  return before.readOut != hover_.readOut || before.mark != hover_.mark || cardBefore != hoveredCard_ ||
         scrollBefore != scroll_ || !hover_.readOut.isEmpty();
}

DrawList InspectorScene::overlay() const {
  DrawList list;
  list.size = viewport_;
  const Theme& theme = Theme::current();
  // One crosshair for the hovered token in every view with a time axis.
  const std::int64_t hovered = selection_->hovered();
  if (hovered >= 0 && card::tokenVisible(range_->span(), hovered)) {
    for (const Card& card : cards_) {
      for (const Region& region : card.list.regions) {
        if (!region.timeAxis) continue;
        const QRectF plot = region.rect.translated(card.rect.topLeft() - QPointF(0, scroll_));
        QColor ink = theme.accent;
        ink.setAlphaF(0.7F);
        list.vertical(card::tokenX(range_->span(), plot, hovered), plot.top(), plot.bottom(), ink);
      }
    }
  }
  if (contentHeight_ > viewport_.height() + 1) {
    const double share = viewport_.height() / contentHeight_;
    const QRectF thumb(viewport_.width() - 7, scroll_ * share + 2, 4, viewport_.height() * share - 4);
    list.rect(thumb, theme.line, 2);
  }
  if (hoveredCard_ < 0 || hover_.readOut.isEmpty()) return list;
  const Card& card = cards_[static_cast<std::size_t>(hoveredCard_)];
  const QPointF origin = card.rect.topLeft() - QPointF(0, scroll_);
  if (!hover_.mark.isEmpty()) list.frame(hover_.mark.translated(origin), theme.accent, 1);
  if (!card.list.readOutPlace.isEmpty() && hover_.click.kind == ActionKind::selectRecurrentLayer) {
    const QRectF place = card.list.readOutPlace.translated(origin);
    list.text({place.right(), place.center().y()}, elided(hover_.readOut, TextRole::secondary, place.width()),
              theme.text, TextRole::secondary, TextAlign::right);
    return list;
  }
  const QStringList lines = hover_.readOut.split(QLatin1Char('\n'));
  double width = 0;
  for (const QString& line : lines) width = std::max(width, textWidth(line, TextRole::secondary));
  constexpr double kLine = 16;
  QRectF box(pointer_ + QPointF(14, 16), QSizeF(width + 16, kLine * static_cast<double>(lines.size()) + 8));
  if (box.right() > viewport_.width() - 4) box.moveRight(std::max(box.width(), pointer_.x() - 10));
  if (box.bottom() > viewport_.height() - 4) box.moveBottom(pointer_.y() - 8);
  box.moveLeft(std::clamp(box.left(), 4.0, std::max(4.0, viewport_.width() - box.width() - 4)));
  list.rect(box, theme.panel, metrics::kControlRadius, theme.line);
  for (qsizetype i = 0; i < lines.size(); ++i)
    list.text({box.left() + 8, box.top() + 4 + kLine * (static_cast<double>(i) + 0.5)}, lines[i], theme.text);
  return list;
}

bool InspectorScene::save(ViewKind kind, const QString& file) {
  const Card& card = cards_[static_cast<std::size_t>(kind)];
  const QSizeF size = card.rect.size().isEmpty() ? QSizeF(720, 360) : card.rect.size();
  const std::unique_ptr<View> view = makeView(kind);
  ViewState state = state_;
  return saveDrawList(
      view->prepare({*run_, *selection_, size, Theme::current(), range_->span(), state, false}),
      Theme::current(), file);
}

QString InspectorScene::description() const {
  QStringList parts;
  for (const Card& card : cards_) parts << card.list.description;
  parts.removeAll(QString());
  return parts.join(QStringLiteral(". "));
}

bool renderView(ViewKind kind, const InspectedRun& run, const Selection& selection, QSize size,
                ThemeMode mode, const QString& file) {
  const std::unique_ptr<View> view = makeView(kind);
  ViewState state;
  const auto count = static_cast<double>(std::max<std::int64_t>(1, run.trace.size()));
  return saveDrawList(view->prepare({run, selection, size, Theme::of(mode), {0, count}, state, false}),
                      Theme::of(mode), file);
}

}  // namespace eyrie::ui
