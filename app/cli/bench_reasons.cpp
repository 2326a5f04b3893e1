#include "app/cli/bench_reasons.h"

#include <fmt/format.h>

#include <cstring>

#include "app/cli/bench_figure.h"
#include "app/cli/bench_shares.h"
#include "kernels/pages.h"

namespace eyrie::app {
namespace {

constexpr std::int64_t kGrain = std::int64_t{1} << 20;  // bytes

}  // namespace

std::string stepsMerelyRead(BenchRuns& runs, const DecodeRun& run) {
  const ReadInsteadOfMultiplying reading;
  const BenchResult read = runs.decode({run}).front();
  return fmt::format("the same steps with matrices merely read: {:.1f} ms, {:.1f} %",
                     1e3 * read.median() / static_cast<double>(read.tokens), spreadOf(read.shares()).median);
}

std::string whereReadingGoes(BenchRuns& runs, std::int64_t tokens, double ceiling) {
  const Shares shares = sharesOf(1, [&] { return runs.timePrefill(tokens, 0); });
  const double rate = runs.productFlops(tokens) / (shares.ofProducts() * shares.seconds);
  return fmt::format("{}; matrices and gates alone at {:.1f} %", shares.describe(), 100 * rate / ceiling);
}

std::string quantisingInCache(BenchRuns& runs, kernels::DType to) {
  const BenchResult small = runs.quantise(to, BenchRuns::QuantisedRows::inCache);
  return fmt::format("on data in the cache {:.2f} GB/s", small.rate() / kGiga);
}

std::string scanTakenApart(BenchRuns& runs, const BenchResult& scan) {
  const double inCache = runs.timeScanInCache(scan.tokens);
  const double sum = runs.timeSumInPlace(scan.tokens);
  const auto share = [&](double seconds) { return 100 * scan.bytes / seconds / scan.ceiling(); };
  return fmt::format(
      "its arithmetic alone, on data in the first cache, {:.1f} ms, as fast as {:.0f} % of {}; merely adding "
      "two such arrays to the third {:.1f} ms, {:.0f} %",
      1e3 * inCache, share(inCache), nameOf(scan.limit), 1e3 * sum, share(sum));
}

std::string copyTakenApart(const BenchRuns& runs, kernels::ThreadPool& pool, std::uint64_t bytes) {
  const auto each = [&](const auto& work) {
    pool.parallelFor(static_cast<std::int64_t>(bytes), kGrain,
                     [&](std::int64_t begin, std::int64_t end, int) { work(begin, end - begin); });
  };
  const auto fill = [&](kernels::Pages& pages) {
    std::byte* const data = pages.bytes().data();
    each([&](std::int64_t at, std::int64_t n) { std::memset(data + at, 1, static_cast<std::size_t>(n)); });
  };
  const double anew = runs.medianSeconds([&] {
    kernels::Pages pages(bytes);
    fill(pages);
  });
  kernels::Pages from(bytes);
  kernels::Pages to(bytes);
  fill(from);
  fill(to);
  const double copied = runs.medianSeconds([&] {
    each([&](std::int64_t at, std::int64_t n) {
      std::memcpy(to.bytes().data() + at, from.bytes().data() + at, static_cast<std::size_t>(n));
    });
  });
  return fmt::format("as many bytes copied into memory at hand {:.2f} ms, given anew and filled {:.2f} ms",
                     1e3 * copied, 1e3 * anew);
}

std::string productsCompared(BenchRuns& slow, BenchRuns& fast, std::int64_t tokens) {
  const Shares before = sharesOf(1, [&] { return slow.timePrefill(tokens, 0); });
  const Shares after = sharesOf(1, [&] { return fast.timePrefill(tokens, 0); });
  return fmt::format("matrices and gates alone {:.2f} times as fast, {:.1f} % of its time",
                     before.ofProducts() * before.seconds / (after.ofProducts() * after.seconds),
                     100 * after.ofProducts());
}

}  // namespace eyrie::app
