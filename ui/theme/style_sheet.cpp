// The Qt half of the look: one style sheet written from the theme's tokens.
#include "ui/theme/theme.h"

namespace eyrie::ui {
namespace {

// @name is replaced by the token's colour; @icons by "light" or "dark".
constexpr const char* kGround = R"(
QWidget { color: @text; }
QMainWindow, QDialog, QMessageBox, QWizard { background: @window; }
QMainWindow::separator { background: @line; width: 1px; height: 1px; }
QMainWindow::separator:hover { background: @accent; }
QSplitter::handle { background: @line; }
QSplitter::handle:hover { background: @accent; }
QToolTip { background: @panel; color: @text; border: 1px solid @line; padding: 4px 6px; }
QFrame[role="panel"] { background: @panel; border: 1px solid @line; border-radius: 8px; }
QFrame[role="bar"] { background: @panel; border: none; }
QFrame[role="error"] { background: @errorGround; border: 1px solid @error; border-radius: 6px; }
QFrame[role="warning"] { background: @warningGround; border: 1px solid @warning; border-radius: 6px; }
QFrame[role="rule"] { background: @line; border: none; max-height: 1px; min-height: 1px; }
QFrame[role="ruleVertical"] { background: @line; border: none; max-width: 1px; min-width: 1px; }
QLabel, QLabel[role="error"], QLabel[role="warning"] { background: transparent; border: none; }
QLabel[role="title"] { font-weight: 600; }
QLabel[role="dim"] { color: @dim; }
QLabel[role="secondary"] { color: @dim; font-size: 8.625pt; }
QLabel[role="faint"] { color: @faint; font-size: 8.625pt; }
QLabel[role="mono"] { font-family: "JetBrains Mono", monospace; font-size: 8.625pt; }
QLabel[role="error"] { color: @error; }
QLabel[role="warning"] { color: @warning; }
QDockWidget { titlebar-close-icon: none; titlebar-normal-icon: none; font-weight: 600; }
QDockWidget::title { background: @panel; padding: 6px 12px; border-bottom: 1px solid @line; }
QStatusBar { background: @panel; border-top: 1px solid @line; color: @dim; font-size: 8.625pt; }
QStatusBar::item { border: none; }
QStatusBar QLabel { color: @dim; font-size: 8.625pt; }
QToolBar { background: @panel; border: none; border-bottom: 1px solid @line; spacing: 8px; padding: 6px 12px; }
)";

constexpr const char* kButtons = R"(
QPushButton, QToolButton[kind="frame"] {
  background: @panel; border: 1px solid @line; border-radius: 6px; padding: 4px 12px; min-height: 18px; }
QPushButton:hover, QToolButton[kind="frame"]:hover { background: @hover; }
QPushButton:pressed, QToolButton[kind="frame"]:pressed { background: @line; }
QPushButton:checked { background: @accentGround; border-color: @accent; color: @accent; }
QPushButton:focus, QToolButton[kind="frame"]:focus { border: 1px solid @accent; }
QPushButton:disabled, QToolButton:disabled { color: @faint; }
QPushButton::menu-indicator { image: url(:/eyrie/icons/chevron-down-@icons.svg); width: 10px; height: 10px;
  subcontrol-origin: padding; subcontrol-position: center right; right: 8px; }
QToolButton[kind="frame"]::menu-indicator, QToolButton::menu-indicator { image: none; }
QPushButton[hasMenu="true"] { padding-right: 24px; }
QPushButton[kind="primary"], QDialogButtonBox QPushButton:default {
  background: @accent; color: @onAccent; border: 1px solid @accent; font-weight: 600; }
QPushButton[kind="primary"]:hover, QDialogButtonBox QPushButton:default:hover {
  background: @accentHover; border-color: @accentHover; }
QPushButton[kind="primary"]:focus { border: 1px solid @text; }
QPushButton[kind="primary"]:disabled { background: @line; border-color: @line; color: @faint; }
QPushButton[kind="quiet"] { background: transparent; border: 1px solid transparent; padding: 4px 8px; }
QPushButton[kind="quiet"]:hover { background: @hover; }
QPushButton[kind="quiet"]:focus { border-color: @accent; }
QPushButton[kind="chip"] { padding: 1px 8px; min-height: 16px; font-size: 8.625pt; border-radius: 5px; }
QPushButton[segment] { border-radius: 0; padding: 4px 14px; margin-left: -1px; }
QPushButton[segment="first"] { border-top-left-radius: 6px; border-bottom-left-radius: 6px; margin-left: 0; }
QPushButton[segment="last"] { border-top-right-radius: 6px; border-bottom-right-radius: 6px; }
QPushButton[segment="only"] { border-radius: 6px; margin-left: 0; }
QPushButton[segment]:checked { background: @accentGround; color: @accent; border-color: @line;
  font-weight: 600; }
QPushButton[segment]:focus { border: 1px solid @accent; }
QToolButton { background: transparent; border: 1px solid transparent; border-radius: 6px; padding: 4px; }
QToolButton:hover { background: @hover; }
QToolButton:pressed { background: @line; }
QToolButton:checked { background: @accentGround; color: @accent; }
QToolButton:focus { border: 1px solid @accent; }
QCheckBox, QRadioButton { spacing: 8px; }
QCheckBox::indicator, QRadioButton::indicator { width: 14px; height: 14px; border: 1px solid @faint;
  background: @panel; }
QCheckBox::indicator { border-radius: 4px; }
QRadioButton::indicator { border-radius: 8px; }
QCheckBox::indicator:checked { background: @accent; border-color: @accent;
  image: url(:/eyrie/icons/check-@icons.svg); }
QRadioButton::indicator:checked { background: @panel; border: 5px solid @accent; width: 6px; height: 6px; }
QCheckBox::indicator:disabled, QRadioButton::indicator:disabled { border-color: @line; }
QCheckBox:focus, QRadioButton:focus { color: @accent; }
)";

