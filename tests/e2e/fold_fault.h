// FoldFault: what befalls a GPU in the middle of a model's fold.
//
// Threading. safe.
#ifndef ACCRUE_TESTS_E2E_FOLD_FAULT_H_
#define ACCRUE_TESTS_E2E_FOLD_FAULT_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "server/device/gpu.h"
#include "server/kernels/device_kernels.h"
#include "server/model/model.h"

namespace accrue {

class FoldFault {
 public:
  // What befalls a stream's GPU; an error: the launch before it has failed.
  using Cause = std::function<absl::Status(Stream&)>;

  // Models of exactly `elems` elements meet it in the pass after
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

// A cause: the launch has failed, and no more than that.
absl::Status FailKernel(Stream& stream);

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_FOLD_FAULT_H_
