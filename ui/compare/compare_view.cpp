#include "ui/compare/compare_view.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QSplitter>
#include <QVBoxLayout>

#include "ui/theme/theme.h"

namespace eyrie::ui {

CompareLane::CompareLane(const QString& name, Conversation* conversation, InspectedRun* run, QWidget* parent)
    : QFrame(parent),
      model_(new ConversationModel(conversation, this)),
      button_(new ModelButton(this)),
      facts_(new QLabel(this)),
      card_(new ModelCard(this)),
      chat_(new ChatView(model_, this)),
      norms_(new NormsStrip(this)) {
  setObjectName(name);
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(0);
  auto* head = new QHBoxLayout;
  head->setContentsMargins(12, 8, 12, 8);
  button_->setObjectName(name + QStringLiteral("Model"));
  facts_->setObjectName(name + QStringLiteral("Facts"));
  facts_->setProperty("role", QStringLiteral("secondary"));
  head->addWidget(button_);
  head->addWidget(facts_, 1, Qt::AlignRight);
  column->addLayout(head);
  auto* card = new QHBoxLayout;
  card->setContentsMargins(12, 0, 12, 8);
  card->addWidget(card_);
  column->addLayout(card);
  chat_->setActionsEnabled(false);
  chat_->setTokenView(true);
  chat_->setExamples(
      tr("Two models, one prompt"),
      tr("What you write below goes to both, with the same seed. Their answers, their states and "
         "how they differ appear side by side."),
      {});
  column->addWidget(chat_, 1);
  norms_->setObjectName(name + QStringLiteral("Norms"));
  norms_->setRun(run);
  norms_->setFixedHeight(96);
  norms_->setCursor(Qt::ArrowCursor);
  norms_->setToolTip(tr("Length of each layer's state, token by token; both lanes on the same scale"));
  auto* frame = new QHBoxLayout;
  frame->setContentsMargins(12, 4, 12, 8);
  frame->addWidget(norms_);
  column->addLayout(frame);
}

void CompareLane::setFacts(const QString& facts) {
  facts_->setText(facts);
}

CompareView::CompareView(std::array<Conversation*, 2> conversations, std::array<InspectedRun*, 2> runs,
                         QWidget* parent)
    : QWidget(parent),
      notice_(new NoticeBar(this)),
      divergence_(new DivergenceRow(this)),
      composer_(new Composer(this, false)) {
  setObjectName(QStringLiteral("compareView"));
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(0);
  auto* bar = new QHBoxLayout;
  bar->setContentsMargins(12, 0, 12, 0);
  bar->addWidget(notice_);
  column->addLayout(bar);
  auto* splitter = new QSplitter(Qt::Horizontal, this);
  splitter->setObjectName(QStringLiteral("compareSplitter"));
  splitter->setChildrenCollapsible(false);
  splitter->setHandleWidth(1);
  const char* names[] = {"laneA", "laneB"};
  for (std::size_t i = 0; i < 2; ++i) {
    lanes_[i] = new CompareLane(QString::fromLatin1(names[i]), conversations[i], runs[i], splitter);
    splitter->addWidget(lanes_[i]);
    connect(lanes_[i]->norms(), &NormsStrip::maximumChanged, this, &CompareView::shareScale);
  }
  column->addWidget(splitter, 1);
  column->addWidget(divergence_);
  auto* foot = new QHBoxLayout;
  foot->setContentsMargins(16, 8, 16, 12);
  composer_->setObjectName(QStringLiteral("compareComposer"));
  composer_->setMaximumWidth(900);
  foot->addStretch(1);
  foot->addWidget(composer_, 100);
  foot->addStretch(1);
  column->addLayout(foot);
}

void CompareView::shareScale() {
  const double most = std::max(lanes_[0]->norms()->maximum(), lanes_[1]->norms()->maximum());
  for (CompareLane* lane : lanes_) lane->norms()->setCommonMaximum(most);
}

}  // namespace eyrie::ui
