// BenchCase: one named measurement of accrue_bench, and the list of them all.
//
// A source adds its cases by a static RegisterCase; main.cc runs those that the
// filter picks, each in turn, in the order of their names.
#ifndef ACCRUE_TESTS_BENCH_BENCH_CASE_H_
#define ACCRUE_TESTS_BENCH_BENCH_CASE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace accrue::bench {

struct BenchOptions {
  double min_seconds = 1;  // of measuring, for each case
  int threads = 0;         // of the compute pool; 0: as many as the machine has
};

struct BenchResult {
  double value = 0;
  std::string unit = {};
  // What it is compared with, in the same unit.
  std::optional<double> baseline = {};
  // Latencies: less is better, and so the ratio is baseline over value.
  bool less_is_better = false;
  // Why nothing was measured; empty: it was.
  std::string skipped = {};

  std::optional<double> ratio() const;
};

struct BenchCase {
  std::string name;  // as in "fold/adam/j4"
  std::string what;  // one line for --list: what is measured against what
  std::function<BenchResult(const BenchOptions&)> run;
};

// All cases, ascending by name.
std::vector<BenchCase> AllCases();

class RegisterCase {
 public:
  explicit RegisterCase(BenchCase bench_case);
};

// Median of `seconds`; not of none.
double Median(std::vector<double> seconds);

struct Timings {
  double seconds = 0;           // median of one run
  double baseline_seconds = 0;  // likewise
  int64_t runs = 0;             // of each, unmeasured ones too
};

// Runs the two in turn, A B A B ..., so that both meet the same weather, for
// min_seconds and at least five times each, after unmeasured ones in which
// memory is touched for the first time and sockets find their pace.
Timings MeasureInterleaved(double min_seconds, const std::function<void()>& run,
                           const std::function<void()>& baseline);

}  // namespace accrue::bench

#endif  // ACCRUE_TESTS_BENCH_BENCH_CASE_H_
