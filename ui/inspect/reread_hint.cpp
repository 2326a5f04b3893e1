#include "ui/inspect/reread_hint.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QLocale>
#include <QPushButton>
#include <QVBoxLayout>

#include "ui/theme/theme.h"

namespace eyrie::ui {

namespace {
// A longer text would not be kept whole: the oldest frames go first.
constexpr std::uint64_t kMostBytes = 400ULL << 20;
}  // namespace

RereadHint::RereadHint(QWidget* views, QWidget* parent)
    : QFrame(parent),
      views_(views),
      page_(new QWidget(this)),
      pageText_(new QLabel(page_)),
      bar_(new QWidget(this)),
      barText_(new QLabel(bar_)),
      barButton_(new QPushButton(bar_)) {
  setObjectName(QStringLiteral("rereadHint"));
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(0);
  column->addWidget(bar_);
  column->addWidget(page_, 1);
  makeBar();
  makePage();
  refresh();
}

void RereadHint::makeBar() {
  auto* row = new QHBoxLayout(bar_);
  row->setContentsMargins(16, 8, 12, 0);
  barText_->setObjectName(QStringLiteral("rereadText"));
  barText_->setProperty("role", QStringLiteral("secondary"));
  barButton_->setObjectName(QStringLiteral("rereadBarButton"));
  barButton_->setText(tr("Read it again to inspect"));
  row->addWidget(barText_, 1);
  row->addWidget(barButton_);
  connect(barButton_, &QPushButton::clicked, this,
          [this] { total_ > 0 ? emit cancelRequested() : emit rereadRequested(); });
}

void RereadHint::makePage() {
  auto* title = new QLabel(tr("Not recorded yet"), page_);
  title->setFont(themeFont(TextRole::title));
  pageText_->setObjectName(QStringLiteral("rereadPageText"));
  pageText_->setProperty("role", QStringLiteral("dim"));
  pageText_->setWordWrap(true);
  pageText_->setAlignment(Qt::AlignCenter);
  pageText_->setFixedWidth(380);
  auto* button = new QPushButton(tr("Read it again to inspect"), page_);
  button->setObjectName(QStringLiteral("rereadButton"));
  button->setProperty("kind", QStringLiteral("primary"));
  auto* middle = new QVBoxLayout(page_);
  middle->setSpacing(metrics::kGroup);
  middle->addStretch(2);
  middle->addWidget(title, 0, Qt::AlignCenter);
  middle->addWidget(pageText_, 0, Qt::AlignCenter);
  middle->addSpacing(metrics::kGroup);
  middle->addWidget(button, 0, Qt::AlignCenter);
  middle->addStretch(3);
  connect(button, &QPushButton::clicked, this, &RereadHint::rereadRequested);
}

void RereadHint::setRun(InspectedRun* run) {
  run_ = run;
  connect(run, &InspectedRun::traceChanged, this, &RereadHint::refresh);
  connect(run, &InspectedRun::modelChanged, this, &RereadHint::refresh);
  refresh();
}

void RereadHint::setIdle(bool idle) {
  idle_ = idle;
  refresh();
}

void RereadHint::setProgress(std::int64_t done, std::int64_t total) {
  done_ = done;
  total_ = total;
  refresh();
}

std::int64_t RereadHint::missing() const {
  if (!run_ || !run_->model || !run_->model->tokenizer || run_->trace.layout().columns().empty()) return 0;
  return run_->trace.bytes() < kMostBytes ? run_->trace.droppedFrames() : 0;
}

void RereadHint::refresh() {
  const std::int64_t without = missing();
  const bool reading = total_ > 0;
  const bool offered = idle_ && without > 0 && !reading;
  const bool all = offered && without == run_->trace.size();
  const QLocale locale;
  if (all) {
    pageText_->setText(tr("Gates, attention and states are not kept with a conversation. The model can read "
                          "these %1 tokens again; no word changes.")
                           .arg(locale.toString(qlonglong(without))));
    // Centred in its layout, a label gets the height of its hint, which knows no width.
    pageText_->setFixedHeight(pageText_->heightForWidth(pageText_->width()));
  } else if (reading) {
    barText_->setText(tr("Reading again: %1 of %2 tokens")
                          .arg(locale.toString(qlonglong(done_)), locale.toString(qlonglong(total_))));
    barButton_->setText(tr("Cancel"));
  } else if (offered) {
    barText_->setText(
        tr("%1 of %2 tokens are not recorded.")
            .arg(locale.toString(qlonglong(without)), locale.toString(qlonglong(run_->trace.size()))));
    barButton_->setText(tr("Read it again to inspect"));
  }
  page_->setVisible(all);
  bar_->setVisible(reading || (offered && !all));
  setVisible(reading || offered);
  views_->setVisible(!all);
}

}  // namespace eyrie::ui
