// A model that goes on from a checkpoint is the model that it was made of, bit
// for bit.
#include <cmath>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "server/durability/checkpoint_directory.h"
#include "server/durability/checkpoint_reader.h"
#include "server/durability/checkpoint_writer.h"
#include "tests/durability/temporary_directory.h"
#include "tests/model/harness.h"
#include "tests/model/kept_models.h"

namespace accrue {
namespace {

ModelSpec ClippedGroups() {
  ModelSpec spec = TwoGroups("m");
  for (GroupSpec& group : spec.groups) group.hyper.clip_norm = 0.5;
  return spec;
}

std::vector<ModelSpec> Specs() {
  std::vector<ModelSpec> specs(5, ClippedGroups());
  specs[0].optimizer.nesterov = true;
  for (GroupSpec& group : specs[0].groups) group.hyper.clip_norm = 0;
  for (const size_t i : {1, 2, 3, 4}) {
    specs[i].optimizer.optimizer = rule::Optimizer::kAdamW;
  }
  specs[1].optimizer.second_moment = rule::SecondMoment::kCorrected;
  specs[2].optimizer.buffering = rule::Buffering::kClassic;
  specs[3].optimizer.buffering = rule::Buffering::kGather;
  specs[4].optimizer.optimizer = rule::Optimizer::kSgd;
  for (GroupSpec& group : specs[4].groups) {
    group.hyper.clip_norm = 0;
    group.adaptive_k =
        rule::AdaptiveK{.min_k = group.k, .max_k = 16, .hysteresis = 0.25};
  }
  return specs;
}

class CheckpointModelTest : public ::testing::TestWithParam<ModelSpec> {
 protected:
  void PushTo(const std::vector<Model*>& models, int count) {
    std::normal_distribution<float> normal;
    for (int i = 0; i < count; ++i) {
      std::vector<float> gradient(7 + 15 + 9);
      for (float& g : gradient) g = normal(random_);
      ++sequence_;
      for (Model* model : models) {
        auto push = harness_.NewPush(*model, session_, sequence_, gradient);
        // What workers say need not be a number.
        push->header.loss = std::nan("");
        const auto outcome = harness_.PushNow(*model, std::move(push));
        ASSERT_TRUE(outcome.ok()) << outcome.status();
      }
    }
  }

  absl::StatusOr<CheckpointInfo> Checkpoint(Model& model, int64_t lsn) {
    std::promise<absl::StatusOr<CheckpointInfo>> done;
    CheckpointTarget target{
        .files = PosixFileSystem(),
        .pool = harness_.environment().pool,
        .memory = std::make_shared<CheckpointMemory>(0, nullptr),
        .directory = place_.path(),
        .instance = std::string(32, '5'),
        .lsn = [lsn] { return lsn; },
        .spec = model.spec(),
        .layout = std::make_shared<const Layout>(model.spec())};
    model.CaptureState(std::make_shared<CheckpointWriter>(
        std::move(target),
        [&](auto info) { done.set_value(std::move(info)); }));
    return done.get_future().get();
  }

  void RestoreTo(Model& model, const std::string& name) {
    auto reader = CheckpointReader::Open(*PosixFileSystem(), place_ / name);
    ASSERT_TRUE(reader.ok()) << reader.status();
    StoredModel stored;
    if ((*reader)->state().version.has_value()) {
      stored.version = *(*reader)->state().version;
    }
    stored.source = *std::move(reader);
    std::promise<absl::Status> done;
    model.Restore(std::move(stored), [&](absl::Status status) {
      done.set_value(std::move(status));
    });
    const absl::Status restored = done.get_future().get();
    ASSERT_TRUE(restored.ok()) << restored;
    model.Attach(nullptr);
  }

  const TemporaryDirectory place_;
  std::mt19937 random_{20};
  Harness harness_;
  std::string session_;
  int64_t sequence_ = 0;
};

TEST_P(CheckpointModelTest, WhatGoesOnFromACheckpointIsTheSameModel) {
  const auto original = harness_.Make(GetParam(), 0.5);
  session_ = harness_.Open(*original, "worker")->id;
  for (int64_t lsn = 0; lsn < 3; ++lsn) {
    PushTo({original.get()}, static_cast<int>(7 * lsn));
    const auto info = Checkpoint(*original, lsn);
    ASSERT_TRUE(info.ok()) << info.status();
    const auto other = harness_.TryMake(GetParam());
    ASSERT_TRUE(other.ok());
    RestoreTo(**other, info->name);
    EXPECT_EQ(harness_.Image(**other), harness_.Image(*original));
    PushTo({original.get(), other->get()}, 9);
    EXPECT_EQ(harness_.Image(**other), harness_.Image(*original));
  }
}

TEST_P(CheckpointModelTest, AModelWithoutParametersIsFoundToo) {
  const auto original = harness_.TryMake(GetParam());
  ASSERT_TRUE(original.ok());
  const auto info = Checkpoint(**original, 1);
  ASSERT_TRUE(info.ok()) << info.status();
  const auto other = harness_.TryMake(GetParam());
  RestoreTo(**other, info->name);
  EXPECT_TRUE(harness_.Initialize(**other, 0.5).ok());
}

INSTANTIATE_TEST_SUITE_P(All, CheckpointModelTest,
                         ::testing::ValuesIn(Specs()));

}  // namespace
}  // namespace accrue
