// What this machine is and has, for people.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>

namespace eyrie::app {

struct Machine {
  std::string processor;  // as the system names it
  int cores = 0;
  std::uint64_t memoryBytes = 0;
  std::uint64_t freeBytes = 0;  // available without swapping
  std::string system;           // "Linux 6.1, Debian GNU/Linux 12 (bookworm)"
};

Machine thisMachine();

// Of this process.
double secondsSinceStart();  // in hundredths
std::uint64_t residentBytes();
std::uint64_t residentFileBytes();  // of them, pages of files that the system can take back
std::uint64_t peakResidentBytes();  // since the start, or since the last forgetPeak()
void forgetPeak();                  // where the system can
// Until none of its threads computes: a model may still be moving its weights when it is loaded.
void waitUntilIdle(const std::stop_token& stop);

}  // namespace eyrie::app
