// A model whose k follows the noise of its gradients.
#include "server/rule/adaptive_k.h"

#include <cmath>
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

using ::testing::HasSubstr;

constexpr uint32_t kSeed = 20211121;
constexpr int64_t kElems = 10'000;

ModelSpec Adaptive(const rule::AdaptiveK& adaptive, int64_t k) {
  ModelSpec spec = SimpleSpec(kElems, k);
  spec.groups[0].hyper.beta1 = spec.groups[0].hyper.dampening = 0.9;
  spec.groups[0].hyper.learning_rate = 1e-3;
  spec.groups[0].adaptive_k = adaptive;
  return spec;
}

// A second group of as many elements, under the same rule.
void AddGroup(ModelSpec& spec, int64_t k,
              std::optional<rule::AdaptiveK> adaptive) {
  spec.tensors.push_back({"w2", {kElems}, "two"});
  spec.groups.push_back(spec.groups[0]);
  spec.groups[1].name = "two";
  spec.groups[1].k = spec.groups[1].update_every = k;
  spec.groups[1].adaptive_k = adaptive;
}

// A worker whose gradients have the mean 1 and, group by group, a deviation.
class NoisyWorker {
 public:
  NoisyWorker(Harness& harness, std::shared_ptr<Model> model)
      : harness_(harness),
        model_(std::move(model)),
        session_(harness.Open(*model_, "worker")->id),
        random_(kSeed) {
    std::cout << "seed " << kSeed << "\n";
  }

  PushOutcome Push(const std::vector<float>& deviations,
                   int64_t micro_steps = 1) {
    std::vector<float> gradient;
    for (const float deviation : deviations) {
      std::normal_distribution<float> normal(
          1, deviation / std::sqrt(static_cast<float>(micro_steps)));
      for (int64_t e = 0; e < kElems; ++e) gradient.push_back(normal(random_));
    }
    auto push = harness_.NewPush(*model_, session_, ++sequence_, gradient);
    push->header.micro_steps = micro_steps;
    const auto pushed = harness_.PushNow(*model_, std::move(push));
    EXPECT_TRUE(pushed.ok()) << pushed.status();
    return pushed.value_or(PushOutcome());
  }

  // Pushes until group 0 has been updated so often.
  void PushUpdates(int64_t updates, const std::vector<float>& deviations) {
    const int64_t until = model_->Describe().groups[0].updates + updates;
    while (model_->Describe().groups[0].updates < until) Push(deviations);
  }

 private:
  Harness& harness_;
  const std::shared_ptr<Model> model_;
  const std::string session_;
  int64_t sequence_ = 0;
  std::mt19937 random_;
};

int64_t KOf(const Model& model, size_t group = 0) {
  return model.Describe().groups[group].k;
}

// CV is the deviation itself here. After 30 updates 0.9^30 = 4 % of the noise
// before are left in the sums, of 64 against 1 for the way down: k is the
// rounded CV, one more or less.
TEST(ModelAdaptiveKTest, FollowsARiseAndAFallOfTheNoise) {
  Harness harness;
  auto model = harness.Make(Adaptive({.min_k = 1, .max_k = 32}, 2));
  NoisyWorker worker(harness, model);
  worker.PushUpdates(30, {2});
  EXPECT_EQ(KOf(*model), 2);
  worker.PushUpdates(30, {8});
  EXPECT_NEAR(KOf(*model), 8, 1);
  worker.PushUpdates(60, {2});
  EXPECT_EQ(KOf(*model), 2);

  const ModelDescription description = model->Describe();
  EXPECT_EQ(description.spec.groups[0].k, 2);
  EXPECT_EQ(description.groups[0].update_every, description.groups[0].k);
  ASSERT_GE(description.k_changes.size(), 2);
  int64_t k = 2, updates = 0;
  for (const rule::KChange& change : description.k_changes) {
    EXPECT_EQ(change.from, k);
    EXPECT_GT(change.updates, updates);
    k = change.to;
    updates = change.updates;
  }
  EXPECT_EQ(k, 2);
}