constexpr const char* kFields = R"(
QLineEdit, QSpinBox, QDoubleSpinBox, QComboBox, QPlainTextEdit, QTextEdit {
  background: @panel; border: 1px solid @line; border-radius: 6px; padding: 4px 8px;
  selection-background-color: @accent; selection-color: @onAccent; }
QLineEdit, QSpinBox, QDoubleSpinBox, QComboBox { min-height: 18px; }
QLineEdit:hover, QSpinBox:hover, QDoubleSpinBox:hover, QComboBox:hover { border-color: @faint; }
QLineEdit:focus, QSpinBox:focus, QDoubleSpinBox:focus, QComboBox:focus, QPlainTextEdit:focus, QTextEdit:focus {
  border: 1px solid @accent; }
QLineEdit:disabled, QSpinBox:disabled, QDoubleSpinBox:disabled, QComboBox:disabled { color: @faint;
  background: @window; }
QTextBrowser, QTextEdit[frameless="true"], QPlainTextEdit[frameless="true"], QLineEdit[frameless="true"] {
  background: transparent; border: none; padding: 0; }
QTextBrowser:focus, QTextEdit[frameless="true"]:focus, QPlainTextEdit[frameless="true"]:focus { border: none; }
QComboBox::drop-down { border: none; width: 22px; }
QComboBox::down-arrow { image: url(:/eyrie/icons/chevron-down-@icons.svg); width: 10px; height: 10px; }
QComboBox QAbstractItemView { background: @panel; border: 1px solid @line; padding: 4px; outline: none; }
QSpinBox::up-button, QSpinBox::down-button, QDoubleSpinBox::up-button, QDoubleSpinBox::down-button {
  border: none; background: transparent; width: 18px; }
QSpinBox::up-arrow, QDoubleSpinBox::up-arrow { image: url(:/eyrie/icons/chevron-up-@icons.svg);
  width: 9px; height: 9px; }
QSpinBox::down-arrow, QDoubleSpinBox::down-arrow { image: url(:/eyrie/icons/chevron-down-@icons.svg);
  width: 9px; height: 9px; }
QSlider::groove:horizontal { height: 4px; background: @line; border-radius: 2px; }
QSlider::sub-page:horizontal { background: @accent; border-radius: 2px; }
QSlider::handle:horizontal { width: 14px; height: 14px; margin: -5px 0; border-radius: 7px; background: @panel;
  border: 1px solid @faint; }
QSlider::handle:horizontal:hover, QSlider::handle:horizontal:focus { border-color: @accent; }
QProgressBar { background: @line; border: none; border-radius: 2px; max-height: 4px; min-height: 4px;
  text-align: center; }
QProgressBar::chunk { background: @accent; border-radius: 2px; }
QProgressBar[textVisible="true"] { max-height: 16px; min-height: 16px; border-radius: 4px; }
QGroupBox { border: 1px solid @line; border-radius: 8px; margin-top: 10px; padding: 12px 8px 8px 8px; }
QGroupBox::title { subcontrol-origin: margin; left: 12px; padding: 0 4px; color: @dim; }
QTabWidget::pane { border: 1px solid @line; border-radius: 8px; top: -1px; }
QTabBar::tab { padding: 6px 12px; border: none; border-bottom: 2px solid transparent; color: @dim; }
QTabBar::tab:selected { color: @accent; border-bottom-color: @accent; }
QTabBar::tab:hover:!selected { color: @text; }
)";

