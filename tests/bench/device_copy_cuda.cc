#include "tests/bench/device_copy_cuda.h"

#include <cuda_runtime_api.h>

#include "server/device/gpu_cuda.h"

namespace accrue::bench {

absl::Status CopyOnDevice(Stream& stream, void* to, const void* from,
                          int64_t size_bytes) {
  const cudaError_t error =
      cudaMemcpyAsync(to, from, static_cast<size_t>(size_bytes),
                      cudaMemcpyDeviceToDevice, CudaStreamOf(stream));
  if (error == cudaSuccess) return absl::OkStatus();
  return absl::InternalError(cudaGetErrorString(error));
}

}  // namespace accrue::bench
