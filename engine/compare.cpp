#include "engine/compare.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "engine/error.h"

namespace eyrie::engine {
namespace {

std::int32_t rankOf(const float* row, std::int64_t V, std::int32_t token) {
  std::int32_t above = 0;
  for (std::int64_t v = 0; v < V; ++v)
    above += row[v] > row[token] || (row[v] == row[token] && v < token) ? 1 : 0;
  return above;
}

// A token impossible under p adds nothing, whatever q says.
float divergence(const float* p, const float* q, std::int64_t V) {
  double sum = 0;
  for (std::int64_t v = 0; v < V; ++v) {
    const double probability = std::exp(static_cast<double>(p[v]));
    if (probability > 0) sum += probability * (static_cast<double>(p[v]) - static_cast<double>(q[v]));
  }
  return static_cast<float>(std::max(0.0, sum));
}

void check(const ScoreResult& a, const ScoreResult& b, std::span<const std::int32_t> tokens) {
  if (a.first != b.first || a.rows != b.rows || a.V != b.V) {
    throw Error(
        ErrorCode::badArgument,
        fmt::format("compare: expected the same positions and vocabulary, found {} rows from {} of {} and "
                    "{} rows from {} of {}",
                    a.rows, a.first, a.V, b.rows, b.first, b.V));
  }
  if (a.first < 0 || static_cast<std::int64_t>(tokens.size()) < a.first + a.rows) {
    throw Error(ErrorCode::badArgument,
                fmt::format("compare: expected {} tokens, found {}", a.first + a.rows, tokens.size()));
  }
  for (std::int64_t i = 0; i < a.rows; ++i) {
    const std::int32_t token = tokens[static_cast<std::size_t>(a.first + i)];
    if (token < 0 || token >= a.V) {
      throw Error(ErrorCode::badArgument,
                  fmt::format("compare: token {}: expected 0 to {}, found {}", a.first + i, a.V - 1, token));
    }
  }
}

}  // namespace

std::vector<TokenDifference> compareScores(const ScoreResult& a, const ScoreResult& b,
                                           std::span<const std::int32_t> tokens) {
  check(a, b, tokens);
  std::vector<TokenDifference> differences;
  differences.reserve(static_cast<std::size_t>(a.rows));
  for (std::int64_t i = 0; i < a.rows; ++i) {
    const float* rowA = a.logprobs.data() + i * a.V;
    const float* rowB = b.logprobs.data() + i * b.V;
    TokenDifference difference;
    difference.position = a.first + i;
    difference.token = tokens[static_cast<std::size_t>(a.first + i)];
    difference.logprobA = rowA[difference.token];
    difference.logprobB = rowB[difference.token];
    difference.rankA = rankOf(rowA, a.V, difference.token);
    difference.rankB = rankOf(rowB, b.V, difference.token);
    difference.klAB = divergence(rowA, rowB, a.V);
    difference.klBA = divergence(rowB, rowA, a.V);
    differences.push_back(difference);
  }
  return differences;
}

double divergenceOf(std::span<const float> logitsA, std::span<const float> logitsB) {
  const auto maxA = static_cast<double>(*std::max_element(logitsA.begin(), logitsA.end()));
  const auto maxB = static_cast<double>(*std::max_element(logitsB.begin(), logitsB.end()));
  double sumA = 0;
  double sumB = 0;
  double weighted = 0;
  for (std::size_t v = 0; v < logitsA.size(); ++v) {
    const double a = static_cast<double>(logitsA[v]) - maxA;
    const double b = static_cast<double>(logitsB[v]) - maxB;
    const double weight = std::exp(a);
    sumA += weight;
    sumB += std::exp(b);
    weighted += weight * (a - b);
  }
  return std::max(0.0, weighted / sumA - std::log(sumA) + std::log(sumB));
}

}  // namespace eyrie::engine
