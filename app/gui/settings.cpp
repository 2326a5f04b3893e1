#include "app/gui/settings.h"

namespace eyrie::app {

namespace {
constexpr int kSchema = 1;
constexpr int kRecent = 8;
}  // namespace

Settings::Settings(const QString& file) : ini_(file, QSettings::IniFormat) {
  if (ini_.value(QStringLiteral("schema"), kSchema).toInt() > kSchema) ini_.clear();
  ini_.setValue(QStringLiteral("schema"), kSchema);
}

ui::ThemeMode Settings::theme() const {
  const QString name = ini_.value(QStringLiteral("theme")).toString();
  if (name == QLatin1String("dark")) return ui::ThemeMode::dark;
  return name == QLatin1String("light") ? ui::ThemeMode::light : ui::ThemeMode::system;
}

void Settings::setTheme(ui::ThemeMode mode) {
  const char* names[] = {"system", "light", "dark"};
  ini_.setValue(QStringLiteral("theme"), QString::fromLatin1(names[int(mode)]));
}

QString Settings::layout() const {
  return ini_.value(QStringLiteral("layout"), QStringLiteral("chat")).toString();
}

void Settings::setLayout(const QString& name) {
  ini_.setValue(QStringLiteral("layout"), name);
}

QByteArray Settings::layoutState(const QString& name) const {
  return ini_.value(QStringLiteral("layouts/") + name).toByteArray();
}

void Settings::setLayoutState(const QString& name, const QByteArray& state) {
  ini_.setValue(QStringLiteral("layouts/") + name, state);
}

void Settings::forgetLayouts() {
  ini_.remove(QStringLiteral("layouts"));
}

QByteArray Settings::geometry() const {
  return ini_.value(QStringLiteral("geometry")).toByteArray();
}

void Settings::setGeometry(const QByteArray& geometry) {
  ini_.setValue(QStringLiteral("geometry"), geometry);
}

QStringList Settings::recentModels() const {
  return ini_.value(QStringLiteral("recentModels")).toStringList();
}

void Settings::addRecentModel(const QString& model) {
  QStringList recent = recentModels();
  recent.removeAll(model);
  recent.prepend(model);
  ini_.setValue(QStringLiteral("recentModels"), recent.mid(0, kRecent));
}

QString Settings::weights() const {
  return ini_.value(QStringLiteral("weights")).toString();
}

void Settings::setWeights(const QString& dtype) {
  ini_.setValue(QStringLiteral("weights"), dtype);
}

double Settings::proseSize() const {
  bool good = false;
  const double size = ini_.value(QStringLiteral("proseSize")).toDouble(&good);
  return good ? size : ui::kProseSize;
}

void Settings::setProseSize(double pixels) {
  ini_.setValue(QStringLiteral("proseSize"), pixels);
}

ui::TraceExportChoice Settings::traceExport() const {
  ui::TraceExportChoice choice;
  choice.ending = ini_.value(QStringLiteral("export/format"), choice.ending).toString();
  choice.full = ini_.value(QStringLiteral("export/full"), choice.full).toBool();
  choice.attention = ini_.value(QStringLiteral("export/attention"), choice.attention).toBool();
  choice.f32 = ini_.value(QStringLiteral("export/f32"), choice.f32).toBool();
  return choice;
}

void Settings::setTraceExport(const ui::TraceExportChoice& choice) {
  ini_.setValue(QStringLiteral("export/format"), choice.ending);
  ini_.setValue(QStringLiteral("export/full"), choice.full);
  ini_.setValue(QStringLiteral("export/attention"), choice.attention);
  ini_.setValue(QStringLiteral("export/f32"), choice.f32);
}

ui::SamplingChoice Settings::sampling() const {
  ui::SamplingChoice choice;
  const auto number = [this](const char* key, float fallback) {
    bool good = false;
    const float value = ini_.value(QLatin1String("sampling/") + QLatin1String(key)).toFloat(&good);
    return good ? value : fallback;
  };
  choice.options.temperature = number("temperature", choice.options.temperature);
  choice.options.topK = int(number("topK", 0));
  choice.options.topP = number("topP", choice.options.topP);
  choice.options.minP = number("minP", choice.options.minP);
  choice.options.repetitionPenalty = number("repetitionPenalty", 1);
  choice.maxTokens = std::max(1, int(number("maxTokens", 256)));
  return choice;
}

void Settings::setSampling(const ui::SamplingChoice& choice) {
  ini_.beginGroup(QStringLiteral("sampling"));
  ini_.setValue(QStringLiteral("temperature"), choice.options.temperature);
  ini_.setValue(QStringLiteral("topK"), choice.options.topK);
  ini_.setValue(QStringLiteral("topP"), choice.options.topP);
  ini_.setValue(QStringLiteral("minP"), choice.options.minP);
  ini_.setValue(QStringLiteral("repetitionPenalty"), choice.options.repetitionPenalty);
  ini_.setValue(QStringLiteral("maxTokens"), choice.maxTokens);
  ini_.endGroup();
}

int Settings::traceLevel() const {
  return ini_.value(QStringLiteral("traceLevel"), -1).toInt();
}

void Settings::setTraceLevel(int level) {
  ini_.setValue(QStringLiteral("traceLevel"), level);
}

bool Settings::panelsLocked() const {
  return ini_.value(QStringLiteral("panelsLocked"), true).toBool();
}

void Settings::setPanelsLocked(bool locked) {
  ini_.setValue(QStringLiteral("panelsLocked"), locked);
}

}  // namespace eyrie::app
