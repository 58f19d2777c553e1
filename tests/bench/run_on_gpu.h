// RunOnGpu: a case that needs a GPU, for this case alone.
#ifndef ACCRUE_TESTS_BENCH_RUN_ON_GPU_H_
#define ACCRUE_TESTS_BENCH_RUN_ON_GPU_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "server/device/gpu.h"
#include "tests/bench/bench_case.h"
#include "tests/bench/bench_gpu.h"

namespace accrue::bench {

// `skipped`, if there is none.
inline BenchResult RunOnGpu(
    const std::function<BenchResult(std::unique_ptr<Gpu>)>& run) {
  auto gpu = OpenBenchGpu();
  if (!gpu.ok()) return {.skipped = std::string(gpu.status().message())};
  return run(*std::move(gpu));
}

}  // namespace accrue::bench

#endif  // ACCRUE_TESTS_BENCH_RUN_ON_GPU_H_
