// Models whose GPU is lost begin anew on those that are left.
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/service/backend.h"
#include "tests/device/fake_gpu.h"
#include "tests/kernels/host_kernels.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

using testing::HasSubstr;

constexpr int64_t kElems = kernels::kBlockElems + 17;
constexpr int64_t kCycle = 3;
// What a unit's ring takes of its GPU.
constexpr int64_t kRingBytes = int64_t{64} << 20;

std::vector<float> Gradient(int64_t elems, int64_t sequence) {
  std::mt19937 random(static_cast<unsigned>(sequence));
  std::uniform_real_distribution<float> values(-1, 1);
  std::vector<float> gradient(static_cast<size_t>(elems));
  for (float& value : gradient) value = values(random);
  return gradient;
}

class GpuRestoreTest : public testing::Test {
 protected:
  // A model, and the worker that trains it.
  struct Side {
    Harness& harness;
    std::shared_ptr<Model> model;
    std::string session = {};
    int64_t sequence = 0;

    Side(Harness& harness, const ModelSpec& spec, double value)
        : harness(harness), model(harness.Make(spec, value)) {
      Open("a");
    }
    void Open(const std::string& worker) {
      session = harness.Open(*model, worker)->id;
      sequence = 0;
    }
    absl::Status Push() {
      ++sequence;
      return harness
          .PushNow(*model, session, sequence,
                   Gradient(model->layout()->elems(), sequence))
          .status();
    }
    void Train(int64_t pushes) {
      for (int64_t i = 0; i < pushes; ++i) {
        const absl::Status status = Push();
        ASSERT_TRUE(status.ok()) << status;
      }
    }
    // All of its state, but for who has trained it.
    StateImage State() {
      StateImage image = Anonymous(harness.Image(*model));
      image.sessions.clear();
      return image;
    }
  };

  // On two GPUs of this size.
  void Start(FakeSchedule schedule = FakeSchedule::kRandom,
             int64_t capacity_bytes = int64_t{1} << 30) {
    BackendOptions options;
    options.device.kind = DeviceChoice::Kind::kCuda;
    options.make_kernels = kernels::MakeHostKernels;
    options.open_gpus = [&](const std::vector<int>&) {
      std::vector<std::unique_ptr<Gpu>> opened;
      for (const char* name : {"fake:0", "fake:1"}) {
        auto gpu = std::make_unique<FakeGpu>(
            FakeGpuOptions{.schedule = schedule,
                           .capacity_bytes = capacity_bytes,
                           .name = name});
        gpus_.push_back(gpu.get());
        opened.push_back(std::move(gpu));
      }
      return opened;
    };
    auto backend = MakeBackend(options);
    ASSERT_TRUE(backend.ok()) << backend.status();
    backend_ = *std::move(backend);
    units_ = std::move(backend_.units);
    harness_.environment().make_shard = backend_.make_shard;
    harness_.environment().device = backend_.device;
  }

  static ModelSpec Spec(int64_t elems = kElems) {
    ModelSpec spec = SimpleSpec(elems, kCycle);
    spec.optimizer.optimizer = rule::Optimizer::kAdam;
    spec.groups[0].hyper.beta1 = 0.9;
    return spec;
  }

  // In the fold of its next push.
  void Lose(int index, Side& side) {
    gpu(index).Inject({.op = FakeOp::kKernel,
                       .effect = FakeFault::Effect::kLose,
                       .status = absl::InternalError("fallen off")});
    ExpectFault(side.Push());
  }
  static void ExpectFault(const absl::Status& status) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
    EXPECT_EQ(GetErrorInfo(status).reason, Reason::kDeviceFault);
    EXPECT_THAT(std::string(status.message()), HasSubstr("fallen off"));
  }

  FakeGpu& gpu(int index) { return *gpus_[static_cast<size_t>(index)]; }

  std::vector<FakeGpu*> gpus_;
  Backend backend_;
  Harness harness_, cpu_;  // whose pools free the models, on its GPUs
  std::vector<std::unique_ptr<kernels::DeviceUnit>> units_;  // end first
};

class GpuRestoreOnAnyScheduleTest
    : public GpuRestoreTest,
      public testing::WithParamInterface<FakeSchedule> {};

