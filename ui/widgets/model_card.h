// What a model is and what loading it would take, before a byte of weights is read.
#pragma once

#include <QFrame>
#include <QString>
#include <vector>

#include "engine/checkpoint/checkpoint.h"

class QHBoxLayout;
class QLabel;
class QPushButton;

namespace eyrie::ui {

class Segmented;

struct ModelCardFacts {
  QString name;
  QString folder;
  // As stored first, then as what it can be converted to, each called by its summary's dtype.
  std::vector<engine::ModelSummary> choices;
  QString preferred;             // dtype to begin with; not among the choices: as stored
  std::uint64_t memoryFree = 0;  // bytes; 0: unknown
};

// "2.5 M", "2.68 B".
QString shortCount(std::int64_t parameters);
// "310 KB", "5.4 GB" (powers of 1024).
QString shortBytes(std::uint64_t bytes);

// The layers as a row of R and A squares.
class LayerRow final : public QWidget {
  Q_OBJECT
 public:
  explicit LayerRow(QWidget* parent = nullptr) : QWidget(parent) {}
  void setBlocks(const std::vector<engine::BlockKind>& blocks);
  QSize sizeHint() const override;
  bool hasHeightForWidth() const override { return true; }
  int heightForWidth(int width) const override;

 protected:
  void paintEvent(QPaintEvent* event) override;

 private:
  std::vector<engine::BlockKind> blocks_;
};

class ModelCard final : public QFrame {
  Q_OBJECT
 public:
  explicit ModelCard(QWidget* parent = nullptr);

  void showFacts(const ModelCardFacts& facts);

 signals:
  // `weights`: the dtype to convert to; empty: as stored.
  void loadRequested(const QString& folder, const QString& weights);
  void cancelled();

 private:
  void fillWeights();
  void showChoice();
  std::uint64_t bytesNeeded(int choice) const;
  bool isTight(int choice) const;

  ModelCardFacts facts_;
  QLabel* name_;
  QLabel* folder_;
  QLabel* values_;
  LayerRow* layers_;
  QWidget* weightsRow_;
  QHBoxLayout* weightsLayout_;
  Segmented* weights_ = nullptr;  // of the choices there are
  QLabel* memory_;
  QPushButton* load_;
};

}  // namespace eyrie::ui
