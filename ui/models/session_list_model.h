// The sessions list: sessions under the heading of their day. A plain list in which headings are rows that
// cannot be selected. GUI thread only; filled by the app.
#pragma once

#include <QAbstractListModel>
#include <QDateTime>
#include <QString>
#include <QStringList>
#include <vector>

namespace eyrie::ui {

struct SessionEntry {
  std::int64_t id = 0;
  QString title;
  QStringList models;
  std::int64_t messages = 0;
  std::int64_t tokens = 0;
  QDateTime updated;
  QString snippet;  // of a search; \x01 and \x02 stand around the match
};

class SessionListModel final : public QAbstractListModel {
  Q_OBJECT
 public:
  enum Role { SessionIdRole = Qt::UserRole + 1, HeadingRole, FactsRole, SnippetRole };

  explicit SessionListModel(QObject* parent = nullptr) : QAbstractListModel(parent) {}

  // Newest first. `now` decides what is Today.
  void setEntries(const std::vector<SessionEntry>& entries,
                  const QDateTime& now = QDateTime::currentDateTime());
  int rowOf(std::int64_t session) const;                   // -1: not in the list
  std::int64_t sessionAt(const QModelIndex& index) const;  // 0: a heading

  int rowCount(const QModelIndex& parent = {}) const final;
  QVariant data(const QModelIndex& index, int role) const final;
  bool setData(const QModelIndex& index, const QVariant& value, int role) final;
  Qt::ItemFlags flags(const QModelIndex& index) const final;

 signals:
  void renamed(qint64 session, const QString& title);

 private:
  struct Row {
    QString heading;  // not empty: a heading
    SessionEntry entry;
  };
  std::vector<Row> rows_;
  QDateTime now_;
};

// "Today", "Yesterday", "Last 7 days", or the month.
QString dayHeading(const QDateTime& moment, const QDateTime& now);
// "just now", "13:47", "3 May".
QString shortMoment(const QDateTime& moment, const QDateTime& now);

}  // namespace eyrie::ui
