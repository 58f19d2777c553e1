#include "tests/bench/bench_case.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace accrue::bench {
namespace {

constexpr int kMinRuns = 5;
constexpr int kWarmUps = 3;

std::vector<BenchCase>& Registry() {
  static auto* const cases = new std::vector<BenchCase>;
  return *cases;
}

double SecondsOf(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
      .count();
}

}  // namespace

std::optional<double> BenchResult::ratio() const {
  if (!baseline) return std::nullopt;
  return less_is_better ? *baseline / value : value / *baseline;
}

std::vector<BenchCase> AllCases() {
  std::vector<BenchCase> cases = Registry();
  std::sort(
      cases.begin(), cases.end(),
      [](const BenchCase& a, const BenchCase& b) { return a.name < b.name; });
  return cases;
}

RegisterCase::RegisterCase(BenchCase bench_case) {
  Registry().push_back(std::move(bench_case));
}

double Median(std::vector<double> seconds) {
  const auto middle =
      seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2);
  std::nth_element(seconds.begin(), middle, seconds.end());
  return *middle;
}

Timings MeasureInterleaved(double min_seconds, const std::function<void()>& run,
                           const std::function<void()>& baseline) {
  for (int i = 0; i < kWarmUps; ++i) {
    run();
    baseline();
  }
  std::vector<double> seconds, baseline_seconds;
  double spent = 0;
  while (spent < min_seconds || seconds.size() < kMinRuns) {
    seconds.push_back(SecondsOf(run));
    baseline_seconds.push_back(SecondsOf(baseline));
    spent += seconds.back() + baseline_seconds.back();
  }
  const int64_t runs = kWarmUps + static_cast<int64_t>(seconds.size());
  return {Median(std::move(seconds)), Median(std::move(baseline_seconds)),
          runs};
}

}  // namespace accrue::bench
