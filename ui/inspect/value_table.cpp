#include "ui/inspect/value_table.h"

#include <QHeaderView>
#include <QLabel>
#include <QTableView>
#include <QVBoxLayout>
#include <cmath>

#include "ui/inspect/views.h"

namespace eyrie::ui {

ValueTable::ValueTable(ViewKind kind, const InspectedRun& run, const Selection& selection, QObject* parent)
    : QAbstractTableModel(parent) {
  const std::int64_t token = shownToken(run, selection);
  const int recurrent = shownRecurrentLayer(run, selection);
  const int attention = shownAttentionLayer(run, selection);
  switch (kind) {
    case ViewKind::gates:
    case ViewKind::layerOverTime:
    case ViewKind::horizon:
      caption_ = tr("Channels of layer %1 at token %2").arg(recurrent).arg(token);
      addGates(run, recurrent, token);
      break;
    case ViewKind::attention:
      caption_ = tr("Attention of layer %1 at token %2").arg(attention).arg(token);
      addAttention(run, attention, token);
      break;
    case ViewKind::norms:
      caption_ = tr("State norm of every recurrent layer");
      addNorms(run);
      break;
    case ViewKind::share: {
      caption_ =
          tr("Share of each past token in the state of layer %1 at token %2").arg(recurrent).arg(token);
      rows_ = tr("token");
      const std::vector<float> shares = stateShares(run, recurrent, token);
      addColumn(tr("share"), {shares.begin(), shares.end()});
      break;
    }
  }
}

void ValueTable::addColumn(const QString& name, std::vector<double> values) {
  names_ << name;
  columns_.push_back(std::move(values));
}

void ValueTable::addGates(const InspectedRun& run, int layerIdx, std::int64_t token) {
  rows_ = tr("channel");
  for (int i = 0; i < kGateQuantities; ++i) {
    const auto quantity = static_cast<GateQuantity>(i);
    const std::vector<float> values = channelValues(run, layerIdx, quantity, token);
    addColumn(gateQuantityName(quantity), {values.begin(), values.end()});
  }
}

void ValueTable::addAttention(const InspectedRun& run, int layerIdx, std::int64_t token) {
  rows_ = tr("token");
  const engine::TraceColumn* column = run.trace.layout().find(layerIdx, engine::Quantity::attention);
  if (!column || token < 0) return;
  const std::span<const float> values = run.trace.values(*column, token);
  const std::int64_t heads = run.trace.config().H;
  const auto span = static_cast<std::int64_t>(values.size()) / std::max<std::int64_t>(1, heads);
  const std::int64_t visible = std::min(span, token + 1);
  firstRow_ = token + 1 - visible;
  for (std::int64_t head = 0; head < heads; ++head) {
    const auto end = values.begin() + (head + 1) * span;
    addColumn(tr("head %1").arg(head), std::vector<double>(end - visible, end));
  }
}

void ValueTable::addNorms(const InspectedRun& run) {
  rows_ = tr("token");
  for (const int layerIdx : recurrentLayers(run.trace.config())) {
    const engine::TraceColumn* column = run.trace.layout().find(layerIdx, engine::Quantity::stateNorm);
    if (!column) continue;
    std::vector<double> values;
    for (std::int64_t t = 0; t < run.trace.size(); ++t)
      values.push_back(static_cast<double>(run.trace.value(*column, t)));
    addColumn(tr("layer %1").arg(layerIdx), std::move(values));
  }
}

int ValueTable::rowCount(const QModelIndex& parent) const {
  return parent.isValid() || columns_.empty() ? 0 : static_cast<int>(columns_.front().size());
}

int ValueTable::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : static_cast<int>(columns_.size());
}

QVariant ValueTable::data(const QModelIndex& index, int role) const {
  if (!index.isValid()) return {};
  const auto& column = columns_[static_cast<std::size_t>(index.column())];
  const auto row = static_cast<std::size_t>(index.row());
  if (role == Qt::TextAlignmentRole) return QVariant(Qt::AlignRight | Qt::AlignVCenter);
  if (role == Qt::DisplayRole) return row < column.size() ? readable(column[row]) : QString();
  return {};
}

QVariant ValueTable::headerData(int section, Qt::Orientation orientation, int role) const {
  if (role != Qt::DisplayRole) return {};
  if (orientation == Qt::Horizontal) return names_.value(section);
  return QStringLiteral("%1 %2").arg(rows_).arg(firstRow_ + section);
}

ValueTableDialog::ValueTableDialog(ViewKind kind, const InspectedRun& run, const Selection& selection,
                                   QWidget* parent)
    : QDialog(parent) {
  auto* model = new ValueTable(kind, run, selection, this);
  setWindowTitle(viewName(kind));
  auto* caption = new QLabel(model->caption(), this);
  caption->setProperty("role", "dim");
  auto* table = new QTableView(this);
  table->setModel(model);
  table->setAccessibleName(model->caption());
  table->horizontalHeader()->setDefaultSectionSize(110);
  auto* layout = new QVBoxLayout(this);
  layout->addWidget(caption);
  layout->addWidget(table);
  resize(640, 480);
}

}  // namespace eyrie::ui
