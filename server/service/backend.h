// Backend: where models live, and what makes their shards there.
//
// Memory.    each GPU has a staging ring, on itself and pinned on the host, for
//            as long as the backend lives (kernels/device_unit.h). No ledger
//            has the rings: pinned_bytes tells.
// Order.     small models go to the GPUs by turns, large ones to all of them;
//            where a GPU has no room for its share the shares change places.
// Errors.    of --device=cuda: OpenCudaGpus's and DeviceUnit::Make's, as
//            "--device=cuda: reason". --device=auto leaves out, with a warning,
//            a GPU without memory for its ring or whose kernels cannot be
//            loaded, and falls back on the CPU where none is left.
// Threading. safe once made.

#ifndef ACCRUE_SERVER_SERVICE_BACKEND_H_
#define ACCRUE_SERVER_SERVICE_BACKEND_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/device/device.h"
#include "server/device/gpu.h"
#include "server/kernels/device_kernels.h"
#include "server/kernels/device_unit.h"
#include "server/model/model.h"
#include "server/service/device_choice.h"

namespace accrue {

// The GPUs with these indices; none given: all there are.
using GpuOpener =
    std::function<absl::StatusOr<std::vector<std::unique_ptr<Gpu>>>(
        const std::vector<int>& indices)>;

struct BackendOptions {
  DeviceChoice device = {};
  GpuOpener open_gpus = OpenCudaGpus;
  // Of those GPUs.
  std::function<std::unique_ptr<kernels::DeviceKernels>()> make_kernels =
      kernels::MakeCudaKernels;
  // What becomes of the backend's way to make shards: it stays, unless a test
  // interferes.
  std::function<ShardFactory(ShardFactory)> wrap_shards =
      [](ShardFactory make_shard) { return make_shard; };
};

struct Backend {
  std::vector<std::unique_ptr<Gpu>> gpus;  // none: it is the CPU
  std::vector<std::unique_ptr<kernels::DeviceUnit>> units;  // [gpus]
  std::unique_ptr<Device> cpu;  // where there is no GPU
  Device* device = nullptr;     // the CPU, or the first of the GPUs
  ShardFactory make_shard;
  // ModelEnvironment's.
  absl::Duration pass_time = absl::ZeroDuration();

  // What it has pinned of the host's memory, whatever the models.
  int64_t pinned_bytes() const;
};

absl::StatusOr<Backend> MakeBackend(const BackendOptions& options);

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_BACKEND_H_
