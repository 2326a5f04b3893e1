#include "ui/widgets/trace_export_dialog.h"

#include <QCheckBox>
#include <QGridLayout>
#include <QHBoxLayout>
#include <QLabel>
#include <QLocale>
#include <QPushButton>
#include <algorithm>

#include "ui/theme/theme.h"
#include "ui/widgets/layer_picker.h"
#include "ui/widgets/model_card.h"
#include "ui/widgets/segmented.h"

namespace eyrie::ui {

namespace {

const QStringList kEndings = {QStringLiteral("npz"), QStringLiteral("safetensors"), QStringLiteral("csv"),
                              QStringLiteral("jsonl")};

constexpr int kNoteWidth = 360;

bool isTable(const QString& ending) {
  return ending == QLatin1String("csv") || ending == QLatin1String("jsonl");
}

QLabel* noteLabel(QWidget* parent) {
  auto* label = new QLabel(parent);
  label->setProperty("role", QStringLiteral("secondary"));
  label->setWordWrap(true);
  return label;
}

}  // namespace

engine::TraceOptions traceOptionsFor(const TraceExportChoice& choice, const engine::ModelConfig& config) {
  engine::TraceOptions options;
  options.level = engine::TraceLevel::summary;
  if (!choice.full || isTable(choice.ending)) return options;
  std::vector<int> layers;
  for (int i = 0; i < int(config.blocks.size()); ++i) {
    const bool asked = choice.layers.empty() ||
                       std::find(choice.layers.begin(), choice.layers.end(), i) != choice.layers.end();
    const bool recurrent = config.blocks[std::size_t(i)] == engine::BlockKind::recurrent;
    if (asked && (recurrent || choice.attention)) layers.push_back(i);
  }
  if (layers.empty()) return options;
  options.level = engine::TraceLevel::full;
  if (layers.size() < config.blocks.size()) options.layers = layers;
  return options;
}

TraceExportDialog::TraceExportDialog(const engine::ModelConfig& config, std::int64_t tokens,
                                     const QString& facts, QWidget* parent)
    : QDialog(parent),
      config_(config),
      tokens_(tokens),
      format_(new Segmented({tr("NPZ"), tr("safetensors"), tr("CSV"), tr("JSON Lines")},
                            {QStringLiteral("formatNpz"), QStringLiteral("formatSafetensors"),
                             QStringLiteral("formatCsv"), QStringLiteral("formatJsonLines")},
                            this)),
      formatNote_(noteLabel(this)),
      level_(new Segmented({tr("Summary"), tr("Full")},
                           {QStringLiteral("levelSummary"), QStringLiteral("levelFull")}, this)),
      layers_(new LayerPicker(config.blocks, this)),
      attention_(new QCheckBox(tr("Attention weights"), this)),
      precision_(new Segmented({tr("f16"), tr("f32")},
                               {QStringLiteral("precisionF16"), QStringLiteral("precisionF32")}, this)),
      precisionNote_(noteLabel(this)),
      size_(noteLabel(this)) {
  setObjectName(QStringLiteral("traceExportDialog"));
  setWindowTitle(tr("Export trace"));
  attention_->setObjectName(QStringLiteral("exportAttention"));
  size_->setObjectName(QStringLiteral("exportSize"));
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(20, 18, 20, 16);
  column->setSpacing(14);
  column->setSizeConstraint(QLayout::SetFixedSize);
  column->addLayout(makeFields(facts));
  column->addLayout(makeButtons());
  connect(format_, &Segmented::chosen, this, &TraceExportDialog::refresh);
  connect(level_, &Segmented::chosen, this, &TraceExportDialog::refresh);
  connect(precision_, &Segmented::chosen, this, &TraceExportDialog::refresh);
  connect(layers_, &LayerPicker::changed, this, &TraceExportDialog::refresh);
  connect(attention_, &QCheckBox::toggled, this, &TraceExportDialog::refresh);
  setChoice({});
}

QLayout* TraceExportDialog::makeFields(const QString& facts) {
  auto* grid = new QGridLayout;
  grid->setHorizontalSpacing(16);
  grid->setVerticalSpacing(6);
  grid->setColumnStretch(1, 1);
  int row = 0;
  const auto add = [&](const QString& label, QWidget* field, QWidget* note) {
    auto* name = new QLabel(label, this);
    name->setProperty("role", QStringLiteral("dim"));
    grid->addWidget(name, row, 0, Qt::AlignLeft | Qt::AlignVCenter);
    grid->addWidget(field, row++, 1, Qt::AlignLeft | Qt::AlignVCenter);
    if (note) grid->addWidget(note, row++, 1);
    grid->setRowMinimumHeight(row++, 4);
  };
  auto* noted = noteLabel(this);
  noted->setText(facts);
  noted->setObjectName(QStringLiteral("exportFacts"));
  for (QLabel* note : {formatNote_, precisionNote_, noted}) note->setFixedWidth(kNoteWidth);
  add(tr("Format"), format_, formatNote_);
  add(tr("Channels"), level_, nullptr);
  add(tr("Layers in full"), layers_, nullptr);
  add(QString(), attention_, nullptr);
  add(tr("Precision"), precision_, precisionNote_);
  add(tr("Noted in the file"), noted, nullptr);
  return grid;
}

QLayout* TraceExportDialog::makeButtons() {
  auto* buttons = new QHBoxLayout;
  buttons->setSpacing(metrics::kGroup);
  auto* cancel = new QPushButton(tr("Cancel"), this);
  auto* go = new QPushButton(tr("Choose a file…"), this);
  go->setObjectName(QStringLiteral("exportAccept"));
  go->setProperty("kind", QStringLiteral("primary"));
  go->setDefault(true);
  buttons->addWidget(size_, 1);
  buttons->addWidget(cancel);
  buttons->addWidget(go);
  connect(cancel, &QPushButton::clicked, this, &QDialog::reject);
  connect(go, &QPushButton::clicked, this, &QDialog::accept);
  return buttons;
}

void TraceExportDialog::setChoice(const TraceExportChoice& choice) {
  format_->setCurrent(std::max(0, int(kEndings.indexOf(choice.ending))));
  level_->setCurrent(choice.full ? 1 : 0);
  precision_->setCurrent(choice.f32 ? 1 : 0);
  attention_->setChecked(choice.attention);
  if (choice.layers.empty())
    layers_->setAll(true);
  else
    layers_->setChosen(choice.layers);
  refresh();
}

TraceExportChoice TraceExportDialog::choice() const {
  TraceExportChoice choice;
  choice.ending = kEndings[format_->current()];
  choice.layers = layers_->chosen();
  choice.full = level_->current() == 1 && !choice.layers.empty();
  if (choice.layers.size() == config_.blocks.size()) choice.layers.clear();
  choice.attention = attention_->isChecked();
  choice.f32 = precision_->current() == 1;
  return choice;
}

std::uint64_t TraceExportDialog::estimatedBytes() const {
  const TraceExportChoice now = choice();
  const engine::FrameLayout layout(config_, traceOptionsFor(now, config_));
  std::uint64_t numbers = 0;
  for (const engine::TraceColumn& column : layout.columns()) {
    if (column.quantity == engine::Quantity::decay && !now.f32 && !isTable(now.ending)) continue;
    numbers += std::uint64_t(column.size);
  }
  // A number in text takes about ten characters; beside the frame stands the prediction of every token.
  const std::uint64_t each = isTable(now.ending) ? 10 : now.f32 ? 4 : 2;
  return std::uint64_t(tokens_) * (numbers * each + 2 * engine::kTopTokens * 4 + 16);
}

void TraceExportDialog::refresh() {
  const TraceExportChoice now = choice();
  const bool table = isTable(now.ending);
  const QString notes[] = {
      tr("Arrays for numpy; open_trace.py is placed beside the file."),
      tr("Arrays with metadata, for PyTorch and JAX; open_trace.py is placed beside it."),
      tr("One row a token, the summary of every layer, for spreadsheets and R."),
      tr("One object a token, the summary of every layer, for scripts.")};
  formatNote_->setText(notes[format_->current()]);
  const QString why = table ? tr("CSV and JSON Lines hold the summary of every layer") : QString();
  level_->setEnabled(!table);
  level_->setToolTip(why);
  const bool channels = !table && level_->current() == 1;
  layers_->setEnabled(channels);
  layers_->setToolTip(channels || table ? why : tr("The summary covers every layer"));
  const bool hasAttention = std::any_of(config_.blocks.begin(), config_.blocks.end(),
                                        [](auto kind) { return kind != engine::BlockKind::recurrent; });
  attention_->setEnabled(channels && hasAttention);
  attention_->setToolTip(hasAttention ? why : tr("This model has no attention layers"));
  precision_->setEnabled(!table);
  precision_->setToolTip(why);
  precisionNote_->setText(table ? tr("Numbers are written in full.")
                          : now.f32
                              ? tr("Everything as it was computed.")
                              : tr("Half the size. Decays are left out, since near 1 an f16 is too coarse: "
                                   "the gate and log_decay carry them."));
  size_->setText(
      tr("%1 tokens, about %2").arg(QLocale().toString(qlonglong(tokens_)), shortBytes(estimatedBytes())));
}

}  // namespace eyrie::ui
