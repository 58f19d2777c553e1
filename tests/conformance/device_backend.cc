#include "tests/conformance/device_backend.h"

#include <string>
#include <utility>

#include "server/base/status_macros.h"
#include "tests/conformance/pinned_shard.h"
#include "tests/kernels/host_kernels.h"

namespace accrue::kernels {

std::unique_ptr<DeviceUnit> MakeSmallUnit(
    Gpu* gpu, std::unique_ptr<DeviceKernels> kernels) {
  auto unit = DeviceUnit::Make(
      gpu, std::move(kernels),
      {.threads = 2, .staging = {.slots = 3, .slot_bytes = int64_t{2} << 20}});
  EXPECT_TRUE(unit.ok()) << unit.status();
  return *std::move(unit);
}

DeviceShardMaker::DeviceShardMaker(
    std::vector<std::unique_ptr<Gpu>> gpus, size_t unit_count,
    const std::function<std::unique_ptr<DeviceKernels>()>& make_kernels)
    : gpus_(std::move(gpus)) {
  for (size_t i = 0; i < unit_count; ++i) {
    units_.push_back(
        MakeSmallUnit(gpus_[i % gpus_.size()].get(), make_kernels()));
  }
}

absl::StatusOr<std::unique_ptr<Shard>> DeviceShardMaker::Make(
    const ShardOptions& options) {
  std::vector<DeviceUnit*> units;
  for (const auto& unit : units_) units.push_back(unit.get());
  ACCRUE_ASSIGN_OR_RETURN(
      std::unique_ptr<Shard> shard,
      MakeDeviceShard(options, units, {.least_part_elems = 1}));
  return MakePinnedShard(std::move(shard), &units_[0]->gpu(), options.blocks);
}

std::unique_ptr<DeviceShardMaker> MakeFakeGpus(const FakeGpuOptions& options,
                                               int count, size_t unit_count) {
  std::vector<std::unique_ptr<Gpu>> gpus;
  for (int i = 0; i < count; ++i) {
    FakeGpuOptions own = options;
    own.name = "fake:" + std::to_string(i);
    own.seed += static_cast<uint64_t>(i);
    gpus.push_back(std::make_unique<FakeGpu>(own));
  }
  return std::make_unique<DeviceShardMaker>(std::move(gpus), unit_count,
                                            MakeHostKernels);
}

}  // namespace accrue::kernels
