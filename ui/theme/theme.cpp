#include "ui/theme/theme.h"

#include <QApplication>
#include <QEvent>
#include <QFontDatabase>
#include <QFontInfo>
#include <QStyle>
#include <QStyleFactory>
#include <algorithm>
#include <cmath>

#include "ui/theme/desktop_scheme.h"

namespace eyrie::ui {
namespace {

bool currentIsDark = false;
bool systemIsDarkNow = false;
double proseSize = kProseSize;

QColor mix(const QColor& a, const QColor& b, double t) {
  return QColor::fromRgbF(static_cast<float>(a.redF() + (b.redF() - a.redF()) * t),
                          static_cast<float>(a.greenF() + (b.greenF() - a.greenF()) * t),
                          static_cast<float>(a.blueF() + (b.blueF() - a.blueF()) * t));
}

Theme makeLight() {
  Theme theme;
  theme.window = 0xF6F6F4;
  theme.panel = 0xFFFFFF;
  theme.line = 0xE3E3DF;
  theme.text = 0x1B1E23;
  theme.dim = 0x626871;
  theme.faint = 0x7B818A;
  theme.accent = 0x3257D6;
  theme.accentGround = 0xEAEFFC;
  theme.onAccent = 0xFFFFFF;
  theme.recurrence = 0x6F4FD8;
  theme.attention = 0x9A5B00;
  theme.griffin = 0x0A766B;
  theme.hawk = 0xB44430;
  theme.good = 0x2A7348;
  theme.warning = 0x8A5C00;
  theme.error = 0xC4322B;
  theme.hover = 0xF0F0ED;
  theme.contextBar = 0x92979F;
  return theme;
}

Theme makeDark() {
  Theme theme;
  theme.dark = true;
  theme.window = 0x131519;
  theme.panel = 0x1B1E23;
  theme.line = 0x2A2E35;
  theme.text = 0xE4E6EA;
  theme.dim = 0x979DA7;
  theme.faint = 0x7D848E;
  theme.accent = 0x8CA8FF;
  theme.accentGround = 0x232C47;
  theme.onAccent = 0x131519;
  theme.recurrence = 0xA994FF;
  theme.attention = 0xEDB155;
  theme.griffin = 0x44C7B7;
  theme.hawk = 0xFF9077;
  theme.good = 0x6CC48E;
  theme.warning = 0xE3B341;
  theme.error = 0xFF8078;
  theme.hover = 0x252931;
  theme.contextBar = 0x6B717A;
  return theme;
}

QString firstFamily(std::initializer_list<const char*> wanted, QFontDatabase::SystemFont fallback) {
  const QStringList families = QFontDatabase::families();
  for (const char* name : wanted)
    if (families.contains(QLatin1String(name))) return QLatin1String(name);
  return QFontDatabase::systemFont(fallback).family();
}

}  // namespace

const Theme& Theme::light() {
  static const Theme theme = makeLight();
  return theme;
}

const Theme& Theme::darkTheme() {
  static const Theme theme = makeDark();
  return theme;
}

const Theme& Theme::current() {
  return currentIsDark ? darkTheme() : light();
}

const Theme& Theme::of(ThemeMode mode) {
  if (mode == ThemeMode::light) return light();
  if (mode == ThemeMode::dark) return darkTheme();
  return systemIsDarkNow ? darkTheme() : light();
}

QColor Theme::series(int index, int count) const {
  // Violet to olive past blue and teal, dark enough (or bright enough) to be read as text.
  static const QColor kLight[] = {QColor(0x6F4FD8), QColor(0x1F6FD6), QColor(0x0A766B),
                                  QColor(0x75760A), QColor(0x9A5B00), QColor(0xA8407E)};
  static const QColor kDark[] = {QColor(0xA994FF), QColor(0x6BA5FF), QColor(0x44C7B7),
                                 QColor(0xCFD05A), QColor(0xEDB155), QColor(0xF08CC4)};
  constexpr int kColours = 6;
  const QColor* colours = dark ? kDark : kLight;
  if (count <= kColours) return colours[index % kColours];
  const double place = static_cast<double>(index) / (count - 1) * (kColours - 1);
  const int lower = std::min(static_cast<int>(place), kColours - 2);
  return mix(colours[lower], colours[lower + 1], place - lower);
}

double textSize(TextRole role) {
  switch (role) {
    case TextRole::body:
    case TextRole::title:
      return 13;
    case TextRole::prose:
      return proseSize;
    case TextRole::secondary:
    case TextRole::secondaryTitle:
    case TextRole::mono:
      return 11.5;
  }
  return 13;
}

QFont themeFont(TextRole role) {
  static const QString sans =
      firstFamily({"Inter", "Inter Variable", "Inter Display"}, QFontDatabase::GeneralFont);
  static const QString mono = firstFamily({"JetBrains Mono"}, QFontDatabase::FixedFont);
  QFont font(role == TextRole::mono ? mono : sans);
  if (role == TextRole::mono) font.setStyleHint(QFont::Monospace);
  // Qt counts 96 logical dots an inch on every screen it scales itself; setPixelSize knows whole pixels only.
  font.setPointSizeF(textSize(role) * 72.0 / 96.0);
  if (role == TextRole::title || role == TextRole::secondaryTitle) font.setWeight(QFont::DemiBold);
  font.setHintingPreference(QFont::PreferNoHinting);
  font.setStyleStrategy(QFont::NoSubpixelAntialias);  // as the ImGui views can only have it
  return font;
}

QPalette themePalette(const Theme& theme) {
  QPalette palette;
  const auto set = [&](QPalette::ColorRole role, const QColor& normal, const QColor& disabled) {
    palette.setColor(QPalette::Active, role, normal);
    palette.setColor(QPalette::Inactive, role, normal);
    palette.setColor(QPalette::Disabled, role, disabled);
  };
  set(QPalette::Window, theme.window, theme.window);
  set(QPalette::WindowText, theme.text, theme.faint);
  set(QPalette::Base, theme.panel, theme.panel);
  set(QPalette::AlternateBase, theme.window, theme.window);
  set(QPalette::Text, theme.text, theme.faint);
  set(QPalette::Button, theme.panel, theme.panel);
  set(QPalette::ButtonText, theme.text, theme.faint);
  set(QPalette::BrightText, theme.error, theme.error);
  set(QPalette::PlaceholderText, theme.faint, theme.faint);
  set(QPalette::Highlight, theme.accent, theme.line);
  set(QPalette::HighlightedText, theme.onAccent, theme.text);
  set(QPalette::Link, theme.accent, theme.faint);
  set(QPalette::LinkVisited, theme.recurrence, theme.faint);
  set(QPalette::ToolTipBase, theme.panel, theme.panel);
  set(QPalette::ToolTipText, theme.text, theme.text);
  set(QPalette::Light, theme.dark ? theme.hover : theme.panel, theme.panel);
  set(QPalette::Midlight, theme.hover, theme.hover);
  set(QPalette::Mid, theme.line, theme.line);
  set(QPalette::Dark, theme.line, theme.line);
  set(QPalette::Shadow, theme.line, theme.line);
  return palette;
}

double luminance(const QColor& colour) {
  const auto linear = [](double v) { return v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4); };
  return 0.2126 * linear(colour.redF()) + 0.7152 * linear(colour.greenF()) + 0.0722 * linear(colour.blueF());
}

