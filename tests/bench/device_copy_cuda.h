// CopyOnDevice: what a GPU's memory can do: the baseline of its kernels.
//
// Memory.    device memory that does not overlap.
// Order.     queued behind what the stream holds. Never blocks.
#ifndef ACCRUE_TESTS_BENCH_DEVICE_COPY_CUDA_H_
#define ACCRUE_TESTS_BENCH_DEVICE_COPY_CUDA_H_

#include <cstdint>

#include "absl/status/status.h"
#include "server/device/gpu.h"

namespace accrue::bench {

// cudaMemcpyAsync, on a stream of a GPU that OpenCudaGpus opened.
absl::Status CopyOnDevice(Stream& stream, void* to, const void* from,
                          int64_t size_bytes);

}  // namespace accrue::bench

#endif  // ACCRUE_TESTS_BENCH_DEVICE_COPY_CUDA_H_
