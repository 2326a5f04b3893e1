// The desktop's preference, from a settings portal of the test's own on a bus of the test's own.
#include "ui/theme/desktop_scheme.h"

#include <QDBusConnection>
#include <QDBusMessage>
#include <QDBusVariant>
#include <QProcess>
#include <QSignalSpy>
#include <QStandardPaths>
#include <QtTest>

#include "ui/theme/theme.h"

using namespace eyrie::ui;

// What a desktop has. NOLINTBEGIN(readability-identifier-naming): the names are the portal's.
class Portal : public QObject {
  Q_OBJECT
  Q_CLASSINFO("D-Bus Interface", "org.freedesktop.portal.Settings")
 public:
  uint scheme = 0;
 public slots:
  QDBusVariant Read(const QString& group, const QString& key) {
    const bool asked = group == "org.freedesktop.appearance" && key == "color-scheme";
    return QDBusVariant(QVariant::fromValue(QDBusVariant(asked ? scheme : 99U)));
  }
};
// NOLINTEND(readability-identifier-naming)

class DesktopSchemeTest : public QObject {
  Q_OBJECT

 private:
  QProcess bus_;
  Portal portal_;

  void change(const char* key, uint scheme) {
    QDBusMessage signal = QDBusMessage::createSignal("/org/freedesktop/portal/desktop",
                                                     "org.freedesktop.portal.Settings", "SettingChanged");
    signal << "org.freedesktop.appearance" << key << QVariant::fromValue(QDBusVariant(scheme));
    QVERIFY(QDBusConnection("desktop").send(signal));
  }

 private slots:
  void initTestCase() {
    const QString daemon = QStandardPaths::findExecutable("dbus-daemon");
    if (daemon.isEmpty()) QSKIP("dbus-daemon is not installed");
    bus_.start(daemon, {"--session", "--nofork", "--print-address"});
    QVERIFY(bus_.waitForReadyRead(30000));
    const QByteArray address = bus_.readLine().trimmed();
    qputenv("DBUS_SESSION_BUS_ADDRESS", address);
    QDBusConnection desktop = QDBusConnection::connectToBus(QString::fromLatin1(address), "desktop");
    QVERIFY(desktop.isConnected());
    QVERIFY(
        desktop.registerObject("/org/freedesktop/portal/desktop", &portal_, QDBusConnection::ExportAllSlots));
    QVERIFY(desktop.registerService("org.freedesktop.portal.Desktop"));
  }
  void cleanupTestCase() {
    QDBusConnection::disconnectFromBus("desktop");
    bus_.kill();
    bus_.waitForFinished();
  }

  void answerAndChangesAreTold() {
    portal_.scheme = 1;
    DesktopScheme scheme;
    QSignalSpy told(&scheme, &DesktopScheme::told);
    QTRY_COMPARE_WITH_TIMEOUT(told.size(), 1, 30000);
    QCOMPARE(told[0][0].toBool(), true);
    change("accent-color", 2);
    change("color-scheme", 2);
    QTRY_COMPARE_WITH_TIMEOUT(told.size(), 2, 30000);
    QCOMPARE(told[1][0].toBool(), false);
  }

  void noPreferenceIsNoAnswer() {
    portal_.scheme = 0;
    DesktopScheme scheme;
    QSignalSpy told(&scheme, &DesktopScheme::told);
    change("color-scheme", 0);
    change("color-scheme", 1);
    QTRY_COMPARE_WITH_TIMEOUT(told.size(), 1, 30000);
    QCOMPARE(told[0][0].toBool(), true);
  }

  void themeFollowsUnlessOneIsChosen() {
    portal_.scheme = 1;
    ThemeController controller(*qApp);
    QTRY_VERIFY_WITH_TIMEOUT(Theme::current().dark, 30000);
    change("color-scheme", 2);
    QTRY_VERIFY_WITH_TIMEOUT(!Theme::current().dark, 30000);
    controller.setMode(ThemeMode::light);
    change("color-scheme", 1);
    QTRY_VERIFY_WITH_TIMEOUT(Theme::of(ThemeMode::system).dark, 30000);
    QVERIFY2(!Theme::current().dark, "light was chosen");
    controller.setMode(ThemeMode::system);
    QVERIFY(Theme::current().dark);
  }
};

QTEST_MAIN(DesktopSchemeTest)
#include "desktop_scheme_test.moc"
