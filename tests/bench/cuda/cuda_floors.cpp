// Prints tables for RESULTS.md: cuda_floors [RESULTS.md]. With a file it prints nothing but says what is
// wrong, and fails, where a kernel of kernels/cuda has no row or two, or a line of the tables is not in the
// file.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>

#include "kernels/packed_matrix.h"
#include "tests/bench/cuda/floors.h"

namespace eyrie::bench {
namespace {

double arithmeticSeconds(const Floor& floor) {
  return floor.cost.flops / (floor.unit == Unit::tensor ? kTensorFlopsASecond : kPlainFlopsASecond);
}

std::string textOf(const std::filesystem::path& file) {
  std::ifstream stream(file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::vector<std::string> kernelsInSources() {
  static const std::regex definition(R"(__global__[^;{]*?\b(\w+_kernel)\()");
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(EYRIE_SOURCE_DIR "/kernels/cuda")) {
    if (entry.path().extension() != ".cu") continue;
    const std::string text = textOf(entry.path());
    for (std::sregex_iterator found(text.begin(), text.end(), definition), end; found != end; ++found)
      names.push_back((*found)[1]);
  }
  std::sort(names.begin(), names.end());
  return names;
}

int check(const std::vector<std::string>& lines, const char* results) {
  int wrong = 0;
  std::vector<std::string> rows = kernelsWithRows();
  std::sort(rows.begin(), rows.end());
  const std::vector<std::string> kernels = kernelsInSources();
  std::vector<std::string> differing;
  std::set_symmetric_difference(rows.begin(), rows.end(), kernels.begin(), kernels.end(),
                                std::back_inserter(differing));
  for (const std::string& name : differing) {
    fmt::print(stderr, "{}: expected one row in kernel_floors.cpp and one kernel in kernels/cuda\n", name);
    ++wrong;
  }
  const std::string text = fmt::format("\n{}", textOf(results));
  for (const std::string& line : lines) {
    if (text.find(fmt::format("\n{}\n", line)) != std::string::npos) continue;
    fmt::print(stderr, "{}: expected, as cuda_floors prints it today:\n{}\n", results, line);
    ++wrong;
  }
  return wrong;
}

}  // namespace

double Floor::seconds() const {
  return std::max(cost.bytes / kBytesASecond, arithmeticSeconds(*this));
}

bool Floor::isMoving() const {
  return cost.bytes / kBytesASecond >= arithmeticSeconds(*this);
}

std::string number(double value, int digits) {
  if (value < 999.5) return fmt::format("{:.{}g}", value, digits);
  const double unit = std::pow(10, std::floor(std::log10(value)) + 1 - digits);
  const std::string whole = fmt::format("{:.0f}", std::round(value / unit) * unit);
  std::string text;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    if (i > 0 && (whole.size() - i) % 3 == 0) text += ',';
    text += whole[i];
  }
  return text;
}

std::string microseconds(const Floor& floor) {
  const char* const bound = floor.isMoving()             ? ""
                            : floor.unit == Unit::tensor ? " (products)"
                                                         : " (arithmetic)";
  return number(1e6 * floor.seconds()) + bound;
}

OpCost products(DType weight, const std::vector<std::int64_t>& rows, std::int64_t cols, std::int64_t T,
                double inBytes, double outBytes) {
  const auto inputs = static_cast<double>(T * cols);
  OpCost all{inputs * inBytes, 0};
  for (const std::int64_t count : rows) {
    const auto outputs = static_cast<double>(T * count);
    all.bytes +=
        static_cast<double>(kernels::matrixBytes({nullptr, weight, count, cols})) + outputs * outBytes;
    all.flops += 2 * outputs * static_cast<double>(cols);
  }
  return all;
}

OpCost recurrentStep(DType gates, std::int64_t N, bool complex) {
  const auto R = static_cast<double>(kR);
  const auto K = static_cast<double>(kK);
  const double channels = complex ? R / 2 : R;
  const double weights = 2 * channels * static_cast<double>(kB);
  // Biases and rates of the gates; the convolution's weights and bias.
  const double parameters = (complex ? 4 : 3) * channels + (K + 1) * R;
  // x, y, out, the state read and written, and the ring: K - 1 of its rows read, one written.
  const double values = (5 + K) * R;
  const double scan = complex ? 25 * channels + 9 * R : 20 * R;
  const auto tokens = static_cast<double>(N);
  return {weights * static_cast<double>(kernels::dtypeSize(gates)) + 4 * (parameters + tokens * values),
          tokens * (2 * weights + 2 * K * R + scan)};
}

}  // namespace eyrie::bench

int main(int argc, char** argv) {
  using namespace eyrie::bench;
  std::vector<std::string> lines = kernelTable();
  lines.emplace_back();
  for (std::string& line : stepTables()) lines.push_back(std::move(line));
  if (argc > 1) return check(lines, argv[1]) == 0 ? 0 : 1;
  for (const std::string& line : lines) fmt::print("{}\n", line);
}
