// "Show as table": the numbers behind a view at the shown token, for reading aloud, copying and machines
// without OpenGL.
#pragma once

#include <QAbstractTableModel>
#include <QDialog>
#include <vector>

#include "ui/inspect/view.h"

namespace eyrie::ui {

// A copy of the numbers when it was made; it does not follow the run.
class ValueTable final : public QAbstractTableModel {
  Q_OBJECT
 public:
  ValueTable(ViewKind kind, const InspectedRun& run, const Selection& selection, QObject* parent = nullptr);

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;
  QString caption() const { return caption_; }

 private:
  void addColumn(const QString& name, std::vector<double> values);
  void addGates(const InspectedRun& run, int layerIdx, std::int64_t token);
  void addAttention(const InspectedRun& run, int layerIdx, std::int64_t token);
  void addNorms(const InspectedRun& run);

  QStringList names_;
  std::vector<std::vector<double>> columns_;
  QString rows_;  // what a row is: "channel", "token"
  qint64 firstRow_ = 0;
  QString caption_;
};

class ValueTableDialog final : public QDialog {
  Q_OBJECT
 public:
  ValueTableDialog(ViewKind kind, const InspectedRun& run, const Selection& selection,
                   QWidget* parent = nullptr);
};

}  // namespace eyrie::ui
