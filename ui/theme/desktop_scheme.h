// Whether the desktop prefers dark, as it tells applications through the settings portal: Qt 6.4 does not
// ask, and under GNOME nothing else says it. Without a session bus or a portal nothing ever happens. GUI
// thread.
#pragma once

#include <QDBusMessage>
#include <QObject>

namespace eyrie::ui {

class DesktopScheme : public QObject {
  Q_OBJECT
 public:
  explicit DesktopScheme(QObject* parent = nullptr);  // asks, without waiting

 signals:
  void told(bool dark);  // the answer, and every change of it; not where the desktop has no preference

 private slots:
  // The whole message: a slot of its three arguments is refused while QtDBus does not know QDBusVariant yet.
  void settingChanged(const QDBusMessage& signal);

 private:
  void take(const QVariant& value);
};

}  // namespace eyrie::ui
