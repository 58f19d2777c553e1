// The GPUs' shards: on fake GPUs of every schedule, alone and several, and on
// the real ones of this machine.
#include <algorithm>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/base/status_macros.h"
#include "server/base/work_pool.h"
#include "tests/conformance/device_backend.h"
#include "tests/conformance/shard_conformance.h"
#include "tests/kernels/host_kernels.h"

namespace accrue::kernels {
namespace {

ShardBackend OnFakes(std::string name, FakeSchedule schedule, int gpus,
                     size_t units) {
  return {std::move(name), [=] {
            return MakeFakeGpus({.schedule = schedule, .seed = 7}, gpus, units);
          }};
}

std::vector<ShardBackend> FakeBackends() {
  return {
#if !defined(__SANITIZE_THREAD__)  // the host's threads race no differently
    OnFakes("Eager", FakeSchedule::kEager, 1, 1),
        OnFakes("Lazy", FakeSchedule::kLazy, 1, 1),
        OnFakes("Random", FakeSchedule::kRandom, 1, 1),
        OnFakes("TwoPartsRandom", FakeSchedule::kRandom, 1, 2),
#endif
        OnFakes("ThreeRandom", FakeSchedule::kRandom, 3, 3)
  };
}

absl::StatusOr<std::unique_ptr<ShardMaker>> OnOneGpu() {
  ACCRUE_ASSIGN_OR_RETURN(auto gpus, OpenCudaGpus({}));
  gpus.resize(1);
  return std::make_unique<DeviceShardMaker>(std::move(gpus), 1,
                                            MakeCudaKernels);
}

// One on each GPU, or both on the only one.
absl::StatusOr<std::unique_ptr<ShardMaker>> InParts() {
  ACCRUE_ASSIGN_OR_RETURN(auto gpus, OpenCudaGpus({}));
  const size_t parts = std::max<size_t>(gpus.size(), 2);
  return std::make_unique<DeviceShardMaker>(std::move(gpus), parts,
                                            MakeCudaKernels);
}

INSTANTIATE_TEST_SUITE_P(Fake, ShardConformance,
                         testing::ValuesIn(FakeBackends()), NameOfBackend);

INSTANTIATE_TEST_SUITE_P(Cuda, ShardConformance,
                         testing::Values(ShardBackend{"One", OnOneGpu},
                                         ShardBackend{"Parts", InParts}),
                         NameOfBackend);

// Whoever waits for a pass goes on there: a unit's threads are needed.
TEST(DeviceShardTest, APassEndsOnThePoolThatItWasGiven) {
  FakeGpu gpu({});
  WorkPool pool(1);
  const auto unit = MakeSmallUnit(&gpu, MakeHostKernels());
  std::promise<std::thread::id> pools;
  pool.Post(pool.NewLane(),
            [&] { pools.set_value(std::this_thread::get_id()); });
  ShardOptions options;
  options.blocks = std::make_shared<const BlockMap>(MakeBlockMap({5}, {0}, 1));
  const auto shard = MakeDeviceShard(options, {unit.get()},
                                     {.pool = &pool, .lane = pool.NewLane()});
  ASSERT_TRUE(shard.ok()) << shard.status();
  std::promise<std::thread::id> ended;
  Pass pass;
  pass.groups.resize(1);
  (*shard)->Run(std::move(pass), [&](const auto& result) {
    EXPECT_TRUE(result.ok()) << result.status();
    ended.set_value(std::this_thread::get_id());
  });
  EXPECT_EQ(ended.get_future().get(), pools.get_future().get());
}

// A GPU may take its time, and others' threads are not there to wait for it.
TEST(DeviceShardTest, LoadAndResetWaitOnTheUnitsThreadsAlone) {
  FakeGpu gpu({});
  WorkPool pool(1);
  const auto unit = MakeSmallUnit(&gpu, MakeHostKernels());
  ShardOptions options;
  options.blocks = std::make_shared<const BlockMap>(MakeBlockMap({5}, {0}, 1));
  const auto shard = MakeDeviceShard(options, {unit.get()},
                                     {.pool = &pool, .lane = pool.NewLane()});
  ASSERT_TRUE(shard.ok()) << shard.status();
  const std::vector<float> theta(5);
  using Told = std::function<void(absl::Status)>;
  const std::function<void(Told)> operations[] = {
      [&](Told told) { (*shard)->Load({theta.data()}, std::move(told)); },
      [&](Told told) { (*shard)->Reset(std::move(told)); }};
  for (const auto& operation : operations) {
    std::promise<void> release;
    const std::shared_future<void> released = release.get_future().share();
    for (int i = 0; i < unit->pool().thread_count(); ++i) {
      unit->pool().Post(unit->pool().NewLane(),
                        [released] { released.wait(); });
    }
    std::promise<absl::Status> ended;
    std::promise<std::thread::id> thread;
    operation([&](absl::Status status) {
      ended.set_value(std::move(status));
      thread.set_value(std::this_thread::get_id());
    });
    std::promise<std::thread::id> pools;
    pool.Post(pool.NewLane(),
              [&] { pools.set_value(std::this_thread::get_id()); });
    const std::thread::id want = pools.get_future().get();
    std::future<absl::Status> status = ended.get_future();
    EXPECT_EQ(status.wait_for(std::chrono::seconds(0)),
              std::future_status::timeout);
    release.set_value();
    EXPECT_TRUE(status.get().ok());
    EXPECT_EQ(thread.get_future().get(), want);
  }
}

}  // namespace
}  // namespace accrue::kernels
