// The sessions list with search, rename and delete. What it shows comes from SessionListModel.
#pragma once

#include <QFrame>

class QLineEdit;
class QListView;
class QLabel;

namespace eyrie::ui {

class SessionListModel;

class SessionsPanel final : public QFrame {
  Q_OBJECT
 public:
  explicit SessionsPanel(SessionListModel* model, QWidget* parent = nullptr);

  void setCurrentSession(std::int64_t session);
  void focusSearch();
  QString searchWords() const;

 signals:
  void opened(qint64 session);
  void newRequested();
  void searchChanged(const QString& words);
  void deleteRequested(qint64 session);
  void exportRequested(qint64 session);

 protected:
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  void showMenu(const QPoint& point);
  void keepCurrent();

  SessionListModel* model_;
  QLineEdit* search_;
  QListView* list_;
  QLabel* empty_;
  std::int64_t current_ = 0;
};

}  // namespace eyrie::ui
