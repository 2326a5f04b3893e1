// What tests may ask of the emulated cuBLAS (blas.cpp).
#pragma once

#include <cstdint>

namespace eyrie::emulator {

// Whether it can be opened, from now on.
void letBlasOpen(bool opens);
// Whether it has an algorithm for anything, from now on.
void letBlasKnow(bool algorithms);
// Products it has computed so far.
std::uint64_t blasProducts();

}  // namespace eyrie::emulator
