// Backend: where models live, and what makes their shards there.
//
// Errors.    of --device=cuda: OpenCudaGpus's, as "--device=cuda: reason".
//            --device=auto falls back on the CPU instead.
// Threading. safe once made.

#ifndef ACCRUE_SERVER_SERVICE_BACKEND_H_
#define ACCRUE_SERVER_SERVICE_BACKEND_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "server/device/device.h"
#include "server/device/gpu.h"
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
  // What becomes of the backend's way to make shards: it stays, unless a test
  // interferes.
  std::function<ShardFactory(ShardFactory)> wrap_shards =
      [](ShardFactory make_shard) { return make_shard; };
};

struct Backend {
  std::vector<std::unique_ptr<Gpu>> gpus;  // none: it is the CPU
  std::unique_ptr<Device> device;          // of publications
  ShardFactory make_shard;
};

absl::StatusOr<Backend> MakeBackend(const BackendOptions& options);

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_BACKEND_H_
