#include <cuda_runtime_api.h>

#include "server/base/status_macros.h"
#include "server/device/gpu_cuda.h"
#include "tests/bench/bench_gpu.h"

namespace accrue::bench {

absl::Status CopyOnDevice(Stream& stream, void* to, const void* from,
                          int64_t size_bytes) {
  ACCRUE_ASSIGN_OR_RETURN(const cudaStream_t cuda_stream, CudaStreamOf(stream));
  return CheckCuda(stream,
                   cudaMemcpyAsync(to, from, static_cast<size_t>(size_bytes),
                                   cudaMemcpyDeviceToDevice, cuda_stream),
                   "cudaMemcpyAsync");
}

}  // namespace accrue::bench
