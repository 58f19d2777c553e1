// The GPU that cases run on: the machine's first; or, in the program that tests
// the cases, one that is none, where they are small.
#ifndef ACCRUE_TESTS_BENCH_BENCH_GPU_H_
#define ACCRUE_TESTS_BENCH_BENCH_GPU_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/device/gpu.h"
#include "server/kernels/device_kernels.h"

namespace accrue::bench {

// NOT_FOUND, FAILED_PRECONDITION: there is none; the message says why.
absl::StatusOr<std::unique_ptr<Gpu>> OpenBenchGpu();
std::unique_ptr<kernels::DeviceKernels> MakeBenchKernels();

// What a GPU's memory can do: the baseline of its kernels. Of device memory
// that does not overlap; queued behind what the stream holds.
absl::Status CopyOnDevice(Stream& stream, void* to, const void* from,
                          int64_t size_bytes);

// What cases divide their numbers of elements by.
extern const int64_t kBenchScale;

}  // namespace accrue::bench

#endif  // ACCRUE_TESTS_BENCH_BENCH_GPU_H_
