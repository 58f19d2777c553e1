// How far a model under MEMORY has come, on a disk that takes its time.
#include <chrono>
#include <cstdint>
#include <future>
#include <optional>
#include <string>

#include "gtest/gtest.h"
#include "server/base/error.h"
#include "tests/durability/forgetful_files.h"
#include "tests/durability/keeping_process.h"
#include "tests/durability/slow_disk.h"
#include "tests/durability/temporary_directory.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

using ProgressTest = SlowDiskTest;

TEST_F(ProgressTest, WhileItIsWrittenNoLockIsHeld) {
  const auto model = Create(Durability::kMemory);
  ASSERT_TRUE(harness().Initialize(*model, 1).ok());
  const auto session = harness().Open(*model, "w");
  const auto log = *process_->data().Find("m");
  HoldUp("overwrite", "/progress");
  auto pushed = std::async(std::launch::async, [&] {
    return harness().PushNow(*model, session->id, 1, {1, 2, 3, 4, 5});
  });
  AwaitHeldUp();
  auto asked = std::async(std::launch::async, [&] {
    model->Describe();
    log->newest();
  });
  EXPECT_EQ(asked.wait_for(std::chrono::seconds(20)),
            std::future_status::ready);
  LetGo();
  EXPECT_TRUE(pushed.get().ok());
}

TEST_F(ProgressTest, NoCycleIsClosedWhileAnEndInOrderIsWritten) {
  auto model = Create(Durability::kMemory);
  ASSERT_TRUE(harness().Initialize(*model, 1).ok());
  const auto session = harness().Open(*model, "w");
  ASSERT_TRUE(harness().PushNow(*model, session->id, 1, {1, 2, 3, 4, 5}).ok());
  HoldUp("sync", "/ended");
  auto drained = std::async(std::launch::async, [this] { process_->Drain(); });
  AwaitHeldUp();
  const auto ended = std::async(std::launch::async, [&] {
                       return harness().EndCycle(*model);
                     }).get();
  EXPECT_EQ(GetErrorInfo(ended.status()).reason, Reason::kDraining);
  LetGo();
  drained.get();
  EXPECT_TRUE(process_->data().Unkept().empty());
  const Version before = *model->Describe().version;
  model.reset();
  StartAgain();
  const ModelDescription is = (*process_->store().Find("m"))->Describe();
  EXPECT_EQ(is.folded_pushes, 1);
  EXPECT_EQ(is.version, before);
}

TEST(ProgressOnDiskTest, AnEndInOrderOutlivesAPowerCut) {
  ModelSpec spec = SimpleSpec(5, 2);
  spec.name = "m";
  FillDefaults(spec);
  for (uint64_t seed = 1; seed <= 16; ++seed) {
    SCOPED_TRACE(seed);
    const TemporaryDirectory place;
    Version before;
    const auto start = [&](auto with) {
      ForgetfulFiles files(place / "shadow");
      KeepingProcess process(place / "data", DurabilityOptions(), &files);
      ASSERT_EQ(process.Start(), absl::OkStatus());
      with(process);
    };
    start([&](KeepingProcess& process) {
      const auto model = *process.Create(spec);
      ASSERT_TRUE(process.harness().Initialize(*model, 1).ok());
      const auto session = process.harness().Open(*model, "w");
      ASSERT_TRUE(process.harness()
                      .PushNow(*model, session->id, 1, {1, 2, 3, 4, 5})
                      .ok());
      process.Drain();
      before = *model->Describe().version;
    });
    ForgetfulFiles::CutPower(place / "shadow", seed);
    start([&](KeepingProcess& process) {
      const ModelDescription is = (*process.store().Find("m"))->Describe();
      EXPECT_EQ(is.version, before);
      EXPECT_EQ(is.folded_pushes, 1);
    });
  }
}

TEST(ProgressOnDiskTest, AfterAPowerCutMoreMayBeLostThanItSays) {
  ModelSpec spec = SimpleSpec(5, 2);
  spec.name = "m";
  FillDefaults(spec);
  for (const bool cut : {false, true}) {
    SCOPED_TRACE(cut);
    const TemporaryDirectory place;
    ForgetfulFiles files(place / "shadow");
    {
      KeepingProcess process(place / "data", DurabilityOptions(), &files);
      ASSERT_EQ(process.Start(), absl::OkStatus());
      const auto model = *process.Create(spec);
      ASSERT_TRUE(process.harness().Initialize(*model, 1).ok());
      const auto session = process.harness().Open(*model, "w");
      ASSERT_TRUE(process.harness()
                      .PushNow(*model, session->id, 1, {1, 2, 3, 4, 5})
                      .ok());
    }
    if (cut) ForgetfulFiles::CutPower(place / "shadow", /*seed=*/1);
    ForgetfulFiles again(place / "shadow");
    KeepingProcess process(place / "data", DurabilityOptions(), &again);
    ASSERT_EQ(process.Start(), absl::OkStatus());
    const ModelDescription is = (*process.store().Find("m"))->Describe();
    EXPECT_EQ(is.loss_uncertain, cut);
    EXPECT_LE(is.lost_pushes, 1);
    EXPECT_GE(is.lost_pushes, cut ? 0 : 1);
  }
}

