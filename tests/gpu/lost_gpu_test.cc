// A GPU that is lost while a model trains on it. A real one is lost to a kernel
// that ends in a trap: CUDA then refuses the process everything on that GPU.
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "accrue/client.h"
#include "server/device/gpu.h"
#include "tests/device/lacks_gpu.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/faulty_daemon.h"
#include "tests/gpu/sides.h"
#include "tests/service/raw_call.h"

namespace accrue {
namespace {

using State = client::ModelDescription::State;

class LostGpuTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (FakeProgram() == nullptr) {
      const auto gpus = OpenCudaGpus({});
      if (LacksGpu(gpus.status())) GTEST_SKIP() << gpus.status().message();
      ASSERT_TRUE(gpus.ok()) << gpus.status();
    }
    daemon_ = Daemon::Start(
        {std::string("--device=") + GetParam()},
        FakeProgram() == nullptr ? kFaultyProgram : FakeProgram());
    cpu_ = Daemon::Start({"--device=cpu"});
    ASSERT_NE(daemon_, nullptr);
    ASSERT_NE(cpu_, nullptr);
  }

  std::unique_ptr<Sides> Make(const std::string& name) {
    return std::make_unique<Sides>(*daemon_, *cpu_, SpecOf(name, 200'000),
                                   client::Compression{});
  }
  static client::ModelSpec SpecOf(const std::string& name, int64_t elems) {
    return Spec(name, elems, client::Optimizer::kAdamW,
                client::Buffering::kEmbedded);
  }

  // Trains it until its pass loses the GPU.
  void Lose(Side& doomed) {
    for (int64_t i = 0; i < kGoodPasses; ++i) {
      const auto pushed = doomed.Push(Gradient(kLosingElems, i));
      ASSERT_TRUE(pushed.ok() && pushed->accepted) << pushed.status();
    }
    ExpectPushFails(doomed, kLosingElems);
  }

  static void ExpectPushFails(Side& side, int64_t elems) {
    const auto failed = side.Push(Gradient(elems, 77));
    EXPECT_EQ(failed.status().code(), absl::StatusCode::kInternal)
        << failed.status();
    EXPECT_EQ(side.Describe().state, State::kPoisoned);
  }

  std::vector<client::DeviceInfo> Devices() const {
    return client::Client::Connect(daemon_->tcp())
        ->GetServerInfo()
        ->device_infos;
  }

  void ExpectHealth(const std::string& service, const std::string& want) const {
    const auto channel =
        grpc::CreateChannel(daemon_->tcp(), grpc::InsecureChannelCredentials());
    EXPECT_EQ(AwaitHealth(channel, service, want), want) << service;
  }

  std::unique_ptr<Daemon> daemon_, cpu_;
};

TEST_P(LostGpuTest, PoisonsItsModelsAndTheDaemonAndTheOthersGoOn) {
  const size_t gpus = Devices().size();
  // Models go to the GPUs by turns: the last neighbour is on the first one too.
  Side doomed(*daemon_, SpecOf("doomed", kLosingElems), {});
  std::vector<std::unique_ptr<Sides>> neighbours;
  for (size_t i = 1; i <= gpus; ++i) {
    neighbours.push_back(Make("neighbour" + std::to_string(i)));
    ASSERT_NO_FATAL_FAILURE(neighbours.back()->Train(kCycle));
  }
  const std::unique_ptr<Sides> beside = std::move(neighbours.back());
  neighbours.pop_back();
  ASSERT_NO_FATAL_FAILURE(Lose(doomed));

  std::vector<client::DeviceInfo> devices = Devices();
  ASSERT_EQ(devices.size(), gpus);
  EXPECT_NE(devices[0].fault, "");
  for (size_t i = 1; i < gpus; ++i) EXPECT_EQ(devices[i].fault, "");
  std::cout << devices[0].name << " is lost to: " << devices[0].fault << "\n";
  ExpectHealth("accrue.devices", "NOT_SERVING");
  ExpectHealth("accrue.models", "NOT_SERVING");
  ExpectHealth("", "SERVING");

  if (neighbours.empty()) std::cout << "there is no other GPU to go on\n";
  for (const auto& neighbour : neighbours) {
    ASSERT_NO_FATAL_FAILURE(neighbour->Train(2 * kCycle));
  }
  // What was published is the host's.
  EXPECT_TRUE(SameBits(beside->gpu().Pull(), beside->cpu().Pull()));
  ExpectPushFails(beside->gpu(), 200'000);
  EXPECT_FALSE(Devices().empty());
}

TEST_P(LostGpuTest, NewModelsGoToTheOthersOrAreRefusedByItsName) {
  const size_t gpus = Devices().size();
  Side doomed(*daemon_, SpecOf("doomed", kLosingElems), {});
  ASSERT_NO_FATAL_FAILURE(Lose(doomed));
  const client::DeviceInfo lost = Devices()[0];
  ASSERT_NE(lost.fault, "");
  for (const char* name : {"a", "b"}) {
    if (gpus > 1) {
      ASSERT_NO_FATAL_FAILURE(Make(name)->Train(2 * kCycle));
      continue;
    }
    const absl::Status refused = client::Client::Connect(daemon_->tcp())
                                     ->CreateModel(SpecOf(name, 1000))
                                     .status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kInternal) << refused;
    EXPECT_THAT(std::string(refused.message()),
                testing::AllOf(testing::HasSubstr(lost.name),
                               testing::HasSubstr(lost.fault)));
  }
}

INSTANTIATE_TEST_SUITE_P(Gpus, LostGpuTest, testing::Values("cuda", "cuda:0"),
                         [](const testing::TestParamInfo<const char*>& info) {
                           return info.index == 0 ? "All" : "One";
                         });

}  // namespace
}  // namespace accrue
