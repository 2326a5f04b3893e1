// Choosing, looking at and loading models.
#include <spdlog/spdlog.h>

#include <QDir>
#include <QFile>
#include <QFileDialog>
#include <QFileInfo>
#include <QMenu>
#include <QThreadPool>

#include "app/gui/main_window.h"
#include "app/gui/menu_heading.h"

namespace eyrie::app {

namespace {

constexpr std::int64_t kFullTraceBelow = 50'000'000;  // parameters: every channel of every token is cheap

std::uint64_t memoryAvailable() {
  QFile file(QStringLiteral("/proc/meminfo"));
  if (!file.open(QIODevice::ReadOnly)) return 0;
  for (const QByteArray& line : file.readAll().split('\n')) {
    if (line.startsWith("MemAvailable:"))
      return line.mid(13).simplified().split(' ').value(0).toULongLong() * 1024;
  }
  return 0;
}

QString factsOf(const engine::ModelInfo& model) {
  const bool cuda =
      QString::fromStdString(model.backend).contains(QLatin1String("cuda"), Qt::CaseInsensitive);
  return ui::shortCount(model.summary.parameters) + QStringLiteral(" · ") +
         QString::fromStdString(model.summary.dtype) +
         (cuda ? QStringLiteral(" · CUDA") : QStringLiteral(" · CPU"));
}

std::vector<engine::ModelSummary> weightChoices(const engine::Checkpoint& checkpoint) {
  std::vector<engine::ModelSummary> choices{engine::summarise(checkpoint)};
  for (const char* dtype : {"int8", "int4"})
    choices.push_back(engine::summarise(checkpoint, engine::conversionNamed(dtype)));
  return choices;
}

}  // namespace

void MainWindow::listModels() {
  QThreadPool::globalInstance()->start([this] {
    std::vector<engine::ModelLocation> builtIn;
    std::vector<engine::ModelLocation> cached;
    try {
      builtIn = engine::builtInModels();
      cached = engine::cachedModels();
    } catch (const std::exception& error) {
      spdlog::warn("listing models: {}", error.what());
    }
    QMetaObject::invokeMethod(
        this,
        [this, builtIn, cached] {
          builtIn_ = builtIn;
          cached_ = cached;
        },
        Qt::QueuedConnection);
  });
}

void MainWindow::fillModelMenu(QMenu* menu, std::function<void(const QString&)> open) {
  menu->clear();
  menu->setToolTipsVisible(true);
  const auto add = [&](const QString& name, const QString& target, const QString& tip) {
    QAction* entry = menu->addAction(name);
    entry->setToolTip(tip);
    connect(entry, &QAction::triggered, this, [open, target] { open(target); });
  };
  addHeading(menu, tr("Built in"));
  for (const engine::ModelLocation& model : builtIn_) {
    add(QString::fromStdString(model.name), QString::fromStdString(model.name),
        QString::fromStdString(model.folder.string()));
  }
  if (builtIn_.empty()) menu->addAction(tr("None found"))->setEnabled(false);
  const QStringList recent = settings_.recentModels();
  if (!recent.isEmpty()) addHeading(menu, tr("Recent"));
  for (const QString& model : recent) add(QFileInfo(model).fileName(), model, model);
  addHeading(menu, tr("Hugging Face cache"));
  for (const engine::ModelLocation& model : cached_) {
    add(QString::fromStdString(model.name), QString::fromStdString(model.name),
        QString::fromStdString(model.folder.string()));
  }
  if (cached_.empty()) {
    QAction* none = menu->addAction(tr("No recurrent_gemma model there"));
    none->setEnabled(false);
    none->setToolTip(tr("Models fetched with huggingface-cli appear here"));
  }
  menu->addSeparator();
  QAction* folder = menu->addAction(tr("Open a folder…"));
  connect(folder, &QAction::triggered, this, [this, open] {
    const QString chosen = QFileDialog::getExistingDirectory(this, tr("Open a model folder"));
    if (!chosen.isEmpty()) open(chosen);
  });
  listModels();  // for the next time
}

void MainWindow::chooseModelFolder() {
  const QString chosen = QFileDialog::getExistingDirectory(this, tr("Open a model folder"));
  if (!chosen.isEmpty()) openModel(chosen);
}

void MainWindow::openModel(const QString& model) {
  if (chat_->isWriting()) chat_->stop();
  wantedModel_ = model;
  card_->hide();
  lookAt(model, card_, [this](const QString& target) { bridge_.load(target); });
}

void MainWindow::openLaneModel(int lane, const QString& model) {
  wantedLaneModels_[std::size_t(lane)] = model;
  ui::ModelCard* card = compare_->view()->lane(lane)->card();
  card->hide();
  lookAt(model, card, [this, lane](const QString& target) { compare_->openModel(lane, target); });
}

void MainWindow::lookAt(const QString& model, ui::ModelCard* card, std::function<void(const QString&)> load) {
  ui::ModelCardFacts known;
  known.preferred = settings_.weights();
  QThreadPool::globalInstance()->start([this, model, card, known, load = std::move(load)] {
    ui::ModelCardFacts facts = known;
    QString error;
    bool builtIn = false;
    try {
      const engine::ModelLocation location = engine::locateModel(model.toStdString());
      builtIn = location.builtIn;
      facts.name = QString::fromStdString(location.name);
      facts.folder = QString::fromStdString(location.folder.string());
      if (!builtIn) facts.choices = weightChoices(*engine::Checkpoint::open(location.folder));
      facts.memoryFree = memoryAvailable();
    } catch (const std::exception& problem) {
      error = QString::fromUtf8(problem.what());
    }
    QMetaObject::invokeMethod(
        this,
        [=, this] {
          const QString& wanted = card == card_                               ? wantedModel_
                                  : card == compare_->view()->lane(0)->card() ? wantedLaneModels_[0]
                                                                              : wantedLaneModels_[1];
          if (model != wanted) return;  // another was chosen meanwhile
          if (!error.isEmpty()) return cannotOpen(error);
          // Built-in models are small: no card before them.
          if (builtIn) return load(model);
          card->showFacts(facts);
          if (!bridge_.model() && !bridge_.isLoading()) showNoModel(ui::StatusStrip::State::ready);
        },
        Qt::QueuedConnection);
  });
}

void MainWindow::cannotOpen(const QString& text) {
  spdlog::error("open: {}", text.toStdString());
  notice()->showNotice(ui::NoticeBar::Kind::error, text, tr("Choose another model"),
                       [this] { chooseModelFolder(); });
  if (bridge_.model() || bridge_.isLoading()) return;
  // Something to write with, if there is anything at all.
  const QString fallback = QStringLiteral("griffin");
  if (wantedModel_ != fallback) return openModel(fallback);
  showNoModel(ui::StatusStrip::State::failed);
}

void MainWindow::showNoModel(ui::StatusStrip::State state) {
  status_->setState(state, tr("No model"));
  composer_->setBlocked(tr("No model is loaded: choose one at the top left"));
}

void MainWindow::modelLoaded() {
  const engine::ModelInfo& model = *bridge_.model();
  const QString name = QString::fromStdString(model.name);
  modelButton_->setModel(name, factsOf(model), bridge_.run()->isHawk);
  chatView_->setModelInfo(bridge_.model(), bridge_.run()->isHawk);
  status_->setStateBytes(model.summary.stateBytes);
  status_->setDevice(QString::fromStdString(model.backend));
  status_->setState(ui::StatusStrip::State::ready, tr("Ready"));
  if (model.folder.string() == wantedModel_.toStdString()) settings_.addRecentModel(wantedModel_);
  applyTraceLevel();
  updateExamples();
  composer_->setBlocked(
      model.tokenizer ? QString()
                      : tr("This model has no tokenizer: it takes token lists on the command line only"));
  composer_->focusInput();
  spdlog::info("loaded {} ({})", model.name, model.backend);
}

engine::TraceOptions MainWindow::traceOptions() const {
  engine::TraceOptions options;
  const int level = settings_.traceLevel();
  const bool small = bridge_.model() && bridge_.model()->summary.parameters < kFullTraceBelow;
  options.level = level >= 0 ? engine::TraceLevel(std::min(level, 2))
                             : (small ? engine::TraceLevel::full : engine::TraceLevel::summary);
  return options;
}

void MainWindow::updateExamples() {
  chatView_->setExamples(
      tr("Ask, or begin a story"),
      tr("This window runs a small recurrent model on your own machine and shows what its memory does while "
         "it "
         "writes. Nothing leaves the computer. Try one of these, or write below."),
      {tr("Hello! What do you like to do on a rainy day?"), tr("What is your favourite animal, and why?"),
       tr("Tell me a short story about a fox and a lantern.")});
}

}  // namespace eyrie::app
