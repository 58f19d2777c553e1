#include "server/kernels/device_unit.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "server/base/status_macros.h"

namespace accrue::kernels {

int FillingThreads(size_t gpu_count) {
  const auto cores = static_cast<int>(std::thread::hardware_concurrency());
  return std::clamp(cores / static_cast<int>(gpu_count), 2, 6);
}

absl::StatusOr<std::unique_ptr<DeviceUnit>> DeviceUnit::Make(
    Gpu* gpu, std::unique_ptr<DeviceKernels> kernels, const Options& options) {
  ACCRUE_ASSIGN_OR_RETURN(std::unique_ptr<StagingRing> ring,
                          StagingRing::Make(gpu, options.staging));
  ACCRUE_ASSIGN_OR_RETURN(const std::unique_ptr<Stream> stream,
                          gpu->NewStream());
  ACCRUE_RETURN_IF_ERROR(kernels->Load(*stream));
  return std::unique_ptr<DeviceUnit>(new DeviceUnit(
      gpu, std::move(kernels), std::move(ring), options.threads));
}

DeviceUnit::DeviceUnit(Gpu* gpu, std::unique_ptr<DeviceKernels> kernels,
                       std::unique_ptr<StagingRing> ring, int threads)
    : gpu_(gpu),
      kernels_(std::move(kernels)),
      ring_(std::move(ring)),
      pool_(threads) {}

}  // namespace accrue::kernels
