// eyrie [MODEL] [--session ID] [--profile DIR] [--version] [--help]: the window.
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <QApplication>
#include <QCommandLineParser>
#include <QSocketNotifier>
#include <QTimer>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "app/gui/app_paths.h"
#include "app/gui/main_window.h"
#include "ui/theme/theme.h"

namespace {

int signalPipe[2] = {-1, -1};

void onSignal(int) {
  const char byte = 1;
  // Only what is safe in a signal handler: the notifier does the rest on the GUI thread.
  [[maybe_unused]] const ssize_t written = ::write(signalPipe[0], &byte, 1);
}

// Closing hands everything to the store first; after that a model in the middle of a long step, or a disk
// that hangs, must not keep the program.
void leaveWithin(std::chrono::milliseconds patience) {
  std::thread([patience] {
    std::this_thread::sleep_for(patience);
    std::_Exit(0);
  }).detach();
}

void closeOnSignals(QApplication& app) {
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, signalPipe) != 0) return;
  auto* notifier = new QSocketNotifier(signalPipe[1], QSocketNotifier::Read, &app);
  QObject::connect(notifier, &QSocketNotifier::activated, &app, [notifier] {
    notifier->setEnabled(false);
    leaveWithin(std::chrono::milliseconds(750));
    QApplication::closeAllWindows();
  });
  struct sigaction action = {};
  action.sa_handler = onSignal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGHUP, &action, nullptr);
}

struct Arguments {
  QString model;
  QString profile;
  std::int64_t session = 0;
};

// Before there is a QApplication: --help, --version and wrong options need no display. Exits with 2 on those.
Arguments parseArguments(int& argc, char** argv) {
  const QCoreApplication early(argc, argv);
  QCommandLineParser parser;
  parser.setApplicationDescription(QObject::tr("A desktop laboratory for recurrent language models."));
  parser.addHelpOption();
  parser.addVersionOption();
  parser.addPositionalArgument(QStringLiteral("model"),
                               QObject::tr("Folder, Hugging Face cache name or built-in model (griffin)."),
                               QStringLiteral("[MODEL]"));
  const QCommandLineOption session(QStringLiteral("session"), QObject::tr("Open this session."),
                                   QStringLiteral("ID"));
  const QCommandLineOption profile(QStringLiteral("profile"),
                                   QObject::tr("Keep settings, sessions and log in DIR."),
                                   QStringLiteral("DIR"));
  parser.addOptions({session, profile});
  if (!parser.parse(QCoreApplication::arguments())) {
    std::fprintf(stderr, "%s\n", qPrintable(parser.errorText()));
    std::exit(2);
  }
  parser.process(early);
  bool good = true;
  const qlonglong id = parser.isSet(session) ? parser.value(session).toLongLong(&good) : 0;
  if (!good || id < 0 || parser.positionalArguments().size() > 1) {
    std::fprintf(stderr, "%s\n",
                 qPrintable(QObject::tr("expected: eyrie [MODEL] [--session ID] [--profile DIR]")));
    std::exit(2);
  }
  return {parser.positionalArguments().value(0), parser.value(profile), id};
}

}  // namespace

int main(int argc, char** argv) {
  QCoreApplication::setAttribute(Qt::AA_ShareOpenGLContexts);
  QCoreApplication::setApplicationName(QStringLiteral("eyrie"));
  QCoreApplication::setApplicationVersion(QStringLiteral(EYRIE_VERSION));
  const Arguments arguments = parseArguments(argc, argv);
  QApplication::setHighDpiScaleFactorRoundingPolicy(Qt::HighDpiScaleFactorRoundingPolicy::PassThrough);
  QApplication app(argc, argv);
  QApplication::setWindowIcon(eyrie::ui::applicationIcon());
  QApplication::setDesktopFileName(QStringLiteral("eyrie"));
  const eyrie::app::AppPaths paths = eyrie::app::AppPaths::of(arguments.profile);
  eyrie::app::startLog(paths.log);
  spdlog::info("eyrie {} starts", EYRIE_VERSION);
  int code = 0;
  {
    const eyrie::app::Settings settings(paths.settings);
    eyrie::ui::ThemeController theme(app, settings.theme());
    theme.setProseSize(settings.proseSize());
    eyrie::app::MainWindow window(paths, &theme);
    closeOnSignals(app);
    window.show();
    spdlog::info("window shown");
    QTimer::singleShot(0, &window, [&] { window.begin(arguments.model, arguments.session); });
    code = QApplication::exec();
    leaveWithin(std::chrono::milliseconds(900));
  }
  spdlog::shutdown();
  return code;
}
