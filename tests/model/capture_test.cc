// A model that goes on from a captured state is, from then on, the model that
// it was captured from: bit for bit, whatever the optimizer and wherever in its
// cycles it stood.
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "tests/model/harness.h"
#include "tests/model/stored.h"

namespace accrue {
namespace {

struct Case {
  std::string name;
  std::function<void(ModelSpec&)> change;
};

// Two groups with cycles of 2 and 4, of tensors that take turns.
ModelSpec TwoGroups() {
  ModelSpec spec = SimpleSpec(7, 2);
  spec.name = "stored";
  GroupSpec slow = spec.groups[0];
  slow.name = "slow";
  slow.k = slow.update_every = 4;
  spec.groups.push_back(slow);
  spec.tensors.push_back({.name = "v", .shape = {3, 5}, .group = "slow"});
  spec.tensors.push_back({.name = "u", .shape = {9}, .group = "all"});
  for (GroupSpec& group : spec.groups) {
    group.hyper.learning_rate = 0.05;
    group.hyper.beta1 = 0.875;
    group.hyper.schedule.kind = rule::Schedule::Kind::kCosine;
    group.hyper.schedule.total_updates = 50;
    group.hyper.schedule.warmup_updates = 3;
  }
  return spec;
}

class CaptureTest : public ::testing::TestWithParam<Case> {
 protected:
  static constexpr int64_t kElems = 7 + 15 + 9;

  CaptureTest() {
    ModelSpec spec = TwoGroups();
    GetParam().change(spec);
    spec_ = spec;
  }

  std::vector<float> Gradient() {
    std::normal_distribution<float> normal;
    std::vector<float> gradient(kElems);
    for (float& g : gradient) g = normal(random_);
    return gradient;
  }

  // The same pushes go to all of `models`, each by worker "a" and "b" in turn.
  void PushTo(const std::vector<Model*>& models, int count) {
    for (int i = 0; i < count; ++i) {
      const std::vector<float> gradient = Gradient();
      Turn& turn = turns_[(pushes_++) % 2];
      ++turn.sequence;
      for (Model* model : models) {
        auto push =
            harness_.NewPush(*model, turn.session, turn.sequence, gradient);
        push->header.loss = gradient[0];
        push->header.weight = 1.5;
        const auto outcome = harness_.PushNow(*model, std::move(push));
        ASSERT_TRUE(outcome.ok()) << outcome.status();
      }
    }
  }

