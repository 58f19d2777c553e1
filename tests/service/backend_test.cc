// On machines that have no GPU, some or one too few.
#include "server/service/backend.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/device/fake_gpu.h"
#include "tests/kernels/host_kernels.h"

namespace accrue {
namespace {

using Kind = DeviceChoice::Kind;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr int64_t kRingFits = int64_t{1} << 30;
constexpr int64_t kNoRingFits = int64_t{1} << 20;

class BackendTest : public testing::Test {
 protected:
  // Where opening GPUs gives `count` of them.
  absl::StatusOr<Backend> OnMachineOf(int count, const DeviceChoice& device) {
    return OnMachineOf(
        std::vector<int64_t>(static_cast<size_t>(count), kRingFits), device);
  }
  // Likewise of one for each of the capacities.
  absl::StatusOr<Backend> OnMachineOf(const std::vector<int64_t>& capacities,
                                      const DeviceChoice& device) {
    return MakeBackend({.device = device,
                        .open_gpus =
                            [&](const std::vector<int>& asked) {
                              asked_ = asked;
                              return Open(capacities);
                            },
                        .make_kernels = kernels::MakeHostKernels});
  }
  absl::StatusOr<Backend> OnMachineWithout(const DeviceChoice& device) {
    return MakeBackend(
        {.device = device, .open_gpus = [](const std::vector<int>&) {
           return absl::NotFoundError("no driver");
         }});
  }
  static std::vector<std::string> Names(const Backend& backend) {
    std::vector<std::string> names;
    for (const auto& gpu : backend.gpus) names.push_back(gpu->name());
    return names;
  }

  static absl::StatusOr<std::vector<std::unique_ptr<Gpu>>> Open(
      const std::vector<int64_t>& capacities) {
    std::vector<std::unique_ptr<Gpu>> gpus;
    for (const int64_t capacity : capacities) {
      gpus.push_back(std::make_unique<FakeGpu>(
          FakeGpuOptions{.capacity_bytes = capacity,
                         .name = absl::StrCat("fake:", gpus.size())}));
    }
    return gpus;
  }

