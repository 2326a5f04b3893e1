#include "app/cli/machine.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <cstdlib>
#include <fstream>
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

std::uint64_t kibibytes(const char* key) {
  return std::strtoull(lineValue("/proc/meminfo", key).c_str(), nullptr, 10) * 1024;
}

}  // namespace

Machine thisMachine() {
  Machine machine;
  machine.processor = lineValue("/proc/cpuinfo", "model name");
  if (machine.processor.empty()) machine.processor = "unknown processor";
  machine.cores = static_cast<int>(std::thread::hardware_concurrency());
  machine.memoryBytes = kibibytes("MemTotal");
  machine.freeBytes = kibibytes("MemAvailable");
  utsname name = {};
  uname(&name);
  const std::string release = lineValue("/etc/os-release", "PRETTY_NAME");
  machine.system = fmt::format("{} {}{}{}", name.sysname, name.release, release.empty() ? "" : ", ", release);
  return machine;
}

}  // namespace eyrie::app
