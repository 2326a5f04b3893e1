#include "app/cli/machine.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <sstream>
#include <thread>

namespace eyrie::app {
namespace {

// The rest of the first line of `file` that begins with `key`, less separators and quotes; "" if there is
// none.
std::string lineValue(const char* file, const std::string& key) {
  std::ifstream stream(file);
  std::string line;
  while (std::getline(stream, line)) {
    if (!line.starts_with(key)) continue;
    const auto begin = line.find_first_not_of(" \t:=\"", key.size());
    const auto end = line.find_last_not_of(" \t\"");
    return begin == line.npos ? std::string() : line.substr(begin, end - begin + 1);
  }
  return {};
}

std::uint64_t kibibytes(const char* file, const char* key) {
  return std::strtoull(lineValue(file, key).c_str(), nullptr, 10) * 1024;
}

constexpr const char* kMemory = "/proc/meminfo";
constexpr const char* kProcess = "/proc/self/status";

}  // namespace

Machine thisMachine() {
  Machine machine;
  machine.processor = lineValue("/proc/cpuinfo", "model name");
  if (machine.processor.empty()) machine.processor = "unknown processor";
  machine.cores = static_cast<int>(std::thread::hardware_concurrency());
  machine.memoryBytes = kibibytes(kMemory, "MemTotal");
  machine.freeBytes = kibibytes(kMemory, "MemAvailable");
  utsname name = {};
  uname(&name);
  const std::string release = lineValue("/etc/os-release", "PRETTY_NAME");
  machine.system = fmt::format("{} {}{}{}", name.sysname, name.release, release.empty() ? "" : ", ", release);
  return machine;
}

double secondsSinceStart() {
  std::ifstream stream("/proc/self/stat");
  std::string text;
  std::getline(stream, text);
  // The 22nd word is the start in ticks after the machine's; the second, in brackets, may hold blanks.
  std::istringstream words(text.substr(std::min(text.size(), text.rfind(')') + 1)));
  std::string word;
  for (int i = 3; i <= 22; ++i) words >> word;
  timespec now = {};
  clock_gettime(CLOCK_BOOTTIME, &now);
  const double start = std::strtod(word.c_str(), nullptr) / static_cast<double>(sysconf(_SC_CLK_TCK));
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec) - start;
}

std::uint64_t residentBytes() {
  return kibibytes(kProcess, "VmRSS");
}

std::uint64_t residentFileBytes() {
  return kibibytes(kProcess, "RssFile");
}

std::uint64_t peakResidentBytes() {
  return kibibytes(kProcess, "VmHWM");
}

void waitUntilIdle(const std::stop_token& stop) {
  constexpr std::chrono::duration<double> kLook(0.1);
  constexpr double kBusy = 0.05;  // of that time
  const auto computed = [] {
    timespec used = {};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
  };
  for (bool idle = false; !idle && !stop.stop_requested();) {
    const double before = computed();
    std::this_thread::sleep_for(kLook);
    idle = computed() - before < kBusy * kLook.count();
  }
}

void forgetPeak() {
  std::ofstream("/proc/self/clear_refs") << "5";
}

}  // namespace eyrie::app