  std::optional<std::vector<int>> asked_;  // of the opener
};

TEST_F(BackendTest, TheCpuIsChosenWithoutLookingForGpus) {
  const auto backend = OnMachineOf(2, {.kind = Kind::kCpu});
  ASSERT_TRUE(backend.ok()) << backend.status();
  EXPECT_THAT(backend->gpus, IsEmpty());
  EXPECT_EQ(backend->device->name(), "cpu");
  EXPECT_FALSE(asked_.has_value());
}

TEST_F(BackendTest, AllGpusAreTakenUnlessSomeAreNamed) {
  for (const Kind kind : {Kind::kAuto, Kind::kCuda}) {
    const auto backend = OnMachineOf(2, {.kind = kind});
    ASSERT_TRUE(backend.ok()) << backend.status();
    EXPECT_THAT(Names(*backend), ElementsAre("fake:0", "fake:1"));
    EXPECT_EQ(backend->device->name(), "fake:0");
    EXPECT_THAT(*asked_, IsEmpty());
  }
  ASSERT_TRUE(OnMachineOf(1, {.kind = Kind::kCuda, .gpus = {3, 1}}).ok());
  EXPECT_THAT(*asked_, ElementsAre(3, 1));
}

TEST_F(BackendTest, AutoFallsBackOnTheCpuAndSaysWhy) {
  testing::internal::CaptureStderr();
  for (const bool driver : {false, true}) {
    const auto backend = driver ? OnMachineOf(0, {}) : OnMachineWithout({});
    ASSERT_TRUE(backend.ok()) << backend.status();
    EXPECT_THAT(backend->gpus, IsEmpty());
    EXPECT_EQ(backend->device->name(), "cpu");
  }
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("no driver"));
  EXPECT_THAT(log, HasSubstr("there is no GPU"));
}

TEST_F(BackendTest, GpusThatWereAskedForAndAreNotThereAreAnError) {
  EXPECT_EQ(OnMachineWithout({.kind = Kind::kCuda, .gpus = {0, 2}}).status(),
            absl::NotFoundError("--device=cuda:0,2: no driver"));
  EXPECT_EQ(OnMachineOf(0, {.kind = Kind::kCuda}).status(),
            absl::NotFoundError("--device=cuda: there is no GPU"));
}

TEST_F(BackendTest, AutoLeavesOutAGpuWhoseRingDoesNotFitAndSaysSo) {
  testing::internal::CaptureStderr();
  const auto backend = OnMachineOf({kNoRingFits, kRingFits}, {});
  const std::string log = testing::internal::GetCapturedStderr();
  ASSERT_TRUE(backend.ok()) << backend.status();
  EXPECT_THAT(Names(*backend), ElementsAre("fake:1"));
  ASSERT_EQ(backend->units.size(), 1);
  EXPECT_EQ(&backend->units[0]->gpu(), backend->gpus[0].get());
  EXPECT_EQ(backend->device->name(), "fake:1");
  EXPECT_THAT(log, HasSubstr("a GPU is left out: fake:0: no memory"));
}

TEST_F(BackendTest, AutoFallsBackOnTheCpuWhereNoRingFits) {
  testing::internal::CaptureStderr();
  const auto backend = OnMachineOf({kNoRingFits, kNoRingFits}, {});
  const std::string log = testing::internal::GetCapturedStderr();
  ASSERT_TRUE(backend.ok()) << backend.status();
  EXPECT_THAT(backend->gpus, IsEmpty());
  EXPECT_EQ(backend->device->name(), "cpu");
  EXPECT_THAT(log, HasSubstr("models live on the CPU: fake:0: no memory"));
}

TEST_F(BackendTest, AGpuThatWasAskedForAndHasNoMemoryIsAnErrorOfTheFlag) {
  const auto backend = OnMachineOf({kRingFits, kNoRingFits},
                                   {.kind = Kind::kCuda, .gpus = {0, 1}});
  EXPECT_EQ(backend.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(backend.status().message()),
              StartsWith("--device=cuda:0,1: fake:1: no memory"));
}

// A GPU whose memory has all been given back by its end.
class LastToGo : public FakeGpu {
 public:
  using FakeGpu::FakeGpu;
  LastToGo(const LastToGo&) = delete;
  LastToGo& operator=(const LastToGo&) = delete;
  ~LastToGo() override { EXPECT_EQ(counts().pinned_bytes, 0); }
};

TEST_F(BackendTest, WhereOneOfTwoCannotServeTheOthersRingGoesBeforeItsGpu) {
  const auto open = [](const auto&) {
    std::vector<std::unique_ptr<Gpu>> gpus;
    for (const int64_t capacity : {kRingFits, kNoRingFits}) {
      gpus.push_back(std::make_unique<LastToGo>(
          FakeGpuOptions{.capacity_bytes = capacity}));
    }
    return gpus;
  };
  EXPECT_FALSE(MakeBackend({.device = {.kind = Kind::kCuda, .gpus = {0, 1}},
                            .open_gpus = open,
                            .make_kernels = kernels::MakeHostKernels})
                   .ok());
}

TEST_F(BackendTest, APassOfAGpuTakesLessThanTheCpus) {
  const auto cpu = OnMachineOf(1, {.kind = Kind::kCpu});
  const auto gpu = OnMachineOf(1, {.kind = Kind::kCuda});
  ASSERT_TRUE(cpu.ok() && gpu.ok());
  EXPECT_GT(gpu->pass_time, absl::ZeroDuration());
  EXPECT_LT(gpu->pass_time, cpu->pass_time);
}

// One fills a slot while another waits for one.
TEST_F(BackendTest, HoweverManyGpusThereAreEachHasTwoThreads) {
  const auto backend = OnMachineOf(8, {.kind = Kind::kCuda});
  ASSERT_TRUE(backend.ok()) << backend.status();
  ASSERT_EQ(backend->units.size(), 8);
  for (const auto& unit : backend->units) {
    EXPECT_GE(unit->pool().thread_count(), 2);
  }
}

TEST_F(BackendTest, WithAllGpusLostThereIsNoShardAndItSaysWhy) {
  const auto backend = OnMachineOf(2, {.kind = Kind::kCuda});
  ASSERT_TRUE(backend.ok()) << backend.status();
  for (const auto& gpu : backend->gpus) {
    static_cast<FakeGpu&>(*gpu).Lose("fallen off");
  }
  const auto shard =
      backend->make_shard({.blocks = std::make_shared<const kernels::BlockMap>(
                               kernels::MakeBlockMap({3}, {0}, 1))},
                          backend->device, /*pool=*/nullptr, WorkPool::Lane());
  EXPECT_EQ(shard.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(shard.status().message()), HasSubstr("fallen off"));
}

TEST_F(BackendTest, ATestMayInterfereWithTheShardsOfEither) {
  for (const Kind kind : {Kind::kCpu, Kind::kCuda}) {
    const auto backend = MakeBackend(
        {.device = {.kind = kind},
         .open_gpus = [](const auto&) { return Open({kRingFits}); },
         .make_kernels = kernels::MakeHostKernels,
         .wrap_shards = [](ShardFactory inner) -> ShardFactory {
           EXPECT_TRUE(inner);
           return [](auto&&...) { return absl::CancelledError("mine"); };
         }});
    ASSERT_TRUE(backend.ok()) << backend.status();
    EXPECT_EQ(backend->make_shard({}, nullptr, nullptr, {}).status(),
              absl::CancelledError("mine"));
  }
}

}  // namespace
}  // namespace accrue
