#include <cstring>

#include "tests/bench/bench_gpu.h"
#include "tests/device/fake_gpu.h"
#include "tests/kernels/host_kernels.h"

namespace accrue::bench {

const int64_t kBenchScale = 1024;

absl::StatusOr<std::unique_ptr<Gpu>> OpenBenchGpu() {
  return std::make_unique<FakeGpu>(
      FakeGpuOptions{.schedule = FakeSchedule::kEager});
}

std::unique_ptr<kernels::DeviceKernels> MakeBenchKernels() {
  return kernels::MakeHostKernels();
}

absl::Status CopyOnDevice(Stream& stream, void* to, const void* from,
                          int64_t size_bytes) {
  return static_cast<FakeStream&>(stream).Enqueue([=] {
    std::memcpy(to, from, static_cast<size_t>(size_bytes));
    return absl::OkStatus();
  });
}

}  // namespace accrue::bench
