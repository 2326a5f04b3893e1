#include "ui/models/session_list_model.h"

#include <QCoreApplication>
#include <QLocale>

namespace eyrie::ui {

QString dayHeading(const QDateTime& moment, const QDateTime& now) {
  const qint64 days = moment.date().daysTo(now.date());
  if (days <= 0) return QCoreApplication::translate("SessionListModel", "Today");
  if (days == 1) return QCoreApplication::translate("SessionListModel", "Yesterday");
  if (days < 7) return QCoreApplication::translate("SessionListModel", "Last 7 days");
  const QString format =
      moment.date().year() == now.date().year() ? QStringLiteral("MMMM") : QStringLiteral("MMMM yyyy");
  return QLocale().toString(moment.date(), format);
}

QString shortMoment(const QDateTime& moment, const QDateTime& now) {
  if (moment.secsTo(now) < 60) return QCoreApplication::translate("SessionListModel", "just now");
  if (moment.date() == now.date()) return QLocale().toString(moment.time(), QStringLiteral("HH:mm"));
  return QLocale().toString(moment.date(), QStringLiteral("d MMM"));
}

void SessionListModel::setEntries(const std::vector<SessionEntry>& entries, const QDateTime& now) {
  beginResetModel();
  rows_.clear();
  now_ = now;
  QString heading;
  for (const SessionEntry& entry : entries) {
    const QString day = dayHeading(entry.updated, now);
    if (day != heading) rows_.push_back({day, {}});
    heading = day;
    rows_.push_back({{}, entry});
  }
  endResetModel();
}

int SessionListModel::rowOf(std::int64_t session) const {
  for (std::size_t row = 0; row < rows_.size(); ++row) {
    if (rows_[row].heading.isEmpty() && rows_[row].entry.id == session) return int(row);
  }
  return -1;
}

std::int64_t SessionListModel::sessionAt(const QModelIndex& index) const {
  return index.isValid() ? data(index, SessionIdRole).toLongLong() : 0;
}

int SessionListModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : int(rows_.size());
}

QVariant SessionListModel::data(const QModelIndex& index, int role) const {
  if (!checkIndex(index, CheckIndexOption::IndexIsValid)) return {};
  const Row& row = rows_[std::size_t(index.row())];
  const bool heading = !row.heading.isEmpty();
  if (heading) {
    if (role == Qt::DisplayRole || role == Qt::AccessibleTextRole) return row.heading;
    return role == HeadingRole ? QVariant(true) : QVariant();
  }
  const auto facts = [&] {
    QStringList parts;
    if (!row.entry.models.isEmpty()) parts << row.entry.models.join(QStringLiteral(", "));
    parts << (row.entry.tokens == 1 ? tr("1 token")
                                    : tr("%1 tokens").arg(QLocale().toString(qlonglong(row.entry.tokens))))
          << shortMoment(row.entry.updated, now_);
    return parts.join(QStringLiteral(" · "));
  };
  switch (role) {
    case Qt::DisplayRole:
    case Qt::EditRole:
      return row.entry.title;
    case Qt::ToolTipRole:
      return row.entry.title + QLatin1Char('\n') + facts();
    case Qt::AccessibleTextRole:
      return row.entry.title + QStringLiteral(", ") + facts();
    case SessionIdRole:
      return qlonglong(row.entry.id);
    case HeadingRole:
      return false;
    case FactsRole:
      return facts();
    case SnippetRole:
      return row.entry.snippet;
    default:
      return {};
  }
}

bool SessionListModel::setData(const QModelIndex& index, const QVariant& value, int role) {
  const std::int64_t session = sessionAt(index);
  const QString title = value.toString().simplified();
  if (role != Qt::EditRole || session == 0 || title.isEmpty()) return false;
  rows_[std::size_t(index.row())].entry.title = title;
  emit dataChanged(index, index);
  emit renamed(session, title);
  return true;
}

Qt::ItemFlags SessionListModel::flags(const QModelIndex& index) const {
  if (!index.isValid()) return Qt::NoItemFlags;
  if (!rows_[std::size_t(index.row())].heading.isEmpty()) return Qt::ItemIsEnabled | Qt::ItemNeverHasChildren;
  return Qt::ItemIsEnabled | Qt::ItemIsSelectable | Qt::ItemIsEditable | Qt::ItemNeverHasChildren;
}

}  // namespace eyrie::ui
