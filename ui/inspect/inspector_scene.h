// The inspector without a window: lays out the cards, prepares a view when what it shows has changed, finds
// what is under the pointer and carries clicks to the selection. Surfaces (OpenGL or painted) draw it. GUI
// thread only.
#pragma once

#include <QElapsedTimer>
#include <QObject>
#include <QPointer>
#include <array>
#include <memory>

#include "ui/inspect/view.h"

namespace eyrie::ui {

struct Pointer {
  QPointF place{-1e6, -1e6};
  bool pressed = false;  // went down in this frame
  bool down = false;
  double wheel = 0;  // notches, up positive
  double wheelSideways = 0;
  bool zooms = false;  // Ctrl
};

class InspectorScene : public QObject {
  Q_OBJECT
 public:
  struct Card {
    ViewKind kind = ViewKind::gates;
    QRectF rect;  // in the content; scroll() is subtracted to draw
    DrawList list;
  };

  explicit InspectorScene(QObject* parent = nullptr);
  ~InspectorScene() override;

  void setRun(InspectedRun* run);
  void setSelection(Selection* selection);
  void setTimeRange(TimeRange* range);
  InspectedRun* run() const { return run_; }
  Selection* selection() const { return selection_; }
  TimeRange* timeRange() const { return range_; }
  const ViewState& state() const { return state_; }
  void setQuantity(GateQuantity quantity);
  void setSorted(bool sorted);

  // Brings cards up to date for a viewport of this size; those whose inputs are the same are kept.
  const std::array<Card, kViewKinds>& prepare(QSizeF viewport);
  double scroll() const { return scroll_; }
  double contentHeight() const { return contentHeight_; }
  // Follows the pointer; true if something to draw has changed.
  bool point(const Pointer& pointer);
  // Marks, crosshairs and read-out above the cards, in viewport coordinates.
  DrawList overlay() const;
  QString readOut() const { return hover_.readOut; }

  // The view as it stands, as a file (PNG, SVG). False if it cannot be written.
  bool save(ViewKind kind, const QString& file);
  // How often a view was prepared, for tests.
  std::int64_t prepared(ViewKind kind) const { return prepared_[static_cast<std::size_t>(kind)]; }
  QString description() const;

 signals:
  void changed();  // prepare and draw again

 private:
  struct Key;
  void arrange(QSizeF viewport);
  Key keyOf(ViewKind kind, QSizeF size) const;
  bool mayWait(ViewKind kind, const Key& key);
  void act(const Action& action);
  void wheel(const Pointer& pointer, const Region* region, const Card* card);
  void attach();
  void detach();
  void forget();
  void runChanged();

  QPointer<InspectedRun> run_;
  QPointer<Selection> selection_;
  QPointer<TimeRange> range_;
  std::unique_ptr<InspectedRun> noRun_;
  std::unique_ptr<Selection> noSelection_;
  std::unique_ptr<TimeRange> ownRange_;
  ViewState state_;
  std::array<std::unique_ptr<View>, kViewKinds> views_;
  std::array<Card, kViewKinds> cards_;
  std::array<std::unique_ptr<Key>, kViewKinds> keys_;
  std::array<std::int64_t, kViewKinds> prepared_ = {};
  // What a view cost last time and when: an expensive one lets some tokens pass while they stream.
  std::array<std::int64_t, kViewKinds> cost_ = {};  // ns
  std::array<std::int64_t, kViewKinds> madeAt_ = {};
  QElapsedTimer clock_;
  QSizeF viewport_;
  double scroll_ = 0;
  double contentHeight_ = 0;
  QPointF pointer_{-1e6, -1e6};
  Hover hover_;
  int hoveredCard_ = -1;
  int draggedCard_ = -1;
};

// Writes one view of a run to a PNG or SVG file, without a window (a QGuiApplication is needed, the offscreen
// platform will do). False if the file cannot be written.
bool renderView(ViewKind kind, const InspectedRun& run, const Selection& selection, QSize size,
                ThemeMode mode, const QString& file);

}  // namespace eyrie::ui
