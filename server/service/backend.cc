#include "server/service/backend.h"

#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/logging.h"
#include "server/base/status_macros.h"
#include "server/kernels/device_shard.h"

namespace accrue {
namespace {

absl::StatusOr<std::vector<std::unique_ptr<Gpu>>> OpenSome(
    const BackendOptions& options) {
  auto gpus = options.open_gpus(options.device.gpus);
  if (gpus.ok() && gpus->empty()) return absl::NotFoundError("there is no GPU");
  return gpus;
}

// A pass over one parameter: at 20 GB/s in the host's memory, and at what the
// slowest bus still does of a gradient's 4 bytes.
constexpr absl::Duration kCpuPassTime = absl::Nanoseconds(1);
const absl::Duration kGpuPassTime = absl::Nanoseconds(1) / 4;

Backend OnCpu(const BackendOptions& options) {
  Backend backend;
  backend.cpu = MakeCpuDevice();
  backend.device = backend.cpu.get();
  backend.make_shard = options.wrap_shards(kernels::MakeCpuShard);
  backend.pass_time = kCpuPassTime;
  return backend;
}

// Each model begins on the next GPU that is not lost.
ShardFactory OnUnits(std::vector<kernels::DeviceUnit*> units) {
  auto next = std::make_shared<std::atomic<size_t>>(0);
  return [units = std::move(units), next](const kernels::ShardOptions& options,
                                          Device*, WorkPool* pool,
                                          WorkPool::Lane lane)
             -> absl::StatusOr<std::unique_ptr<kernels::Shard>> {
    const size_t first = next->fetch_add(1);
    std::vector<kernels::DeviceUnit*> sound;
    absl::Status lost;
    for (size_t i = 0; i < units.size(); ++i) {
      kernels::DeviceUnit* const unit = units[(first + i) % units.size()];
      absl::Status health = unit->gpu().health();
      if (health.ok()) sound.push_back(unit);
      lost.Update(health);
    }
    if (sound.empty()) return lost;
    return kernels::MakeDeviceShard(options, std::move(sound),
                                    {.pool = pool, .lane = std::move(lane)});
  };
}

// What passes on the GPUs need; those that cannot have it are closed and left
// out, unless they were asked for.
absl::StatusOr<std::vector<std::unique_ptr<kernels::DeviceUnit>>> MakeUnits(
    std::vector<std::unique_ptr<Gpu>>& gpus, const BackendOptions& options) {
  const bool may_leave_out = options.device.kind == DeviceChoice::Kind::kAuto;
  std::vector<std::unique_ptr<Gpu>> fit;  // outlives the units
  std::vector<std::unique_ptr<kernels::DeviceUnit>> units;
  kernels::DeviceUnit::Options unit_options;
  unit_options.threads = kernels::FillingThreads(gpus.size());
  absl::Status unfit;
  for (auto& gpu : gpus) {
    auto unit = kernels::DeviceUnit::Make(gpu.get(), options.make_kernels(),
                                          unit_options);
    if (unit.ok()) {
      units.push_back(*std::move(unit));
      fit.push_back(std::move(gpu));
      continue;
    }
    if (!may_leave_out) return unit.status();
    ACCRUE_LOG(warn, "a GPU is left out: {}", unit.status().message());
    unfit.Update(unit.status());
  }
  if (units.empty()) return unfit;
  gpus = std::move(fit);
  return units;
}

absl::StatusOr<Backend> OnGpus(const BackendOptions& options) {
  Backend backend;
  ACCRUE_ASSIGN_OR_RETURN(backend.gpus, OpenSome(options));
  ACCRUE_ASSIGN_OR_RETURN(backend.units, MakeUnits(backend.gpus, options));
  std::vector<kernels::DeviceUnit*> units;
  for (const auto& unit : backend.units) units.push_back(unit.get());
  backend.device = backend.gpus.front().get();
  backend.make_shard = options.wrap_shards(OnUnits(std::move(units)));
  backend.pass_time = kGpuPassTime;
  return backend;
}

}  // namespace

int64_t Backend::pinned_bytes() const {
  int64_t bytes = 0;
  for (const auto& unit : units) bytes += unit->ring().size_bytes();
  return bytes;
}

absl::StatusOr<Backend> MakeBackend(const BackendOptions& options) {
  if (options.device.kind == DeviceChoice::Kind::kCpu) return OnCpu(options);
  absl::StatusOr<Backend> backend = OnGpus(options);
  if (backend.ok()) return backend;
  const absl::Status& why = backend.status();
  if (options.device.kind == DeviceChoice::Kind::kCuda) {
    return absl::Status(
        why.code(), absl::StrCat("--device=", ToString(options.device), ": ",
                                 why.message()));
  }
  ACCRUE_LOG(info, "models live on the CPU: {}", why.message());
  return OnCpu(options);
}

}  // namespace accrue
