#include "ui/widgets/shortcut_sheet.h"

#include <QAction>
#include <QHeaderView>
#include <QTableWidget>
#include <QVBoxLayout>

namespace eyrie::ui {

ShortcutSheet::ShortcutSheet(const QList<QAction*>& actions, QWidget* parent) : QDialog(parent) {
  setObjectName(QStringLiteral("shortcutSheet"));
  setWindowTitle(tr("Keyboard shortcuts"));
  resize(620, 560);
  auto* table = new QTableWidget(this);
  table->setObjectName(QStringLiteral("shortcutTable"));
  table->setAccessibleName(windowTitle());
  table->setColumnCount(2);
  table->setHorizontalHeaderLabels({tr("Command"), tr("Keys")});
  table->verticalHeader()->hide();
  table->setShowGrid(false);
  table->setEditTriggers(QAbstractItemView::NoEditTriggers);
  table->setSelectionBehavior(QAbstractItemView::SelectRows);
  table->horizontalHeader()->setDefaultAlignment(Qt::AlignLeft | Qt::AlignVCenter);
  table->horizontalHeader()->setSectionResizeMode(0, QHeaderView::Stretch);
  table->horizontalHeader()->setSectionResizeMode(1, QHeaderView::ResizeToContents);
  const auto add = [table](const QString& what, const QString& keys) {
    const int row = table->rowCount();
    table->insertRow(row);
    table->setItem(row, 0, new QTableWidgetItem(what));
    table->setItem(row, 1, new QTableWidgetItem(keys));
  };
  add(tr("Send the message"), tr("Return"));
  add(tr("New line in the message"), tr("Shift+Return"));
  add(tr("Edit the last message, in an empty composer"), tr("Up"));
  for (const QAction* action : actions) {
    if (action->shortcut().isEmpty()) continue;
    QString text = action->text();
    text.remove(QLatin1Char('&')).remove(QChar(0x2026));
    QStringList keys;
    for (const QKeySequence& key : action->shortcuts()) keys << key.toString(QKeySequence::NativeText);
    add(text, keys.join(QStringLiteral(", ")));
  }
  add(tr("Timeline: one token, ten, ends"), tr("Left, Right; with Shift; Home, End"));
  auto* column = new QVBoxLayout(this);
  column->addWidget(table);
}

}  // namespace eyrie::ui
