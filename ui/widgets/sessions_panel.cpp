#include "ui/widgets/sessions_panel.h"

#include <QHBoxLayout>
#include <QKeyEvent>
#include <QLabel>
#include <QLineEdit>
#include <QListView>
#include <QMenu>
#include <QPainter>
#include <QStyledItemDelegate>
#include <QTimer>
#include <QToolButton>

#include "ui/models/session_list_model.h"
#include "ui/theme/theme.h"

namespace eyrie::ui {

namespace {

class SessionDelegate final : public QStyledItemDelegate {
 public:
  using QStyledItemDelegate::QStyledItemDelegate;

  QSize sizeHint(const QStyleOptionViewItem&, const QModelIndex& index) const override {
    if (index.data(SessionListModel::HeadingRole).toBool()) return {100, 34};
    return {100, index.data(SessionListModel::SnippetRole).toString().isEmpty() ? 52 : 68};
  }

  void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override {
    const Theme& theme = Theme::current();
    painter->save();
    painter->setRenderHint(QPainter::Antialiasing);
    const QString text = index.data(Qt::DisplayRole).toString();
    if (index.data(SessionListModel::HeadingRole).toBool()) {
      painter->setFont(themeFont(TextRole::secondaryTitle));
      painter->setPen(theme.dim);
      painter->drawText(option.rect.adjusted(0, 6, 0, -4), Qt::AlignLeft | Qt::AlignBottom, text);
      painter->restore();
      return;
    }
    const bool selected = option.state & QStyle::State_Selected;
    if (selected || (option.state & QStyle::State_MouseOver)) {
      painter->setPen(Qt::NoPen);
      painter->setBrush(selected ? theme.accentGround : theme.hover);
      painter->drawRoundedRect(option.rect.adjusted(0, 1, 0, -1), metrics::kControlRadius,
                               metrics::kControlRadius);
    }
    if (option.state & QStyle::State_HasFocus) {
      painter->setPen(QPen(theme.accent, 1));
      painter->setBrush(Qt::NoBrush);
      painter->drawRoundedRect(QRectF(option.rect).adjusted(0.5, 1.5, -0.5, -1.5), metrics::kControlRadius,
                               metrics::kControlRadius);
    }
    QRect line = option.rect.adjusted(10, 8, -10, 0);
    painter->setFont(themeFont(TextRole::body));
    painter->setPen(theme.text);
    painter->drawText(line, Qt::AlignLeft | Qt::AlignTop,
                      painter->fontMetrics().elidedText(text, Qt::ElideRight, line.width()));
    line.translate(0, 19);
    painter->setFont(themeFont(TextRole::secondary));
    painter->setPen(theme.dim);
    const auto put = [&](QString words) {
      words = painter->fontMetrics().elidedText(words.simplified(), Qt::ElideRight, line.width());
      painter->drawText(line, Qt::AlignLeft | Qt::AlignTop, words);
      line.translate(0, 16);
    };
    put(index.data(SessionListModel::FactsRole).toString());
    QString snippet = index.data(SessionListModel::SnippetRole).toString();
    if (!snippet.isEmpty()) put(snippet.remove(QChar(1)).remove(QChar(2)));
    painter->restore();
  }
};

}  // namespace

SessionsPanel::SessionsPanel(SessionListModel* model, QWidget* parent)
    : QFrame(parent),
      model_(model),
      search_(new QLineEdit(this)),
      list_(new QListView(this)),
      empty_(new QLabel(this)) {
  setObjectName(QStringLiteral("sessionsPanel"));
  setProperty("role", QStringLiteral("bar"));
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(12, 12, 12, 8);
  column->setSpacing(8);
  auto* row = new QHBoxLayout;
  row->setSpacing(4);
  search_->setObjectName(QStringLiteral("sessionSearch"));
  search_->setPlaceholderText(tr("Search sessions"));
  search_->setAccessibleName(tr("Search sessions"));
  search_->setClearButtonEnabled(true);
  auto* add = new QToolButton(this);
  add->setObjectName(QStringLiteral("newSession"));
  add->setIcon(themeIcon(QStringLiteral("plus")));
  add->setToolTip(tr("New conversation (Ctrl+N)"));
  add->setAccessibleName(tr("New conversation"));
  row->addWidget(search_, 1);
  row->addWidget(add);
  column->addLayout(row);
  list_->setObjectName(QStringLiteral("sessionList"));
  list_->setAccessibleName(tr("Sessions"));
  list_->setProperty("role", QStringLiteral("sidebar"));
  list_->setModel(model_);
  list_->setItemDelegate(new SessionDelegate(list_));
  list_->setMouseTracking(true);
  list_->setEditTriggers(QAbstractItemView::EditKeyPressed);
  list_->setVerticalScrollMode(QAbstractItemView::ScrollPerPixel);
  list_->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  list_->setContextMenuPolicy(Qt::CustomContextMenu);
  list_->installEventFilter(this);
  empty_->setWordWrap(true);
  empty_->setProperty("role", QStringLiteral("secondary"));
  column->addWidget(empty_);
  column->addWidget(list_, 1);
  connect(add, &QToolButton::clicked, this, &SessionsPanel::newRequested);
  connect(list_, &QListView::clicked, this, [this](const QModelIndex& index) {
    if (const std::int64_t id = model_->sessionAt(index)) emit opened(id);
  });
  connect(list_, &QListView::customContextMenuRequested, this, &SessionsPanel::showMenu);
  auto* pause = new QTimer(this);
  pause->setSingleShot(true);
  pause->setInterval(150);
  connect(search_, &QLineEdit::textChanged, pause, qOverload<>(&QTimer::start));
  connect(pause, &QTimer::timeout, this, [this] { emit searchChanged(searchWords()); });
  connect(model_, &QAbstractItemModel::modelReset, this, &SessionsPanel::keepCurrent);
  keepCurrent();
}

QString SessionsPanel::searchWords() const {
  return search_->text().trimmed();
}

void SessionsPanel::setCurrentSession(std::int64_t session) {
  current_ = session;
  keepCurrent();
}

void SessionsPanel::keepCurrent() {
  const int row = model_->rowOf(current_);
  if (row >= 0)
    list_->setCurrentIndex(model_->index(row));
  else
    list_->selectionModel()->clear();
  const bool none = model_->rowCount() == 0;
  empty_->setVisible(none);
  list_->setVisible(!none);
  empty_->setText(searchWords().isEmpty()
                      ? tr("Nothing kept yet. Every conversation is saved here while it is written.")
                      : tr("No session holds these words."));
  empty_->setAlignment(Qt::AlignTop);
}

void SessionsPanel::focusSearch() {
  search_->setFocus();
  search_->selectAll();
}

void SessionsPanel::showMenu(const QPoint& point) {
  const QModelIndex index = list_->indexAt(point);
  const std::int64_t id = model_->sessionAt(index);
  if (id == 0) return;
  QMenu menu(this);
  connect(menu.addAction(tr("Open")), &QAction::triggered, this, [this, id] { emit opened(id); });
  connect(menu.addAction(tr("Rename (F2)")), &QAction::triggered, this,
          [this, index] { list_->edit(index); });
  connect(menu.addAction(tr("Export…")), &QAction::triggered, this, [this, id] { emit exportRequested(id); });
  menu.addSeparator();
  connect(menu.addAction(tr("Delete (Del)")), &QAction::triggered, this,
          [this, id] { emit deleteRequested(id); });
  menu.exec(list_->viewport()->mapToGlobal(point));
}

bool SessionsPanel::eventFilter(QObject* watched, QEvent* event) {
  if (watched == list_ && event->type() == QEvent::KeyPress) {
    const std::int64_t id = model_->sessionAt(list_->currentIndex());
    switch (static_cast<QKeyEvent*>(event)->key()) {
      case Qt::Key_Delete:
        if (id != 0) emit deleteRequested(id);
        return true;
      case Qt::Key_Return:
      case Qt::Key_Enter:
        if (id != 0) emit opened(id);
        return true;
      default:
        break;
    }
  }
  return QFrame::eventFilter(watched, event);
}

}  // namespace eyrie::ui
