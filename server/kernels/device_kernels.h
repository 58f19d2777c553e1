// DeviceKernels: a GPU's kernels, queued on a stream.
//
// Equation.  tile.h and rule/cycle.h, per element; square_lanes.h, per block.
// Memory.    all that a launch points to lives until the stream has come so
//            far. The launch itself is copied.
// Order.     queued behind what the stream holds. Never blocks.
// Numerics.  bit_exact_cpu_gpu.
// Errors.    INTERNAL: it cannot be queued; nothing of it runs.
// Threading. safe for different streams.
#ifndef ACCRUE_SERVER_KERNELS_DEVICE_KERNELS_H_
#define ACCRUE_SERVER_KERNELS_DEVICE_KERNELS_H_

#include <memory>

#include "absl/status/status.h"
#include "server/device/gpu.h"
#include "server/kernels/device_work.h"

namespace accrue::kernels {

class DeviceKernels {
 public:
  virtual ~DeviceKernels() = default;

  // Loads them on the stream's GPU, so that no launch has to, when there may be
  // no memory for it. INTERNAL: the GPU cannot run them.
  virtual absl::Status Load(Stream& stream) = 0;

  // Those that take a Launch: of the groups that want them.

  // GroupWork's stage. Lamb's update leaves theta as it is: a mean is folded,
  // and SumTrust and StepLamb do the rest.
  virtual absl::Status FoldAndUpdate(Stream& stream, const Launch& launch) = 0;
  virtual absl::Status SumClipped(Stream& stream, const Launch& launch) = 0;
  virtual absl::Status SumTrust(Stream& stream, const Launch& launch) = 0;
  // m = clip*m under embedded buffering; theta = theta - rate*r.
  virtual absl::Status StepLamb(Stream& stream, const Launch& launch) = 0;
  virtual absl::Status SumMomentum(Stream& stream, const Launch& launch) = 0;
  virtual absl::Status Decode(Stream& stream, const DecodeLaunch& launch) = 0;
  virtual absl::Status Encode(Stream& stream, const EncodeLaunch& launch) = 0;
};

// Those of the GPUs that OpenCudaGpus opens; null where Accrue was built
// without CUDA.
std::unique_ptr<DeviceKernels> MakeCudaKernels();

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_DEVICE_KERNELS_H_