  struct Turn {
    std::string session;
    int64_t sequence = 0;
  };
  std::mt19937 random_{20};
  Harness harness_;
  ModelSpec spec_;
  Turn turns_[2];
  int pushes_ = 0;
};

TEST_P(CaptureTest, WhatGoesOnFromACaptureIsTheSameModel) {
  const auto original = harness_.Make(spec_, 0.5);
  for (Turn& turn : turns_) {
    turn.session = harness_.Open(*original, &turn == turns_ ? "a" : "b")->id;
  }
  PushTo({original.get()}, 7);  // both groups amid a cycle

  const auto stored = CaptureNow(*original);
  ASSERT_TRUE(stored.ok()) << stored.status();
  const auto other = harness_.TryMake(spec_);
  ASSERT_TRUE(other.ok());
  ASSERT_TRUE(RestoreNow(**other, *stored).ok());
  (*other)->Attach(nullptr);
  EXPECT_EQ(harness_.Image(**other), harness_.Image(*original));

  PushTo({original.get(), other->get()}, 17);
  EXPECT_EQ(harness_.Image(**other), harness_.Image(*original));
  const ModelDescription was = original->Describe(), is = (*other)->Describe();
  EXPECT_EQ(is.last_loss, was.last_loss);
  EXPECT_EQ(is.received_bytes, was.received_bytes);
  EXPECT_EQ(is.k_changes.size(), was.k_changes.size());
  for (size_t g = 0; g < was.groups.size(); ++g) {
    EXPECT_EQ(is.groups[g].k, was.groups[g].k);
    EXPECT_EQ(is.groups[g].clip_norm_seen, was.groups[g].clip_norm_seen);
    EXPECT_EQ(is.groups[g].noise.has_value(), was.groups[g].noise.has_value());
  }
}

TEST_P(CaptureTest, APushThatWasAnsweredBeforeIsADuplicateAfterwards) {
  const auto original = harness_.Make(spec_);
  turns_[0].session = harness_.Open(*original, "a")->id;
  const std::vector<float> gradient = Gradient();
  const auto first =
      harness_.PushNow(*original, turns_[0].session, 1, gradient);
  ASSERT_TRUE(first.ok());
  const auto stored = CaptureNow(*original, /*step=*/true);
  ASSERT_TRUE(stored.ok()) << stored.status();
  const auto other = harness_.TryMake(spec_);
  ASSERT_TRUE(RestoreNow(**other, *stored).ok());

  const auto again = harness_.PushNow(**other, turns_[0].session, 1, gradient);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->duplicate);
  EXPECT_EQ(again->folded_pushes, first->folded_pushes);
  EXPECT_EQ((*other)->Describe().folded_pushes, 1);
  const auto changed =
      harness_.PushNow(**other, turns_[0].session, 1, Gradient());
  EXPECT_EQ(GetErrorInfo(changed.status()).reason, Reason::kSequenceReused);
}

void Sgd(ModelSpec& spec) {
  for (GroupSpec& group : spec.groups) group.hyper.weight_decay = 0.01;
}

INSTANTIATE_TEST_SUITE_P(
    Optimizers, CaptureTest,
    ::testing::Values(Case{"sgd", Sgd},
                      Case{"nesterov",
                           [](ModelSpec& spec) {
                             Sgd(spec);
                             spec.optimizer.nesterov = true;
                           }},
                      Case{"adamw",
                           [](ModelSpec& spec) {
                             spec.optimizer.optimizer = rule::Optimizer::kAdamW;
                             spec.groups[0].hyper.clip_norm = 0.25;
                             spec.groups[1].hyper.clip_push_norm = 1;
                           }},
                      Case{"corrected",
                           [](ModelSpec& spec) {
                             spec.optimizer.optimizer = rule::Optimizer::kAdam;
                             spec.optimizer.second_moment =
                                 rule::SecondMoment::kCorrected;
                           }},
                      Case{"sliding",
                           [](ModelSpec& spec) {
                             spec.optimizer.optimizer = rule::Optimizer::kAdamW;
                             spec.optimizer.decay = rule::Decay::kSliding;
                           }},
                      Case{"lamb",
                           [](ModelSpec& spec) {
                             spec.optimizer.optimizer = rule::Optimizer::kLamb;
                           }},
                      Case{"classic",
                           [](ModelSpec& spec) {
                             spec.optimizer.optimizer = rule::Optimizer::kAdam;
                             spec.optimizer.buffering =
                                 rule::Buffering::kClassic;
                           }},
                      Case{"gather",
                           [](ModelSpec& spec) {
                             spec.optimizer.optimizer = rule::Optimizer::kAdamW;
                             spec.optimizer.buffering =
                                 rule::Buffering::kGather;
                           }},
                      Case{"adaptive_k",
                           [](ModelSpec& spec) {
                             spec.optimizer.optimizer = rule::Optimizer::kAdamW;
                             for (GroupSpec& group : spec.groups) {
                               group.adaptive_k = {
                                   .min_k = 1, .max_k = 8, .hysteresis = 0};
                             }
                           }}),
    [](const auto& info) { return info.param.name; });

TEST(StoredModelTest, AModelWithoutParametersKeepsItsSessions) {
  Harness harness;
  const auto original = harness.TryMake(SimpleSpec(3, 1));
  const std::string id = harness.Open(**original, "a")->id;
  const auto stored = CaptureNow(**original);
  ASSERT_TRUE(stored.ok());
  const auto other = harness.TryMake(SimpleSpec(3, 1));
  ASSERT_TRUE(RestoreNow(**other, *stored).ok());
  EXPECT_EQ((*other)->Describe().state, ModelState::kUninitialized);
  EXPECT_TRUE(harness.Open(**other, "a", id).ok());
  EXPECT_TRUE(harness.Initialize(**other, 1).ok());
}

TEST(StoredModelTest, ADeletedModelIsNotCaptured) {
  Harness harness;
  const auto model = harness.Make(SimpleSpec(3, 1));
  model->Delete();
  EXPECT_EQ(CaptureNow(*model).status().code(), absl::StatusCode::kNotFound);
}

TEST(StoredModelTest, WhatCannotBeReadIsNotRestored) {
  Harness harness;
  const auto model = harness.Make(SimpleSpec(3, 1));
  const auto stored = CaptureNow(*model);
  ASSERT_TRUE(stored.ok());
  (*stored)->fault_ = absl::DataLossError("a flipped bit");
  const auto other = harness.TryMake(SimpleSpec(3, 1));
  EXPECT_EQ(RestoreNow(**other, *stored), (*stored)->fault_);
}

}  // namespace
}  // namespace accrue
