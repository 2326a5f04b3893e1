#include "ui/widgets/notice_bar.h"

#include <QClipboard>
#include <QGuiApplication>
#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>
#include <QStyle>
#include <QTimer>
#include <QToolButton>

#include "ui/theme/theme.h"

namespace eyrie::ui {

NoticeBar::NoticeBar(QWidget* parent)
    : QFrame(parent),
      text_(new QLabel(this)),
      remedy_(new QPushButton(this)),
      copy_(new QToolButton(this)),
      timer_(new QTimer(this)) {
  setObjectName(QStringLiteral("noticeBar"));
  auto* row = new QHBoxLayout(this);
  row->setContentsMargins(12, 8, 8, 8);
  text_->setObjectName(QStringLiteral("noticeText"));
  text_->setWordWrap(true);
  text_->setTextFormat(Qt::PlainText);
  text_->setTextInteractionFlags(Qt::TextSelectableByMouse | Qt::TextSelectableByKeyboard);
  remedy_->setObjectName(QStringLiteral("noticeRemedy"));
  remedy_->hide();
  copy_->setIcon(themeIcon(QStringLiteral("copy")));
  copy_->setToolTip(tr("Copy this message"));
  copy_->setAccessibleName(copy_->toolTip());
  auto* close = new QToolButton(this);
  close->setObjectName(QStringLiteral("noticeClose"));
  close->setIcon(themeIcon(QStringLiteral("close")));
  close->setToolTip(tr("Close"));
  close->setAccessibleName(close->toolTip());
  row->addWidget(text_, 1);
  row->addWidget(remedy_);
  row->addWidget(copy_);
  row->addWidget(close);
  timer_->setSingleShot(true);
  connect(timer_, &QTimer::timeout, this, &NoticeBar::dismiss);
  connect(close, &QToolButton::clicked, this, &NoticeBar::dismiss);
  connect(copy_, &QToolButton::clicked, this,
          [this] { QGuiApplication::clipboard()->setText(text_->text()); });
  connect(remedy_, &QPushButton::clicked, this, [this] {
    const std::function<void()> act = act_;
    dismiss();
    if (act) act();
  });
  hide();
}

void NoticeBar::showNotice(Kind kind, const QString& text, const QString& remedy, std::function<void()> act,
                           int milliseconds) {
  const char* roles[] = {"error", "warning", "panel"};
  setProperty("role", QString::fromLatin1(roles[int(kind)]));
  style()->unpolish(this);
  style()->polish(this);
  text_->setText(text);
  setAccessibleName(text);
  remedy_->setText(remedy);
  remedy_->setVisible(!remedy.isEmpty());
  copy_->setVisible(kind != Kind::note);
  act_ = std::move(act);
  if (milliseconds > 0)
    timer_->start(milliseconds);
  else
    timer_->stop();
  show();
}

QString NoticeBar::text() const {
  return isHidden() ? QString() : text_->text();
}

void NoticeBar::dismiss() {
  timer_->stop();
  act_ = {};
  hide();
}

}  // namespace eyrie::ui
