// One panel of the inspector: prepares a DrawList from a run, without a window. GUI thread only.
#pragma once

#include <QSizeF>
#include <memory>

#include "ui/inspect/run_data.h"
#include "ui/plot/axis.h"
#include "ui/plot/draw_list.h"
#include "ui/timeline/time_range.h"

namespace eyrie::ui {

enum class ViewKind { gates, layerOverTime, attention, norms, horizon, share };
inline constexpr int kViewKinds = 6;

QString viewName(ViewKind kind);  // for menus: "Gates at a token"
const char* viewKey(
    ViewKind kind);  // for files and the command line: "gates", "time", "attention", "norms", …

// What the switches in the views say, and ranges that only grow while one run is shown.
struct ViewState {
  GateQuantity quantity = GateQuantity::halfLife;
  bool sortByHalfLife = true;
  double halfLifeTop = 1000;  // tokens
  double writeTop = 1;
  double normTop = 1;
};

struct ViewInput {
  const InspectedRun& run;
  const Selection& selection;
  QSizeF size;
  const Theme& theme;
  TimeSpan time;
  ViewState& state;
  bool interactive = true;  // false: for a file, without switches
};

class View {
 public:
  virtual ~View() = default;
  virtual DrawList prepare(const ViewInput& input) = 0;
};

std::unique_ptr<View> makeView(ViewKind kind);

// Title row, padding, axes and messages, the same in every view.
namespace card {

inline constexpr double kTitleMiddle = 19;
inline constexpr double kHeader = 37;  // content starts here
inline constexpr double kPad = metrics::kPanelPadding;
inline constexpr double kAxis = 20;  // height of a row of axis labels

QRectF content(const ViewInput& input);

// Badge 'R' or 'A' (or 0), title, note at the right. Returns where the title ends.
double header(DrawList& list, const ViewInput& input, char badge, const QString& title, const QString& note);
// A small switch; returns its right edge.
double chip(DrawList& list, const ViewInput& input, double left, const QString& text, bool on, Action action,
            const QString& help);
// ‹ › beside a title, stepping through `layers`; nothing for fewer than two layers or a file.
void layerSteps(DrawList& list, const ViewInput& input, double left, const std::vector<int>& layers,
                int layerIdx, ActionKind action);

// A sentence in the middle of the content.
void message(DrawList& list, const ViewInput& input, const QString& text);
// The sentence for a run that shows nothing; empty if there is something to show.
QString nothingYet(const ViewInput& input);

// Labels along a time axis: both ends, the window's edge, the shown token; those that would overlap are left
// out, the token's never.
void timeLabels(DrawList& list, const ViewInput& input, const QRectF& plot, std::int64_t edge,
                std::int64_t token);
// Selection line and dashed window edge over a plot.
void timeMarks(DrawList& list, const ViewInput& input, const QRectF& plot, std::int64_t edge,
               std::int64_t token, const QColor& selected, const QColor& dashed);
// Middle of a token's column.
double tokenX(const TimeSpan& time, const QRectF& plot, std::int64_t token);
std::int64_t tokenAt(const TimeSpan& time, const QRectF& plot, double x);
bool tokenVisible(const TimeSpan& time, std::int64_t token);

// The numbers of an axis along `bar`, their middles at `y`: the ends first; what would touch one that is
// there stays out.
void tickLabels(DrawList& list, const ViewInput& input, const QRectF& bar, double y, const Scale& scale,
                const std::vector<double>& ticks);
// A colour bar with ticks under it.
void colourBar(DrawList& list, const ViewInput& input, const QRectF& bar, ColourMap map, const Scale& scale,
               const std::vector<double>& ticks, const QString& unit, std::uint32_t slot);

}  // namespace card

}  // namespace eyrie::ui
