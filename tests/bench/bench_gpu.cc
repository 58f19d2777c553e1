#include "tests/bench/bench_gpu.h"

#include <utility>

#include "server/base/status_macros.h"

namespace accrue::bench {

const int64_t kBenchScale = 1;

absl::StatusOr<std::unique_ptr<Gpu>> OpenBenchGpu() {
  ACCRUE_ASSIGN_OR_RETURN(auto gpus, OpenCudaGpus({}));
  return std::move(gpus.front());
}

std::unique_ptr<kernels::DeviceKernels> MakeBenchKernels() {
  return kernels::MakeCudaKernels();
}

}  // namespace accrue::bench
