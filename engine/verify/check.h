// One verified statement: what was compared, how far apart it was, how far it may be.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/verify/tolerances.h"

namespace eyrie::engine::verify {

struct CheckResult {
  std::string name;  // "griffin-tiny · cpu · steps · logits"
  bool passed = false;
  double worst = 0;         // largest normalised error
  double tolerance = 0;     // of the normalised error
  std::int64_t index = -1;  // where it was worst, in the flat array
  std::string detail;       // expected and found there, or what went wrong
};

// Compares element by element, normalised as the tolerance says. A NaN where there should be none, or a
// different length, fails.
CheckResult compareArrays(std::string name, std::span<const float> found, std::span<const float> expected,
                          const Tolerance& tolerance);
// Passes exactly when `broken` did not: a tolerance that lets a broken variant through proves nothing.
CheckResult mustReject(std::string name, const CheckResult& broken);
// A statement without numbers.
CheckResult statement(std::string name, bool holds, std::string detail = {});

// One line: "FAILED name: worst 3.1e-2 > 2.0e-4 at 17: expected …, found …".
std::string describeCheck(const CheckResult& result);

}  // namespace eyrie::engine::verify
