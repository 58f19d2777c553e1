#include "tests/conformance/device_backend.h"

#include <string>
#include <utility>

#include "server/base/status_macros.h"
#include "tests/conformance/pinned_shard.h"
#include "tests/kernels/host_kernels.h"

namespace accrue::kernels {

std::unique_ptr<DeviceUnit> MakeSmallUnit(
    std::unique_ptr<Gpu> gpu, std::unique_ptr<DeviceKernels> kernels) {
  auto unit = DeviceUnit::Make(
      std::move(gpu), std::move(kernels),
      {.threads = 2, .staging = {.slots = 3, .slot_bytes = int64_t{2} << 20}});
  EXPECT_TRUE(unit.ok()) << unit.status();
  return *std::move(unit);
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
                                               int count) {
  std::vector<std::unique_ptr<DeviceUnit>> units;
  for (int i = 0; i < count; ++i) {
    FakeGpuOptions own = options;
    own.name = "fake:" + std::to_string(i);
    own.seed += static_cast<uint64_t>(i);
    units.push_back(
        MakeSmallUnit(std::make_unique<FakeGpu>(own), MakeHostKernels()));
  }
  return std::make_unique<DeviceShardMaker>(std::move(units));
}

}  // namespace accrue::kernels