constexpr const char* kLists = R"(
QMenuBar { background: @panel; border-bottom: 1px solid @line; padding: 2px 8px; }
QMenuBar::item { padding: 4px 8px; border-radius: 6px; background: transparent; }
QMenuBar::item:selected { background: @hover; }
QMenu { background: @panel; border: 1px solid @line; padding: 4px; }
QMenu::item { padding: 5px 24px 5px 12px; border-radius: 4px; }
QMenu::item:selected { background: @accentGround; color: @accent; }
QMenu::item:disabled { color: @faint; }
QMenu::separator { height: 1px; background: @line; margin: 4px 8px; }
QMenu::icon { padding-left: 8px; }
QMenu::indicator { width: 12px; height: 12px; left: 6px; }
QMenu::indicator:checked { image: url(:/eyrie/icons/tick-@icons.svg); }
QMenu::indicator:exclusive:checked { image: url(:/eyrie/icons/tick-@icons.svg); }
QMenu::right-arrow { image: url(:/eyrie/icons/chevron-right-@icons.svg); width: 10px; height: 10px; right: 6px; }
QAbstractItemView { background: @panel; border: 1px solid @line; border-radius: 6px; outline: none;
  selection-background-color: @accentGround; selection-color: @text; alternate-background-color: @window; }
QAbstractItemView::item { padding: 4px 8px; border: none; }
QAbstractItemView::item:hover { background: @hover; }
QAbstractItemView::item:selected { background: @accentGround; color: @text; }
QListView[role="sidebar"], QTreeView[role="sidebar"] { background: transparent; border: none; }
QListView[role="sidebar"]::item { border-radius: 6px; padding: 8px; }
QHeaderView { background: @panel; border: none; }
QHeaderView::section { background: @panel; border: none; border-bottom: 1px solid @line; padding: 4px 8px;
  color: @dim; font-size: 8.625pt; }
QTableCornerButton::section { background: @panel; border: none; }
QTreeView::branch { background: transparent; }
QTreeView::branch:has-children:closed { image: url(:/eyrie/icons/chevron-right-@icons.svg); }
QTreeView::branch:has-children:open { image: url(:/eyrie/icons/chevron-down-@icons.svg); }
QScrollArea { background: transparent; border: none; }
QScrollArea > QWidget > QWidget { background: transparent; }
QScrollBar { background: transparent; border: none; }
QScrollBar:vertical { width: 10px; margin: 0; }
QScrollBar:horizontal { height: 10px; margin: 0; }
QScrollBar::handle { background: @handle; border-radius: 3px; margin: 2px; }
QScrollBar::handle:vertical { min-height: 32px; }
QScrollBar::handle:horizontal { min-width: 32px; }
QScrollBar::handle:hover, QScrollBar::handle:pressed { background: @faint; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }
)";

QColor blend(const QColor& a, const QColor& b, double t) {
  return QColor::fromRgbF(static_cast<float>(a.redF() + (b.redF() - a.redF()) * t),
                          static_cast<float>(a.greenF() + (b.greenF() - a.greenF()) * t),
                          static_cast<float>(a.blueF() + (b.blueF() - a.blueF()) * t));
}

}  // namespace

QString themeStyleSheet(const Theme& theme) {
  QString sheet;
  for (const char* part : {kGround, kButtons, kFields, kLists}) sheet += QLatin1String(part);
  // Longer names first: @accentGround must not be read as @accent.
  const std::pair<const char*, QColor> colours[] = {
      {"@accentGround", theme.accentGround},
      {"@accentHover", blend(theme.accent, theme.text, 0.15)},
      {"@accent", theme.accent},
      {"@errorGround", blend(theme.panel, theme.error, 0.08)},
      {"@error", theme.error},
      {"@warningGround", blend(theme.panel, theme.warning, 0.08)},
      {"@warning", theme.warning},
      {"@onAccent", theme.onAccent},
      {"@handle", blend(theme.line, theme.faint, 0.35)},
      {"@hover", theme.hover},
      {"@window", theme.window},
      {"@panel", theme.panel},
      {"@line", theme.line},
      {"@text", theme.text},
      {"@dim", theme.dim},
      {"@faint", theme.faint},
  };
  for (const auto& [name, colour] : colours) sheet.replace(QLatin1String(name), colour.name());
  sheet.replace(QLatin1String("@icons"), QLatin1String(theme.dark ? "dark" : "light"));
  return sheet;
}

}  // namespace eyrie::ui
