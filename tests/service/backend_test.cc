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

  std::optional<std::vector<int>> asked_;  // of the opener

 private:
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

}  // namespace
}  // namespace accrue
