#include "ui/widgets/model_card.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QLocale>
#include <QPainter>
#include <QPushButton>
#include <algorithm>

#include "ui/theme/theme.h"

namespace eyrie::ui {

namespace {
constexpr int kSquare = 18;
constexpr int kGap = 3;
}  // namespace

QString shortCount(std::int64_t parameters) {
  const QLocale locale;
  const double count = double(parameters);
  if (count >= 1e9) return locale.toString(count / 1e9, 'f', 2) + QStringLiteral(" B");
  if (count >= 1e6) return locale.toString(count / 1e6, 'f', count < 1e7 ? 1 : 0) + QStringLiteral(" M");
  if (count >= 1e3) return locale.toString(count / 1e3, 'f', 0) + QStringLiteral(" k");
  return locale.toString(parameters);
}

QString shortBytes(std::uint64_t bytes) {
  return QLocale().formattedDataSize(qint64(bytes), bytes < (1ULL << 20) ? 0 : 2,
                                     QLocale::DataSizeTraditionalFormat);
}

void LayerRow::setBlocks(const std::vector<engine::BlockKind>& blocks) {
  blocks_ = blocks;
  const auto count = [&](engine::BlockKind kind) {
    return int(std::count(blocks_.begin(), blocks_.end(), kind));
  };
  const int recurrent = count(engine::BlockKind::recurrent);
  setAccessibleName(tr("%1 layers: %2 recurrent, %3 attention")
                        .arg(blocks_.size())
                        .arg(recurrent)
                        .arg(int(blocks_.size()) - recurrent));
  setToolTip(tr("%1: R recurrent, A local attention, G global attention").arg(accessibleName()));
  updateGeometry();
  update();
}

QSize LayerRow::sizeHint() const {
  return {int(blocks_.size()) * (kSquare + kGap), kSquare};
}

int LayerRow::heightForWidth(int width) const {
  const int perRow = std::max(1, (width + kGap) / (kSquare + kGap));
  const int rows = std::max(1, (int(blocks_.size()) + perRow - 1) / perRow);
  return rows * (kSquare + kGap) - kGap;
}

void LayerRow::paintEvent(QPaintEvent*) {
  const Theme& theme = Theme::current();
  QPainter painter(this);
  painter.setRenderHint(QPainter::Antialiasing);
  QFont font = themeFont(TextRole::secondaryTitle);
  painter.setFont(font);
  const int perRow = std::max(1, (width() + kGap) / (kSquare + kGap));
  for (int i = 0; i < int(blocks_.size()); ++i) {
    const QRect square((i % perRow) * (kSquare + kGap), (i / perRow) * (kSquare + kGap), kSquare, kSquare);
    const bool recurrent = blocks_[std::size_t(i)] == engine::BlockKind::recurrent;
    painter.setPen(Qt::NoPen);
    painter.setBrush(recurrent ? theme.recurrence : theme.attention);
    painter.drawRoundedRect(square, 4, 4);
    painter.setPen(theme.dark ? theme.window : theme.panel);
    const bool global = blocks_[std::size_t(i)] == engine::BlockKind::globalAttention;
    painter.drawText(square, Qt::AlignCenter,
                     recurrent ? QStringLiteral("R")
                     : global  ? QStringLiteral("G")
                               : QStringLiteral("A"));
  }
}

ModelCard::ModelCard(QWidget* parent)
    : QFrame(parent),
      name_(new QLabel(this)),
      folder_(new QLabel(this)),
      values_(new QLabel(this)),
      layers_(new LayerRow(this)),
      memory_(new QLabel(this)),
      load_(new QPushButton(tr("Load"), this)) {
  setObjectName(QStringLiteral("modelCard"));
  setProperty("role", QStringLiteral("panel"));
  setAccessibleName(tr("Model to load"));
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(16, 14, 16, 14);
  column->setSpacing(8);
  name_->setFont(themeFont(TextRole::title));
  folder_->setProperty("role", QStringLiteral("secondary"));
  folder_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  folder_->setWordWrap(true);
  column->addWidget(name_);
  column->addWidget(folder_);
  column->addWidget(values_);
  column->addWidget(layers_);
  memory_->setWordWrap(true);
  column->addWidget(memory_);
  auto* row = new QHBoxLayout;
  auto* cancel = new QPushButton(tr("Cancel"), this);
  cancel->setObjectName(QStringLiteral("modelCardCancel"));
  load_->setObjectName(QStringLiteral("modelCardLoad"));
  load_->setProperty("kind", QStringLiteral("primary"));
  row->addStretch(1);
  row->addWidget(cancel);
  row->addWidget(load_);
  column->addLayout(row);
  connect(cancel, &QPushButton::clicked, this, [this] {
    hide();
    emit cancelled();
  });
  connect(load_, &QPushButton::clicked, this, [this] {
    hide();
    emit loadRequested(facts_.folder);
  });
  hide();
}

void ModelCard::showFacts(const ModelCardFacts& facts) {
  facts_ = facts;
  const engine::ModelSummary& summary = facts.summary;
  name_->setText(facts.name);
  folder_->setText(facts.folder);
  QStringList parts;
  parts << tr("%1 parameters").arg(shortCount(summary.parameters)) << QString::fromStdString(summary.dtype)
        << tr("layers: %1").arg(summary.config.L) << tr("width %1").arg(summary.config.D);
  if (summary.config.hasKind(engine::BlockKind::localAttention))
    parts << tr("window %1").arg(summary.config.W);
  if (!summary.hasTokenizer) parts << tr("no tokenizer: it cannot chat");
  values_->setText(parts.join(QStringLiteral(" · ")));
  layers_->setBlocks(summary.config.blocks);
  const std::uint64_t needed = summary.weightBytes + summary.extraBytes + summary.stateBytes;
  const bool tight = facts.memoryFree != 0 && needed > facts.memoryFree;
  QString text = tr("Needs %1 of memory").arg(shortBytes(needed));
  if (facts.memoryFree != 0) text += tr("; %1 are free").arg(shortBytes(facts.memoryFree));
  if (tight) text += tr(". It will be slow or fail.");
  memory_->setText(text);
  memory_->setProperty("role", tight ? QStringLiteral("warning") : QStringLiteral("dim"));
  show();
  raise();
  load_->setFocus();
}

}  // namespace eyrie::ui
