// Every colour, size and font of the window, in one place (light and dark): read by the Qt palette and style
// sheet, by the ImGui style and by what is drawn for export.
//
// A widget that paints itself reads Theme::current() in paintEvent and repaints on ThemeController::changed.
// Style-sheet hooks for standard widgets, set as dynamic properties before the widget is shown:
//   QPushButton  kind = "primary" (filled accent), "quiet" (no frame until hovered), "chip" (small,
//   checkable)
//                segment = "first" | "middle" | "last" | "only" (checkable parts of a segmented control)
//   QToolButton  kind = "quiet" (default look), "frame" (bordered like a button)
//   QLabel       role = "title" | "dim" | "secondary" | "faint" | "mono" | "error" | "warning"
//   QFrame       role = "panel" (panel ground, line around, corners 8), "bar" (panel ground, no line),
//                "error" | "warning" (inline message bars), "rule" (a line of one pixel)
//   QListView    role = "sidebar" (selected row in the accent's ground)
#pragma once

#include <QColor>
#include <QFont>
#include <QIcon>
#include <QObject>
#include <QPalette>
#include <QString>

class QApplication;

namespace eyrie::ui {

enum class ThemeMode { system, light, dark };

// Sizes in logical pixels (LOOK.md, "Tokens").
namespace metrics {
inline constexpr int kStep = 4;
inline constexpr int kGroup = 8;          // inside groups
inline constexpr int kPanelPadding = 12;  // inside panels
inline constexpr int kMessageGap = 16;    // between messages
inline constexpr int kPageMargin = 24;
inline constexpr int kControlRadius = 6;
inline constexpr int kPanelRadius = 8;
inline constexpr int kControlHeight = 28;
inline constexpr int kTopBarHeight = 44;
inline constexpr int kSessionsWidth = 220;
inline constexpr int kConversationWidth = 440;
inline constexpr int kTimelineHeight = 104;
inline constexpr int kEaseMilliseconds = 120;  // panels; 0 when reduced motion is asked for
inline constexpr double kProseLineHeight = 1.6;
inline constexpr int kProseColumns = 75;
}  // namespace metrics

// Pixels of the conversation's words: what a user may choose.
inline constexpr double kProseSize = 14;
inline constexpr double kLeastProse = 11;
inline constexpr double kMostProse = 28;

enum class TextRole { body, prose, secondary, title, secondaryTitle, mono };

// The colours of one appearance. Immutable.
struct Theme {
  bool dark = false;
  QColor window, panel, line;
  QColor text, dim, faint;
  QColor accent, accentGround, onAccent;  // onAccent: text on a filled accent
  QColor recurrence, attention;
  QColor griffin, hawk;
  QColor good, warning, error;
  QColor hover;       // ground of a hovered row or button
  QColor contextBar;  // bars of tokens that were read, not written

  static const Theme& light();
  static const Theme& darkTheme();
  // The one in use in this process (light before a ThemeController exists).
  static const Theme& current();
  // `system` is what the controller found.
  static const Theme& of(ThemeMode mode);

  const QColor& model(bool isHawk) const { return isHawk ? hawk : griffin; }
  // Line colour of series `index` of `count`; readable as text on the panel.
  QColor series(int index, int count) const;
};

// Size in logical pixels.
double textSize(TextRole role);
// Inter or the system's sans; JetBrains Mono or the system's monospace, figures tabular where the font has
// them.
QFont themeFont(TextRole role);

QPalette themePalette(const Theme& theme);
QString themeStyleSheet(const Theme& theme);

// An icon of assets/icons (":/eyrie/icons/NAME.svg"), its currentColor drawn in the dim colour of the theme
// in use at that moment, the line colour when disabled, the accent when checked.
QIcon themeIcon(const QString& name);
// The program's own, for windows.
QIcon applicationIcon();

// WCAG 2 relative luminance and contrast ratio.
double luminance(const QColor& colour);
double contrast(const QColor& a, const QColor& b);

// Owns the application's appearance. One, created after QApplication. GUI thread.
class ThemeController : public QObject {
  Q_OBJECT
 public:
  // Applies Fusion, fonts, palette and style sheet.
  explicit ThemeController(QApplication& app, ThemeMode mode = ThemeMode::system);
  ~ThemeController() override;

  ThemeMode mode() const { return mode_; }
  void setMode(ThemeMode mode);
  // Of the conversation's words (TextRole::prose); widgets that show them get StyleChange.
  void setProseSize(double pixels);
  bool systemIsDark() const;

 signals:
  void changed();  // colours differ: repaint, rebuild what holds colours (HTML of messages)

 protected:
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  void apply();
  void setSystemDark(bool dark);

  QApplication& app_;
  ThemeMode mode_;
  bool systemDark_ = false;
  bool applying_ = false;
};

}  // namespace eyrie::ui
