#include "server/base/status_macros.h"
#include "server/device/gpu_cuda.h"
#include "tests/e2e/trap.h"

namespace accrue {
namespace {

__global__ void TrapKernel() { __trap(); }

}  // namespace

absl::Status QueueTrap(Stream& stream) {
  ACCRUE_ASSIGN_OR_RETURN(const cudaStream_t cuda_stream, CudaStreamOf(stream));
  TrapKernel<<<1, 1, 0, cuda_stream>>>();
  return CheckLaunch(stream, "Trap");
}

}  // namespace accrue
