#include "app/cli/trace_picture.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <QFile>
#include <QGuiApplication>
#include <algorithm>
#include <cstdio>

#include "app/cli/stored_trace.h"
#include "engine/checkpoint/file_io.h"
#include "engine/error.h"
#include "ui/inspect/inspector_scene.h"

namespace eyrie::app {
namespace {

using engine::Error;
using engine::ErrorCode;

ui::ViewKind viewKind(const std::string& name) {
  for (int i = 0; i < ui::kViewKinds; ++i) {
    if (name == ui::viewKey(static_cast<ui::ViewKind>(i))) return static_cast<ui::ViewKind>(i);
  }
  throw Error(ErrorCode::badArgument, fmt::format("view: expected a known one, found '{}'", name));
}

// Views that show channels or weights need the full level in the shown layer; the others the summary.
bool needsFull(ui::ViewKind kind) {
  return kind == ui::ViewKind::gates || kind == ui::ViewKind::layerOverTime ||
         kind == ui::ViewKind::attention;
}

void select(const PictureOptions& options, const ui::InspectedRun& run, bool attention,
            ui::Selection& selection) {
  const auto& config = run.trace.config();
  const auto layers = attention ? ui::attentionLayers(config) : ui::recurrentLayers(config);
  if (layers.empty()) {
    throw Error(ErrorCode::badArgument, fmt::format("{}: the model has no {} layer", options.trace,
                                                    attention ? "attention" : "recurrent"));
  }
  if (options.token >= run.trace.size()) {
    throw Error(ErrorCode::badArgument, fmt::format("--token: the trace has the tokens 0 to {}, found {}",
                                                    run.trace.size() - 1, options.token));
  }
  int layer = options.layer;
  if (layer < 0) {  // the first with everything, else the first
    const auto full = std::find_if(layers.begin(), layers.end(),
                                   [&](int layerIdx) { return ui::recordsFull(run, layerIdx); });
    layer = full != layers.end() ? *full : layers.front();
  }
  if (std::find(layers.begin(), layers.end(), layer) == layers.end()) {
    throw Error(ErrorCode::badArgument,
                fmt::format("--layer: expected one of {}, found {}", fmt::join(layers, ", "), layer));
  }
  selection.selectToken(options.token >= 0 ? options.token : run.trace.size() - 1);
  if (attention) {
    selection.selectAttentionLayer(layer);
  } else {
    selection.selectRecurrentLayer(layer);
  }
}

// Logical pixels: a row a layer or head, with title, axis and colour bar; plots over time take what they get.
int fittingHeight(ui::ViewKind kind, const engine::ModelConfig& config) {
  constexpr int kPlot = 420;
  if (kind == ui::ViewKind::gates) return 90 + 22 * static_cast<int>(ui::recurrentLayers(config).size());
  if (kind == ui::ViewKind::attention) return 110 + 40 * static_cast<int>(config.H);
  return kPlot;
}

// Qt's remarks about the session it runs in are not for readers of a command's messages.
void onlyErrors(QtMsgType type, const QMessageLogContext&, const QString& text) {
  if (type == QtCriticalMsg || type == QtFatalMsg) std::fprintf(stderr, "eyrie-cli: %s\n", qPrintable(text));
}

}  // namespace

void drawTrace(const PictureOptions& options) {
  const std::filesystem::path target = engine::outputTarget(options.out);
  if (engine::isDeviceOrPipe(target)) {
    throw Error(ErrorCode::ioFailed, fmt::format("{}: expected a file, found a device or pipe", options.out));
  }
  StoredTrace stored = readStoredTrace(options.trace);
  ui::InspectedRun run;
  run.model = stored.model;
  run.trace = std::move(stored.trace);
  run.isHawk = !run.trace.config().hasKind(engine::BlockKind::localAttention) &&
               !run.trace.config().hasKind(engine::BlockKind::globalAttention);
  if (run.trace.size() == 0) throw Error(ErrorCode::badFile, fmt::format("{}: no tokens", options.trace));

  const ui::ViewKind kind = viewKind(options.view);
  const bool attention = kind == ui::ViewKind::attention;
  ui::Selection selection;
  select(options, run, attention, selection);
  const int layer =
      attention ? ui::shownAttentionLayer(run, selection) : ui::shownRecurrentLayer(run, selection);
  if (needsFull(kind) && !ui::recordsFull(run, layer)) {
    throw Error(ErrorCode::badArgument,
                fmt::format("{}: layer {} was traced at summary level; {} needs --level full", options.trace,
                            layer, options.view));
  }

  // No display is needed, whether there is one or not.
  qputenv("QT_QPA_PLATFORM", "offscreen");
  qInstallMessageHandler(onlyErrors);
  int argc = 1;
  char name[] = "eyrie-cli";
  char* argv[] = {name, nullptr};
  const QGuiApplication application(argc, argv);
  const auto mode = options.dark ? ui::ThemeMode::dark : ui::ThemeMode::light;
  const int height = options.height > 0 ? options.height : fittingHeight(kind, run.trace.config());
  const QSize size(options.width, height);
  if (!ui::renderView(kind, run, selection, size, mode, QFile::decodeName(target.c_str()))) {
    throw Error(ErrorCode::ioFailed, fmt::format("{}: cannot be written", options.out));
  }
}

}  // namespace eyrie::app
