// What goes into the file of a trace, asked before its name.
#pragma once

#include <QDialog>
#include <QString>
#include <vector>

#include "engine/taps.h"

class QCheckBox;
class QLabel;
class QLayout;

namespace eyrie::ui {

class LayerPicker;
class Segmented;

struct TraceExportChoice {
  QString ending = QStringLiteral("npz");  // "npz", "safetensors", "csv", "jsonl"
  bool full = true;                        // every channel, not the summary alone
  bool attention = true;                   // weights of attention layers, where full
  bool f32 = false;                        // else f16
  std::vector<int> layers;                 // in full; empty: all
};

// What has to be recorded for the choice. CSV and JSON Lines hold the summary only.
engine::TraceOptions traceOptionsFor(const TraceExportChoice& choice, const engine::ModelConfig& config);

class TraceExportDialog final : public QDialog {
  Q_OBJECT
 public:
  // `facts`: what is noted in the file beside the arrays, for the user to read.
  TraceExportDialog(const engine::ModelConfig& config, std::int64_t tokens, const QString& facts,
                    QWidget* parent = nullptr);

  void setChoice(const TraceExportChoice& choice);
  TraceExportChoice choice() const;

 private:
  QLayout* makeFields(const QString& facts);
  QLayout* makeButtons();
  void refresh();
  std::uint64_t estimatedBytes() const;

  engine::ModelConfig config_;
  std::int64_t tokens_;
  Segmented* format_;
  QLabel* formatNote_;
  Segmented* level_;
  LayerPicker* layers_;
  QCheckBox* attention_;
  Segmented* precision_;
  QLabel* precisionNote_;
  QLabel* size_;
};

}  // namespace eyrie::ui
