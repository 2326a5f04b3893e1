#include "ui/widgets/model_card.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QLocale>
#include <QPainter>
#include <QPushButton>
#include <QStyle>
#include <algorithm>

#include "ui/theme/theme.h"
#include "ui/widgets/segmented.h"

namespace eyrie::ui {

namespace {
constexpr int kSquare = 18;
constexpr int kGap = 3;

QString weightsTip(const QString& dtype, bool stored) {
  if (stored) return ModelCard::tr("The numbers of the file, unchanged");
  if (dtype == QLatin1String("int8")) {
    return ModelCard::tr(
        "Large matrices in 8.5 bits a weight: about half the memory of bf16 and nearly "
        "twice as fast; predictions change hardly at all");
  }
  return ModelCard::tr(
      "Large matrices in 4.5 bits a weight: a quarter of the memory of bf16 and about three "
      "times as fast; predictions become a little worse");
}
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
      weightsRow_(new QWidget(this)),
      weightsLayout_(new QHBoxLayout(weightsRow_)),
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
  weightsLayout_->setContentsMargins(0, 4, 0, 0);
  weightsLayout_->setSpacing(metrics::kGroup);
  auto* label = new QLabel(tr("Weights"), weightsRow_);
  label->setProperty("role", QStringLiteral("dim"));
  weightsLayout_->addWidget(label);
  weightsLayout_->addStretch(1);
  column->addWidget(weightsRow_);
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
    const int choice = weights_ != nullptr ? weights_->current() : 0;
    emit loadRequested(
        facts_.folder,
        choice == 0 ? QString() : QString::fromStdString(facts_.choices[std::size_t(choice)].dtype));
  });
  hide();
}

void ModelCard::showFacts(const ModelCardFacts& facts) {
  facts_ = facts;
  const engine::ModelSummary& summary = facts.choices.front();
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
  fillWeights();
  showChoice();
  show();
  raise();
  load_->setFocus();
}

// Begins with what was asked for last; with the first that there is memory for, where that is too large.
void ModelCard::fillWeights() {
  delete weights_;
  weights_ = nullptr;
  weightsRow_->setVisible(facts_.choices.size() > 1);
  if (facts_.choices.size() < 2) return;
  QStringList texts;
  QStringList names;
  QStringList tips;
  int begin = 0;
  for (const engine::ModelSummary& choice : facts_.choices) {
    const QString dtype = QString::fromStdString(choice.dtype);
    if (dtype == facts_.preferred) begin = int(texts.size());
    texts << (texts.isEmpty() ? tr("%1, as stored").arg(dtype) : dtype);
    names << QStringLiteral("weights-") + dtype;
    tips << weightsTip(dtype, texts.size() == 1);
  }
  while (begin + 1 < texts.size() && isTight(begin)) ++begin;
  weights_ = new Segmented(texts, names, weightsRow_);
  weights_->setToolTips(tips);
  weights_->setAccessibleName(tr("Type of the weights"));
  weights_->setCurrent(begin);
  weightsLayout_->insertWidget(1, weights_);
  connect(weights_, &Segmented::chosen, this, &ModelCard::showChoice);
}

std::uint64_t ModelCard::bytesNeeded(int choice) const {
  const engine::ModelSummary& summary = facts_.choices[std::size_t(choice)];
  return summary.weightBytes + summary.extraBytes + summary.stateBytes;
}

bool ModelCard::isTight(int choice) const {
  return facts_.memoryFree != 0 && bytesNeeded(choice) > facts_.memoryFree;
}

void ModelCard::showChoice() {
  const int choice = weights_ != nullptr ? weights_->current() : 0;
  const std::uint64_t needed = bytesNeeded(choice);
  const bool tight = isTight(choice);
  QString text = tr("Needs %1 of memory").arg(shortBytes(needed));
  if (facts_.memoryFree != 0) text += tr("; %1 are free").arg(shortBytes(facts_.memoryFree));
  if (tight) text += tr(". It will be slow or fail.");
  memory_->setText(text);
  memory_->setProperty("role", tight ? QStringLiteral("warning") : QStringLiteral("dim"));
  memory_->style()->unpolish(memory_);
  memory_->style()->polish(memory_);
}

}  // namespace eyrie::ui
