#include "server/service/health.h"

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/service/server.h"
#include "tests/device/fake_gpu.h"
#include "tests/kernels/host_kernels.h"
#include "tests/service/raw_call.h"
#include "tests/service/service_fixture.h"

namespace accrue {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

// What gRPC's health service is told.
class Told : public grpc::HealthCheckServiceInterface {
 public:
  void SetServingStatus(const std::string& name, bool serving) override {
    if (name.rfind("accrue.v1", 0) == 0 || name.empty()) return;
    changes_.emplace_back(name, serving);
  }
  void SetServingStatus(bool serving) override {
    changes_.emplace_back("all", serving);
  }
  std::vector<std::pair<std::string, bool>> Take() {
    return std::exchange(changes_, {});
  }

 private:
  std::vector<std::pair<std::string, bool>> changes_;
};

class HealthTest : public testing::Test {
 protected:
  HealthTest() {
    gpus_.push_back(std::make_unique<FakeGpu>(FakeGpuOptions{}));
    auto gpu = std::make_unique<FakeGpu>(FakeGpuOptions{});
    gpu_ = gpu.get();
    gpus_.push_back(std::move(gpu));
    // Fires no more: the tests alone say when it is looked.
    timers_.Stop();
    health_.Start(&told_);
    EXPECT_THAT(told_.Take(), ElementsAre(Pair(kModelsHealth, true),
                                          Pair(kDevicesHealth, true)));
  }

  std::vector<std::unique_ptr<Gpu>> gpus_;
  FakeGpu* gpu_;  // one of them
  TimerQueue timers_;
  Told told_;
  Health health_{&gpus_, &timers_};
};

TEST_F(HealthTest, ModelsServeAgainWhenTheLastPoisonedOneIsNoneAnyMore) {
  health_.OnPoisonChange(true);
  EXPECT_THAT(told_.Take(), ElementsAre(Pair(kModelsHealth, false)));
  health_.OnPoisonChange(true);
  health_.OnPoisonChange(false);
  EXPECT_THAT(told_.Take(), IsEmpty());
  health_.OnPoisonChange(false);
  EXPECT_THAT(told_.Take(), ElementsAre(Pair(kModelsHealth, true)));
}

TEST_F(HealthTest, OfTwoChangesTheSecondMayComeFirst) {
  health_.OnPoisonChange(false);
  health_.OnPoisonChange(true);
  EXPECT_THAT(told_.Take(), IsEmpty());
}

TEST_F(HealthTest, ALostGpuStaysLostThoughItsModelsAreGone) {
  gpu_->Lose("fallen off");
  health_.OnPoisonChange(true);
  health_.OnPoisonChange(false);
  EXPECT_THAT(told_.Take(), ElementsAre(Pair(kModelsHealth, false),
                                        Pair(kDevicesHealth, false),
                                        Pair(kModelsHealth, true)));
}

TEST_F(HealthTest, NothingServesAgainOnceItDrains) {
  health_.OnPoisonChange(true);
  told_.Take();
  health_.Drain();
  EXPECT_THAT(told_.Take(), ElementsAre(Pair("all", false)));
  health_.OnPoisonChange(false);
  EXPECT_THAT(told_.Take(), IsEmpty());
}

TEST_F(HealthTest, NobodyIsToldAfterItsStop) {
  health_.Stop();
  health_.OnPoisonChange(true);
  health_.Drain();
  EXPECT_THAT(told_.Take(), IsEmpty());
}

// Lost when it has been looked at once.
class FleetingGpu : public FakeGpu {
 public:
  using FakeGpu::FakeGpu;
  absl::Status health() const override {
    if (looks_++ == 0) return absl::OkStatus();
    return absl::InternalError("fallen off");
  }

 private:
  mutable std::atomic<int> looks_{0};
};

// Waits for the news that a device is lost.
class LossTold : public Told {
 public:
  void SetServingStatus(const std::string& name, bool serving) override {
    if (name == kDevicesHealth && !serving) told_.set_value();
  }
  std::future<void> told() { return told_.get_future(); }

 private:
  std::promise<void> told_;
};

TEST(HealthWatchTest, AGpuThatIsLostRightAfterALookIsFoundWithTheNext) {
  std::vector<std::unique_ptr<Gpu>> gpus;
  gpus.push_back(std::make_unique<FleetingGpu>(FakeGpuOptions{}));
  LossTold service;
  TimerQueue timers;
  Health health(&gpus, &timers);
  health.Start(&service);
  EXPECT_EQ(service.told().wait_for(std::chrono::seconds(60)),
            std::future_status::ready);
  timers.Stop();
}

// Whose loss is found out only by who asks it for something.
class SilentGpu : public FakeGpu {
 public:
  using FakeGpu::FakeGpu;
  absl::StatusOr<Memory> memory() override {
    if (gone_) Lose("fallen off");
    return FakeGpu::memory();
  }
  void LoseSilently() { gone_ = true; }

 private:
  std::atomic<bool> gone_{false};
};

// Without a model, and so without a pass that would fail.
TEST(ServerHealthTest, ThatAnIdleGpuIsLostIsNoticedInTime) {
  SilentGpu* gpu = nullptr;
  ServerOptions options;
  options.listener.tcp = {"127.0.0.1:0"};
  options.backend.open_gpus = [&](const std::vector<int>&) {
    auto opened = std::make_unique<SilentGpu>(FakeGpuOptions{});
    gpu = opened.get();
    std::vector<std::unique_ptr<Gpu>> gpus;
    gpus.push_back(std::move(opened));
    return gpus;
  };
  options.backend.make_kernels = kernels::MakeHostKernels;
  const auto server = Server::Start(options);
  ASSERT_TRUE(server.ok()) << server.status();
  ASSERT_EQ((*server)->Serve(), absl::OkStatus());
  const auto channel = NewChannel((*server)->addresses()[0]);
  EXPECT_EQ(HealthOf(channel, kDevicesHealth), "SERVING");
  EXPECT_EQ(HealthOf(channel, kModelsHealth), "SERVING");
  gpu->LoseSilently();
  EXPECT_EQ(AwaitHealth(channel, kDevicesHealth, "NOT_SERVING"), "NOT_SERVING");
  EXPECT_EQ(HealthOf(channel, kModelsHealth), "SERVING");
  EXPECT_EQ(HealthOf(channel, ""), "SERVING");
}

}  // namespace
}  // namespace accrue
