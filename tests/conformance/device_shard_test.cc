// The GPUs' shards: on fake GPUs of every schedule, alone and several, and on
// the real ones of this machine.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/conformance/device_backend.h"
#include "tests/conformance/shard_conformance.h"

namespace accrue::kernels {
namespace {

ShardBackend OnFakes(std::string name, FakeSchedule schedule, int gpus) {
  return {std::move(name), [=] {
            return MakeFakeGpus({.schedule = schedule, .seed = 7}, gpus);
          }};
}

std::vector<ShardBackend> FakeBackends() {
  return {
#if !defined(__SANITIZE_THREAD__)  // the host's threads race no differently
    OnFakes("Eager", FakeSchedule::kEager, 1),
        OnFakes("Lazy", FakeSchedule::kLazy, 1),
        OnFakes("Random", FakeSchedule::kRandom, 1),
#endif
        OnFakes("ThreeRandom", FakeSchedule::kRandom, 3)
  };
}

std::unique_ptr<ShardMaker> StartCuda(size_t most) {
  auto gpus = OpenCudaGpus({});
  if (!gpus.ok()) return nullptr;
  gpus->resize(std::min(gpus->size(), most));
  return std::make_unique<DeviceShardMaker>(*std::move(gpus), MakeCudaKernels);
}

INSTANTIATE_TEST_SUITE_P(Fake, ShardConformance,
                         testing::ValuesIn(FakeBackends()), NameOfBackend);

INSTANTIATE_TEST_SUITE_P(
    Cuda, ShardConformance,
    testing::Values(ShardBackend{"One", [] { return StartCuda(1); }},
                    ShardBackend{"All", [] { return StartCuda(99); }}),
    NameOfBackend);

}  // namespace
}  // namespace accrue::kernels
