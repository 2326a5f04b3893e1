// What a model is and what loading it would take, before a byte of weights is read.
#pragma once

#include <QFrame>
#include <QString>

#include "engine/checkpoint/checkpoint.h"

class QLabel;
class QPushButton;

namespace eyrie::ui {

struct ModelCardFacts {
  QString name;
  QString folder;
  engine::ModelSummary summary;
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
  void loadRequested(const QString& folder);
  void cancelled();

 private:
  ModelCardFacts facts_;
  QLabel* name_;
  QLabel* folder_;
  QLabel* values_;
  LayerRow* layers_;
  QLabel* memory_;
  QPushButton* load_;
};

}  // namespace eyrie::ui
