#include "absl/status/status.h"
#include "server/device/gpu.h"

namespace accrue {

absl::StatusOr<std::vector<std::unique_ptr<Gpu>>> OpenCudaGpus(
    const std::vector<int>&) {
  return absl::NotFoundError("built without CUDA");
}

}  // namespace accrue
