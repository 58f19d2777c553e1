// What kernels need to know of a Gpu's streams to run on them.
//
// Order.     CudaStreamOf -> <<<..., stream>>> -> CheckLaunch, on one thread.
// Errors.    INTERNAL: the call failed. A sticky error loses the GPU.
// Threading. compatible, as the stream is.
#ifndef ACCRUE_SERVER_DEVICE_GPU_CUDA_H_
#define ACCRUE_SERVER_DEVICE_GPU_CUDA_H_

#include <cuda_runtime_api.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/device/gpu.h"

namespace accrue {

// The stream of a Gpu that OpenCudaGpus opened, whose device is the calling
// thread's current one from now on.
absl::StatusOr<cudaStream_t> CudaStreamOf(Stream& stream);

// The outcome of a call on the stream's device, as the Gpu tells it.
absl::Status CheckCuda(Stream& stream, cudaError_t error,
                       absl::string_view what);

// How the launches since CudaStreamOf went. `kernel`: its name, for the error.
absl::Status CheckLaunch(Stream& stream, absl::string_view kernel);

}  // namespace accrue

#endif  // ACCRUE_SERVER_DEVICE_GPU_CUDA_H_