double contrast(const QColor& a, const QColor& b) {
  const double la = luminance(a);
  const double lb = luminance(b);
  return (std::max(la, lb) + 0.05) / (std::min(la, lb) + 0.05);
}

ThemeController::ThemeController(QApplication& app, ThemeMode mode) : QObject(&app), app_(app), mode_(mode) {
  systemDark_ = systemIsDark();
  app_.setStyle(QStyleFactory::create(QStringLiteral("Fusion")));
  app_.setFont(themeFont(TextRole::body));
  app_.installEventFilter(this);
  apply();
  connect(new DesktopScheme(this), &DesktopScheme::told, this, &ThemeController::setSystemDark);
}

ThemeController::~ThemeController() {
  app_.removeEventFilter(this);
}

void ThemeController::setSystemDark(bool dark) {
  if (dark == systemDark_) return;
  systemDark_ = dark;
  apply();
}

void ThemeController::setProseSize(double pixels) {
  pixels = std::clamp(pixels, kLeastProse, kMostProse);
  if (pixels == proseSize) return;
  proseSize = pixels;
  apply();
}

void ThemeController::setMode(ThemeMode mode) {
  if (mode == mode_) return;
  mode_ = mode;
  apply();
}

bool ThemeController::systemIsDark() const {
  // Qt 6.4 has no colour-scheme hint. What the platform gives is Fusion's standard palette and, before ours
  // is set, the application's own; GTK_THEME is how GNOME users force dark. DesktopScheme answers later.
  if (qEnvironmentVariable("GTK_THEME").endsWith(QLatin1String("dark"), Qt::CaseInsensitive)) return true;
  const auto isDark = [](const QPalette& palette) {
    return luminance(palette.color(QPalette::Window)) < luminance(palette.color(QPalette::WindowText));
  };
  const std::unique_ptr<QStyle> fusion(QStyleFactory::create(QStringLiteral("Fusion")));
  if (fusion && isDark(fusion->standardPalette())) return true;
  return !app_.property("eyrieThemed").toBool() ? isDark(app_.palette()) : systemDark_;
}

bool ThemeController::eventFilter(QObject* watched, QEvent* event) {
  if (event->type() == QEvent::ApplicationPaletteChange && watched == &app_ && !applying_) {
    // Somebody else's palette: the platform's. Ours is put back on top of what it says about darkness.
    const QPalette palette = app_.palette();
    const QColor window = palette.color(QPalette::Window);
    if (window != Theme::current().window) {
      systemDark_ = luminance(window) < luminance(palette.color(QPalette::WindowText));
      QMetaObject::invokeMethod(this, &ThemeController::apply, Qt::QueuedConnection);
    }
  }
  return QObject::eventFilter(watched, event);
}

void ThemeController::apply() {
  applying_ = true;
  systemIsDarkNow = systemDark_;
  currentIsDark = Theme::of(mode_).dark;
  const Theme& theme = Theme::current();
  app_.setProperty("eyrieThemed", true);
  app_.setPalette(themePalette(theme));
  // The size is no rule of the sheet; that the sheet differs makes widgets ask for their fonts again.
  app_.setStyleSheet(themeStyleSheet(theme) + QStringLiteral("/* prose %1 */").arg(proseSize));
  applying_ = false;
  emit changed();
}

}  // namespace eyrie::ui
