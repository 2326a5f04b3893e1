// Why a figure missed its goal, measured: what the table says beside a miss. Each takes about as long as a
// run.
#pragma once

#include <string>

#include "app/cli/bench_runs.h"
#include "kernels/dtype.h"
#include "kernels/thread_pool.h"

namespace eyrie::app {

// The same steps with every matrix merely read.
std::string stepsMerelyRead(BenchRuns& runs, const DecodeRun& run);

// Where the time goes in which `tokens` are read, and how near the products alone come to `ceiling`
// (operations a second).
std::string whereReadingGoes(BenchRuns& runs, std::int64_t tokens, double ceiling);

// The quantising of `to` on data that stay in the cache.
std::string quantisingInCache(BenchRuns& runs, kernels::DType to);

// The arithmetic of a scan without its traffic, and its traffic without its arithmetic.
std::string scanTakenApart(BenchRuns& runs, const BenchResult& scan);

// As many bytes copied into memory at hand, and as many given anew by the system.
std::string copyTakenApart(const BenchRuns& runs, kernels::ThreadPool& pool, std::uint64_t bytes);

// How many times faster the products alone read with `fast` than with `slow`.
std::string productsCompared(BenchRuns& slow, BenchRuns& fast, std::int64_t tokens);

}  // namespace eyrie::app
