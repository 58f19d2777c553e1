// GpuLoss: a GPU that is lost in the middle of a model's fold.
//
// Threading. safe.
#ifndef ACCRUE_TESTS_E2E_GPU_LOSS_H_
#define ACCRUE_TESTS_E2E_GPU_LOSS_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "server/device/gpu.h"
#include "server/kernels/device_kernels.h"
#include "server/model/model.h"

namespace accrue {

class GpuLoss {
 public:
  // What loses a stream's GPU.
  using Cause = std::function<absl::Status(Stream&)>;

  // Models of exactly `elems` elements lose their GPU in the pass after
  // `good_passes`.
  ShardFactory WrapShards(int64_t elems, int64_t good_passes,
                          ShardFactory inner) const;
  // Kernels of one GPU: behind the first of that pass stands the cause.
  std::unique_ptr<kernels::DeviceKernels> WrapKernels(
      std::unique_ptr<kernels::DeviceKernels> inner, Cause cause) const;

 private:
  const std::shared_ptr<std::atomic<bool>> due_ =
      std::make_shared<std::atomic<bool>>(false);
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_GPU_LOSS_H_
