// DeviceUnit: a GPU with what passes on it need: the way in and out, kernels,
// and threads that fill the one and queue the other.
//
// Memory.    its ring's, on the host and on the device: kept for good.
// Order.     the pool's threads may block in the ring; they do no other work.
// Threading. safe.
#ifndef ACCRUE_SERVER_KERNELS_DEVICE_UNIT_H_
#define ACCRUE_SERVER_KERNELS_DEVICE_UNIT_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "server/base/memory_ledger.h"
#include "server/base/work_pool.h"
#include "server/device/gpu.h"
#include "server/device/staging_ring.h"
#include "server/kernels/device_kernels.h"

namespace accrue::kernels {

// Threads that fill each GPU's slots where there are so many GPUs. One core
// fills pinned memory slower than a bus empties it, and the cores are for all
// GPUs.
int FillingThreads(size_t gpu_count);

class DeviceUnit {
 public:
  struct Options {
    int threads = FillingThreads(1);
    StagingOptions staging = {.slots = 8, .slot_bytes = int64_t{8} << 20};
  };

  // The GPU outlives it. RESOURCE_EXHAUSTED: no memory for the ring; INTERNAL:
  // the GPU cannot run the kernels.
  static absl::StatusOr<std::unique_ptr<DeviceUnit>> Make(
      Gpu* gpu, std::unique_ptr<DeviceKernels> kernels, const Options& options);

  Gpu& gpu() { return *gpu_; }
  StagingRing& ring() { return *ring_; }
  DeviceKernels& kernels() { return *kernels_; }
  WorkPool& pool() { return pool_; }

 private:
  DeviceUnit(Gpu* gpu, std::unique_ptr<DeviceKernels> kernels,
             std::unique_ptr<StagingRing> ring, int threads);

  Gpu* const gpu_;
  const std::unique_ptr<DeviceKernels> kernels_;
  const std::unique_ptr<StagingRing> ring_;
  WorkPool pool_;  // first to go
};

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_DEVICE_UNIT_H_