// And the push that ended the cycle is the first to hear of it.
TEST(ModelAdaptiveKTest, ChangesBetweenCyclesOnly) {
  Harness harness;
  auto model = harness.Make(Adaptive({.min_k = 2, .max_k = 32}, 2));
  NoisyWorker worker(harness, model);
  int64_t k = 2;
  for (int push = 0; push < 100; ++push) {
    const PushOutcome outcome = worker.Push({6});
    EXPECT_TRUE(outcome.published || outcome.groups[0].k == k);
    k = outcome.groups[0].k;
    EXPECT_EQ(KOf(*model), k);
  }
  EXPECT_NEAR(static_cast<double>(k), 6, 1);
}

TEST(ModelAdaptiveKTest, StaysAMultipleOfTheMicroStepsInUse) {
  Harness harness;
  auto model = harness.Make(Adaptive({.min_k = 1, .max_k = 64}, 3));
  NoisyWorker worker(harness, model);
  for (int push = 0; push < 60; ++push) worker.Push({6}, /*micro_steps=*/3);
  EXPECT_EQ(KOf(*model), 6);
}

// Groups at their own noise, in cycles that nest: 2 and 16 from 4 and 4.
TEST(ModelAdaptiveKTest, GroupsDifferAndTheirCyclesNest) {
  Harness harness;
  ModelSpec spec = Adaptive({.min_k = 2, .max_k = 32}, 4);
  AddGroup(spec, 4, rule::AdaptiveK{.min_k = 2, .max_k = 16});
  auto model = harness.Make(spec);
  NoisyWorker worker(harness, model);
  for (int push = 0; push < 400; ++push) {
    worker.Push({1, 15});
    const int64_t one = KOf(*model, 0), two = KOf(*model, 1);
    ASSERT_EQ(std::max(one, two) % std::min(one, two), 0);
  }
  EXPECT_EQ(KOf(*model, 0), 2);
  EXPECT_EQ(KOf(*model, 1), 16);
}

TEST(ModelAdaptiveKTest, KeepsTheLastChangesOnly) {
  Harness harness;
  ModelSpec spec = Adaptive({.min_k = 1, .max_k = 2, .hysteresis = 0}, 1);
  spec.groups[0].hyper.beta1 = spec.groups[0].hyper.dampening = 0.5;
  auto model = harness.Make(spec);
  NoisyWorker worker(harness, model);
  // Without hysteresis k goes to and fro: the first cycles of each stretch, in
  // which momentum forgets, tip it over.
  for (int round = 0; round < 33; ++round) {
    for (const float deviation : {0.1f, 9.0f}) {
      const int64_t want = deviation < 1 ? 1 : 2;
      for (int push = 0; push < 200 && KOf(*model) != want; ++push) {
        worker.Push({deviation});
      }
      ASSERT_EQ(KOf(*model), want);
    }
  }
  const auto changes = model->Describe().k_changes;
  ASSERT_EQ(changes.size(), kKeptKChanges);
  EXPECT_EQ(changes.back().to, 2);
}

TEST(ModelAdaptiveKTest, WhatCannotBeAtEveryKIsRefused) {
  Harness harness;
  EXPECT_THAT(
      harness.TryMake(Adaptive({.min_k = 4, .max_k = 8}, 2)).status().message(),
      HasSubstr("group \"all\": adaptive_k: the first k, 2"));
  ModelSpec nested = Adaptive({.min_k = 2, .max_k = 8}, 4);
  AddGroup(nested, 12, std::nullopt);
  EXPECT_THAT(harness.TryMake(nested).status().message(),
              HasSubstr("k = 12 is no power of two times the smallest"));
  nested.max_staleness = 1;
  EXPECT_TRUE(harness.TryMake(nested).ok());

  // The learning rate is scaled with k: too large a step at max_k only.
  ModelSpec scaled = Adaptive({.min_k = 1, .max_k = 1 << 20}, 1);
  scaled.name = "scaled";
  scaled.optimizer.lr_scaling = rule::LrScaling::kLinear;
  auto model = harness.Make(scaled);
  const auto raise = [](rule::Hyperparameters& hyper) {
    hyper.learning_rate = 1e33;
  };
  const absl::Status refused = harness.Update(*model, {{"", raise}});
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(refused.message(), HasSubstr("adaptive_k: at max_k"));
  EXPECT_EQ(model->Describe().spec.groups[0].hyper.learning_rate, 1e-3);
}

}  // namespace
}  // namespace accrue
