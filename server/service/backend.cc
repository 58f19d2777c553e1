#include "server/service/backend.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/logging.h"

namespace accrue {
namespace {

absl::StatusOr<std::vector<std::unique_ptr<Gpu>>> OpenSome(
    const BackendOptions& options) {
  auto gpus = options.open_gpus(options.device.gpus);
  if (gpus.ok() && gpus->empty()) return absl::NotFoundError("there is no GPU");
  return gpus;
}

Backend OnCpu(const BackendOptions& options) {
  return {.gpus = {},
          .device = MakeCpuDevice(),
          .make_shard = options.wrap_shards(kernels::MakeCpuShard)};
}

Backend OnGpus(std::vector<std::unique_ptr<Gpu>> gpus,
               const BackendOptions& options) {
  Backend backend = OnCpu(options);
  backend.gpus = std::move(gpus);
  return backend;
}

}  // namespace

absl::StatusOr<Backend> MakeBackend(const BackendOptions& options) {
  if (options.device.kind == DeviceChoice::Kind::kCpu) return OnCpu(options);
  auto gpus = OpenSome(options);
  if (gpus.ok()) return OnGpus(*std::move(gpus), options);
  if (options.device.kind == DeviceChoice::Kind::kCuda) {
    return absl::Status(gpus.status().code(),
                        absl::StrCat("--device=", ToString(options.device),
                                     ": ", gpus.status().message()));
  }
  ACCRUE_LOG(info, "models live on the CPU: {}", gpus.status().message());
  return OnCpu(options);
}

}  // namespace accrue