// Until the next is written, which says all there is.
TEST_F(ProgressTest, WhatCannotBeWrittenIsNotTakenForWhatWasBefore) {
  auto model = Create(Durability::kMemory);
  ASSERT_TRUE(harness().Initialize(*model, 1).ok());
  for (const int64_t pushes : {2, 3}) {
    SCOPED_TRACE(pushes);
    files_.faults().Add(
        {.operation = "overwrite", .path_part = "/progress", .after = 1});
    const auto session = harness().Open(*model, "w");
    for (int64_t i = 1; i <= pushes; ++i) {
      ASSERT_TRUE(
          harness().PushNow(*model, session->id, i, {1, 2, 3, 4, 5}).ok());
    }
    model.reset();
    StartAgain();
    model = *process_->store().Find("m");
    const ModelDescription is = model->Describe();
    EXPECT_EQ(is.loss_uncertain, pushes == 2);
    EXPECT_EQ(is.lost_pushes, pushes == 2 ? 0 : 3);
  }
}

// A start that the disk fails at a model's beginning leaves that model out.
struct FailingBeginning {
  const char* operation;
  const char* path_part;
  int64_t times;
};

class FailingBeginningTest : public testing::TestWithParam<FailingBeginning> {
 protected:
  FailingBeginningTest() {
    spec_.name = "m";
    FillDefaults(spec_);
  }

  template <typename With>
  void Start(With with) {
    ForgetfulFiles files(place_ / "shadow");
    KeepingProcess process(place_ / "data", DurabilityOptions(), &files);
    ASSERT_EQ(process.Start(), absl::OkStatus());
    with(process);
  }
  void MakeModel(KeepingProcess& process, int64_t pushes) {
    Harness& harness = process.harness();
    const auto model = *process.Create(spec_);
    ASSERT_TRUE(harness.Initialize(*model, 1).ok());
    const auto session = harness.Open(*model, "w");
    for (int64_t i = 1; i <= pushes; ++i) {
      ASSERT_TRUE(
          harness.PushNow(*model, session->id, i, {1, 2, 3, 4, 5}).ok());
    }
  }
  void FailToStart() {
    ForgetfulFiles files(place_ / "shadow");
    files.faults().Add({.operation = GetParam().operation,
                        .path_part = GetParam().path_part,
                        .times = GetParam().times,
                        .loses = false});
    KeepingProcess process(place_ / "data", DurabilityOptions(), &files);
    ASSERT_EQ(process.Start(), absl::OkStatus());
    EXPECT_FALSE(process.store().Find("m").ok());
  }

  const TemporaryDirectory place_;
  ModelSpec spec_ = SimpleSpec(5, 2);
};

TEST_P(FailingBeginningTest, LeavesAnEndInOrderToTheNextStart) {
  Version before;
  Start([&](KeepingProcess& process) {
    MakeModel(process, /*pushes=*/0);
    process.Drain();
    before = *(*process.store().Find("m"))->Describe().version;
  });
  // By another boot id what is begun differs from what has ended.
  ForgetfulFiles::CutPower(place_ / "shadow", /*seed=*/1);
  FailToStart();
  Start([&](KeepingProcess& process) {
    const auto model = *process.store().Find("m");
    EXPECT_EQ(model->Describe().version, before);
    EXPECT_EQ(model->Sessions().size(), 1);
  });
}

TEST_P(FailingBeginningTest, LeavesALossToTheNextStart) {
  // Without an end there is none to remove.
  if (std::string(GetParam().path_part) != "/progress") return;
  Start([&](KeepingProcess& process) { MakeModel(process, /*pushes=*/3); });
  FailToStart();
  Start([&](KeepingProcess& process) {
    const ModelDescription is = (*process.store().Find("m"))->Describe();
    EXPECT_EQ(is.lost_pushes, 3);
    EXPECT_FALSE(is.loss_uncertain);
  });
}

INSTANTIATE_TEST_SUITE_P(
    , FailingBeginningTest,
    testing::Values(FailingBeginning{"overwrite", "/progress", kAlways},
                    FailingBeginning{"sync", "/progress", 1},
                    FailingBeginning{"sync", "/progress", kAlways},
                    FailingBeginning{"remove", "/ended", kAlways},
                    FailingBeginning{"sync directory", "/m@", 1},
                    FailingBeginning{"sync directory", "/m@", kAlways}));

TEST_F(ProgressTest, AnEndInOrderIsOneOnce) {
  auto model = Create(Durability::kMemory);
  ASSERT_TRUE(harness().Initialize(*model, 1).ok());
  const Version before = *model->Describe().version;
  process_->Drain();
  model.reset();
  StartAgain();
  EXPECT_EQ((*process_->store().Find("m"))->Describe().version, before);
  // It has ended as it was, but not in order.
  StartAgain();
  EXPECT_NE((*process_->store().Find("m"))->Describe().version, before);
}

}  // namespace
}  // namespace accrue
