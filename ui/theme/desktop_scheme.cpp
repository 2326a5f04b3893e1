#include "ui/theme/desktop_scheme.h"

#include <QDBusConnection>
#include <QDBusPendingCallWatcher>
#include <QDBusPendingReply>
#include <QDBusVariant>
#include <QFileInfo>

namespace eyrie::ui {
namespace {

const auto kService = QStringLiteral("org.freedesktop.portal.Desktop");
const auto kPath = QStringLiteral("/org/freedesktop/portal/desktop");
const auto kInterface = QStringLiteral("org.freedesktop.portal.Settings");
const auto kGroup = QStringLiteral("org.freedesktop.appearance");
const auto kKey = QStringLiteral("color-scheme");

// Where there is none, connecting would start one.
bool hasSessionBus() {
  return qEnvironmentVariableIsSet("DBUS_SESSION_BUS_ADDRESS") ||
         QFileInfo::exists(qEnvironmentVariable("XDG_RUNTIME_DIR") + QStringLiteral("/bus"));
}

}  // namespace

DesktopScheme::DesktopScheme(QObject* parent) : QObject(parent) {
  if (!hasSessionBus()) return;
  QDBusConnection bus = QDBusConnection::sessionBus();
  if (!bus.isConnected()) return;
  bus.connect(kService, kPath, kInterface, QStringLiteral("SettingChanged"), this,
              SLOT(settingChanged(QDBusMessage)));
  QDBusMessage question = QDBusMessage::createMethodCall(kService, kPath, kInterface, QStringLiteral("Read"));
  question << kGroup << kKey;
  auto* answer = new QDBusPendingCallWatcher(bus.asyncCall(question), this);
  connect(answer, &QDBusPendingCallWatcher::finished, this, [this, answer] {
    answer->deleteLater();
    const QDBusPendingReply<QDBusVariant> reply = *answer;
    if (reply.isValid()) take(reply.value().variant());
  });
}

void DesktopScheme::settingChanged(const QDBusMessage& signal) {
  const QVariantList values = signal.arguments();  // group, key, value
  if (values.size() == 3 && values[0] == kGroup && values[1] == kKey) take(values[2]);
}

// 0: no preference, 1: dark, 2: light; what Read answers is wrapped once more.
void DesktopScheme::take(const QVariant& value) {
  if (value.canConvert<QDBusVariant>()) return take(value.value<QDBusVariant>().variant());
  const uint scheme = value.toUInt();
  if (scheme == 1 || scheme == 2) emit told(scheme == 1);
}

}  // namespace eyrie::ui
