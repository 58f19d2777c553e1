// A model that goes on from a captured state is, from then on, the model that
// it was captured from: bit for bit, whatever the optimizer and wherever in its
// cycles it stood.
#include <random>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "tests/model/harness.h"
#include "tests/model/kept_models.h"
#include "tests/model/stored.h"

namespace accrue {
namespace {

class CaptureTest : public ::testing::TestWithParam<KeptModel> {
 protected:
  static constexpr int64_t kElems = kTwoGroupsElems;

  CaptureTest() {
    ModelSpec spec = TwoGroups("stored");
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

INSTANTIATE_TEST_SUITE_P(Optimizers, CaptureTest,
                         ::testing::ValuesIn(KeptModels()),
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

// Other models may be read for longer than a session may be idle.
TEST(StoredModelTest, ItsSessionsAgeFromWhenItCanBeReached) {
  Harness harness;
  const auto original = harness.TryMake(SimpleSpec(3, 1));
  ASSERT_TRUE(harness.Open(**original, "a").ok());
  const auto stored = CaptureNow(**original);
  ASSERT_TRUE(stored.ok());
  const auto other = harness.TryMake(SimpleSpec(3, 1));
  ASSERT_TRUE(RestoreNow(**other, *stored).ok());
  const absl::Time reached = absl::Now();
  (*other)->Attach(nullptr);
  ASSERT_EQ((*other)->Sessions().size(), 1);
  EXPECT_GE((*other)->Sessions()[0].last_active, reached);
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