// Models go to the GPUs by turns.
TEST_P(GpuRestoreOnAnyScheduleTest, ItTrainsOnTheOtherInTheCpusBits) {
  Start(GetParam());
  Side lost(harness_, Spec(), 1), beside(harness_, Spec(), 3);
  Side want_beside(cpu_, Spec(), 3);
  for (Side* side : {&lost, &beside}) side->Train(2 * kCycle - 1);
  Lose(0, lost);  // as it updates: new parameters are on their way
  beside.Train(2);

  const int64_t pinned = gpu(1).counts().pinned_bytes;
  ASSERT_TRUE(harness_.Initialize(*lost.model, 2).ok());
  EXPECT_EQ(gpu(1).counts().pinned_bytes - pinned, kElems * 4);
  Side want(cpu_, Spec(), 2);
  gpu(0).LandLate();
  EXPECT_TRUE(lost.State() == want.State());
  lost.Open("b");
  for (Side* side : {&lost, &want}) side->Train(3 * kCycle + 1);
  EXPECT_TRUE(lost.State() == want.State());

  beside.Train(2);
  want_beside.Train(2 * kCycle + 3);
  EXPECT_TRUE(beside.State() == want_beside.State());
}

INSTANTIATE_TEST_SUITE_P(All, GpuRestoreOnAnyScheduleTest,
                         testing::Values(FakeSchedule::kEager,
                                         FakeSchedule::kLazy,
                                         FakeSchedule::kRandom));

TEST_F(GpuRestoreTest, WhatTheLostOneHasPinnedStaysCharged) {
  Start();
  Side lost(harness_, Spec(), 1);
  lost.Train(2 * kCycle - 1);
  Lose(0, lost);
  ASSERT_TRUE(harness_.Initialize(*lost.model, 2).ok());
  const ModelDescription now = lost.model->Describe();
  EXPECT_EQ(now.published_bytes, 3 * kElems * 4);
  EXPECT_EQ(now.memory[static_cast<size_t>(MemoryTag::kMomentum)].live_bytes,
            kElems * 4);
}

// What its parts on other GPUs took is there for it.
TEST_F(GpuRestoreTest, AModelInPartsIsRestoredWhereOneOfThemWas) {
  constexpr int64_t kLargeElems = int64_t{8} << 20;
  Start(FakeSchedule::kRandom, kRingBytes + kLargeElems * 8 + 1000);
  ModelSpec spec = SimpleSpec(kLargeElems, 1);  // 8 bytes a parameter
  Side lost(harness_, spec, 1);
  Lose(1, lost);
  ASSERT_TRUE(harness_.Initialize(*lost.model, 2).ok());
  Side want(cpu_, spec, 2);
  lost.Open("b");
  for (Side* side : {&lost, &want}) side->Train(1);
  EXPECT_TRUE(lost.State() == want.State());
}

TEST_F(GpuRestoreTest, WithoutRoomOnTheOtherItStaysPoisoned) {
  constexpr int64_t kLargeElems = int64_t{1} << 20;
  Start(FakeSchedule::kRandom, kRingBytes + kLargeElems * 12 + 1000);
  Side lost(harness_, Spec(), 1);
  {
    const Side large(harness_, Spec(kLargeElems), 1);
    Lose(0, lost);
    const absl::Status refused = harness_.Initialize(*lost.model, 2).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
    EXPECT_EQ(lost.model->Describe().state, ModelState::kPoisoned);
  }
  while (gpu(1).counts().device_bytes > kRingBytes) std::this_thread::yield();
  EXPECT_TRUE(harness_.Initialize(*lost.model, 2).ok());
}

TEST_F(GpuRestoreTest, WithoutAnyGpuItSaysWhatTheyWereLostTo) {
  Start();
  Side lost(harness_, Spec(), 1);
  Lose(0, lost);
  gpu(1).Lose("fallen off too");
  for (int i = 0; i < 2; ++i) {
    ExpectFault(harness_.Initialize(*lost.model, 2).status());
    EXPECT_EQ(lost.model->Describe().state, ModelState::kPoisoned);
  }
}

TEST_F(GpuRestoreTest, AlsoAModelThatHadNoParametersYet) {
  Start();
  const auto model = harness_.TryMake(Spec());
  ASSERT_TRUE(model.ok()) << model.status();
  gpu(0).Lose("fallen off");
  ExpectFault(harness_.Initialize(**model, 2, /*restore=*/false).status());
  EXPECT_EQ((*model)->Describe().state, ModelState::kPoisoned);
  EXPECT_TRUE(harness_.Initialize(**model, 2).ok());
}

// Before anything was queued there.
TEST_F(GpuRestoreTest, ALostGpuThatCannotPinFaultsItsModel) {
  Start();
  Side lost(harness_, SimpleSpec(kElems, 1), 1);
  gpu(0).Lose("fallen off");
  ExpectFault(lost.Push());
  EXPECT_EQ(lost.model->Describe().state, ModelState::kPoisoned);
}

}  // namespace
}  // namespace accrue
