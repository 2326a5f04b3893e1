#include "engine/verify/check.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace eyrie::engine::verify {
namespace {

double deviation(std::span<const float> values) {
  double mean = 0;
  for (const float v : values) mean += static_cast<double>(v);
  mean /= static_cast<double>(values.size());
  double square = 0;
  for (const float v : values) square += (static_cast<double>(v) - mean) * (static_cast<double>(v) - mean);
  return std::sqrt(square / static_cast<double>(values.size()));
}

double largest(std::span<const float> values) {
  double most = 0;
  for (const float v : values) most = std::max(most, std::abs(static_cast<double>(v)));
  return most;
}

// Divisor of errors; for Normalise::each it is taken element by element.
double scaleOf(Normalise normalise, std::span<const float> expected) {
  double scale = 1;
  if (normalise == Normalise::deviation) scale = deviation(expected);
  if (normalise == Normalise::largest) scale = largest(expected);
  return scale > 0 ? scale : 1;
}

double errorOf(float found, float expected, double scale, Normalise normalise) {
  if (found == expected) return 0;
  const double difference = std::abs(static_cast<double>(found) - static_cast<double>(expected));
  const double size = std::abs(static_cast<double>(expected));
  const double error = normalise == Normalise::each && size > 0 ? difference / size : difference / scale;
  return std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
}

}  // namespace

CheckResult compareArrays(std::string name, std::span<const float> found, std::span<const float> expected,
                          const Tolerance& tolerance) {
  CheckResult result;
  result.name = std::move(name);
  result.tolerance = tolerance.limit;
  if (found.size() != expected.size()) {
    result.worst = std::numeric_limits<double>::infinity();
    result.detail = fmt::format("expected {} values, found {}", expected.size(), found.size());
    return result;
  }
  const double scale = scaleOf(tolerance.normalise, expected);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double error = errorOf(found[i], expected[i], scale, tolerance.normalise);
    if (error <= result.worst) continue;
    result.worst = error;
    result.index = static_cast<std::int64_t>(i);
    result.detail = fmt::format("expected {:.9g}, found {:.9g}", expected[i], found[i]);
  }
  result.passed = result.worst <= tolerance.limit;
  return result;
}

CheckResult mustReject(std::string name, const CheckResult& broken) {
  CheckResult result = broken;
  result.name = std::move(name);
  result.passed = !broken.passed;
  result.detail = broken.passed ? "the broken variant was not noticed" : "rejected, as it must be";
  return result;
}

CheckResult statement(std::string name, bool holds, std::string detail) {
  CheckResult result;
  result.name = std::move(name);
  result.passed = holds;
  result.worst = holds ? 0 : std::numeric_limits<double>::infinity();
  result.detail = std::move(detail);
  return result;
}

std::string describeCheck(const CheckResult& result) {
  const char* word = result.passed ? "passed" : "FAILED";
  if (result.index < 0) {
    return fmt::format("{} {}{}{}", word, result.name, result.detail.empty() ? "" : ": ", result.detail);
  }
  return fmt::format("{} {}: worst {:.2e}, tolerance {:.1e}, at {}: {}", word, result.name, result.worst,
                     result.tolerance, result.index, result.detail);
}

}  // namespace eyrie::engine::verify
