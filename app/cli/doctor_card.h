// What doctor says of a card beside what it computes: its driver, what it reaches at best, how long each op
// takes.
#pragma once

namespace eyrie::app {

// The devices, or why there are none. Returns whether one runs this program.
bool printDevices();
// Measured on the first card. Throw engine::Error.
void printCardCeilings();
void printCardTimes();

}  // namespace eyrie::app
