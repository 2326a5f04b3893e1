// What this machine is and has, for people.
#pragma once

#include <cstdint>
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
std::uint64_t peakResidentBytes();  // since the start, or since the last forgetPeak()
void forgetPeak();                  // where the system can

}  // namespace eyrie::app
