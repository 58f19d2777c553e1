// A model whose k follows the noise of its gradients.
#include "server/rule/adaptive_k.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/model/gathering.h"
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
  NoisyWorker(Harness& harness, std::shared_ptr<Model> model,
              const std::string& name = "worker")
      : harness_(harness),
        model_(std::move(model)),
        session_(harness.Open(*model_, name)->id),
        random_(kSeed + name.size()) {
    std::cout << "seed " << kSeed << "\n";
  }

  PushOutcome Push(const std::vector<float>& deviations,
                   int64_t micro_steps = 1) {
    const auto pushed = TryPush(deviations, micro_steps);
    EXPECT_TRUE(pushed.ok()) << pushed.status();
    return pushed.value_or(PushOutcome());
  }

  absl::StatusOr<PushOutcome> TryPush(const std::vector<float>& deviations,
                                      int64_t micro_steps) {
    std::vector<float> gradient;
    for (const float deviation : deviations) {
      std::normal_distribution<float> normal(
          1, deviation / std::sqrt(static_cast<float>(micro_steps)));
      for (int64_t e = 0; e < kElems; ++e) gradient.push_back(normal(random_));
    }
    while (true) {
      auto push = harness_.NewPush(*model_, session_, sequence_ + 1, gradient);
      push->header.micro_steps = micro_steps;
      auto pushed = harness_.PushNow(*model_, std::move(push));
      if (pushed.ok()) ++sequence_;
      // A timeout may have published in between.
      if (GetErrorInfo(pushed.status()).reason != Reason::kStale) return pushed;
    }
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
void ExpectARiseAndAFall(const ModelSpec& spec) {
  Harness harness;
  auto model = harness.Make(spec);
  NoisyWorker worker(harness, model);
  worker.PushUpdates(30, {2});
  EXPECT_EQ(KOf(*model), 2);
  worker.PushUpdates(30, {8});
  EXPECT_NEAR(KOf(*model), 8, 1);
  // Changes take effect with the next cycle; the policy goes on.
  const auto faster = [](rule::Hyperparameters& hyper) {
    hyper.learning_rate = 2e-3;
  };
  ASSERT_TRUE(harness.Update(*model, {{"", faster}}).ok());
  EXPECT_NEAR(KOf(*model), 8, 1);
  worker.PushUpdates(60, {2});
  EXPECT_EQ(KOf(*model), 2);

  const ModelDescription description = model->Describe();
  EXPECT_EQ(description.spec.groups[0].k, 2);
  EXPECT_EQ(description.spec.groups[0].hyper.learning_rate, 2e-3);
  EXPECT_EQ(description.groups[0].learning_rate, 2e-3);
  EXPECT_EQ(description.groups[0].update_every, description.groups[0].k);
  ASSERT_GE(description.k_changes.size(), 2);
  int64_t k = 2, updates = 0;
  for (const rule::KChange& change : description.k_changes) {
    EXPECT_EQ(change.from, k);
    EXPECT_LE(change.to, rule::kMaxGrowth * change.from);
    EXPECT_GT(change.updates, updates);
    k = change.to;
    updates = change.updates;
  }
  EXPECT_EQ(k, 2);
}

TEST(ModelAdaptiveKTest, FollowsARiseAndAFallOfTheNoise) {
  ExpectARiseAndAFall(Adaptive({.min_k = 1, .max_k = 32}, 2));
}

TEST(ModelAdaptiveKTest, AlsoWhereCyclesAreBufferedOrGathered) {
  for (const auto buffering :
       {rule::Buffering::kClassic, rule::Buffering::kGather}) {
    ModelSpec spec = Adaptive({.min_k = 1, .max_k = 32}, 2);
    spec.optimizer.buffering = buffering;
    ExpectARiseAndAFall(spec);
  }
}

// m decays by (1 - 0.1/k)^k a cycle, hardly more slowly than by 0.9.
TEST(ModelAdaptiveKTest, AlsoUnderDecaysThatSlide) {
  for (const auto decay : {rule::Decay::kSliding, rule::Decay::kSlidingExact}) {
    ModelSpec spec = Adaptive({.min_k = 1, .max_k = 32}, 2);
    spec.optimizer.decay = decay;
    ExpectARiseAndAFall(spec);
  }
}

// Without momentum mu^2 = sigma^2/900 of 10,000 elements is three standard
// errors at k = 38: hidden at CV = 30, to which k would fall from 64, where it
// is seen or not from one update to the next.
TEST(ModelAdaptiveKTest, DoesNotFallToWhereTheMeanIsHidden) {
  Harness harness;
  ModelSpec spec = Adaptive({.min_k = 2, .max_k = 64}, 32);
  spec.groups[0].hyper.beta1 = spec.groups[0].hyper.dampening = 0;
  auto model = harness.Make(spec);
  NoisyWorker worker(harness, model);
  worker.PushUpdates(2, {30});
  EXPECT_EQ(KOf(*model), 64);
  const size_t changes = model->Describe().k_changes.size();
  int64_t seen = 0;
  for (int update = 0; update < 20; ++update) {
    worker.PushUpdates(1, {30});
    if (!model->Describe().groups[0].noise->variation.at_least) ++seen;
    ASSERT_EQ(KOf(*model), 64);
  }
  EXPECT_EQ(model->Describe().k_changes.size(), changes);
  EXPECT_GE(seen, 10);
}

// However k grows, no more is held than was reserved: max_k pushes.
TEST(ModelAdaptiveKTest, UnderGatherHoldsNoMoreThanWasReserved) {
  Harness harness;
  ModelSpec spec = Adaptive({.min_k = 2, .max_k = 12}, 2);
  spec.optimizer.buffering = rule::Buffering::kGather;
  auto model = harness.Make(spec);
  NoisyWorker worker(harness, model);
  worker.PushUpdates(12, {30});
  EXPECT_EQ(KOf(*model), 12);
  for (const MemoryLedger::Row& row : model->Describe().memory) {
    if (row.tag != MemoryTag::kGathered) continue;
    EXPECT_EQ(row.live_bytes, 0);
    EXPECT_EQ(row.peak_bytes, GatherBytes(model->spec()));
  }
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

// Workers that push different numbers of micro-steps: k is a multiple of all of
// them, as long as they do push, or try to while a cycle of another number is
// open. CV = 4 would be 4 for the one with 2.
TEST(ModelAdaptiveKTest, LocksNobodyOutWhoHasPushedLately) {
  Harness harness;
  auto model = harness.Make(Adaptive({.min_k = 1, .max_k = 64}, 6));
  NoisyWorker twos(harness, model, "twos"), threes(harness, model, "threes");
  twos.Push({4}, 2);
  EXPECT_EQ(GetErrorInfo(threes.TryPush({4}, 3).status()).reason,
            Reason::kMicroSteps);
  for (int cycle = 0; cycle < 20; ++cycle) {
    const bool even = cycle % 2 == 0;
    const int64_t micro_steps = even ? 2 : 3;
    bool published = false;
    while (!published) {
      published = (even ? twos : threes).Push({4}, micro_steps).published;
      ASSERT_FALSE(HasFailure()) << "cycle " << cycle;
    }
    EXPECT_EQ(KOf(*model) % 6, 0);
  }
  // Nobody has pushed 3 for long: then 2 is what counts.
  for (int push = 0; push < 4 * rule::RecentMicroSteps::kVersions; ++push) {
    twos.Push({4}, 2);
  }
  EXPECT_EQ(KOf(*model), 4);
}

// Each cycle of EndCycle's: fewer pushes than k, but k follows all the same.
TEST(ModelAdaptiveKTest, FollowsTheNoiseOfShortCycles) {
  for (const auto buffering :
       {rule::Buffering::kEmbedded, rule::Buffering::kGather}) {
    Harness harness;
    ModelSpec spec = Adaptive({.min_k = 2, .max_k = 32}, 2);
    spec.optimizer.buffering = buffering;
    auto model = harness.Make(spec);
    NoisyWorker worker(harness, model);
    for (int cycle = 0; cycle < 40; ++cycle) {
      if (worker.Push({8}).published) continue;
      ASSERT_TRUE(harness.EndCycle(*model).ok());
      EXPECT_EQ(model->Describe().groups[0].position, 0);
    }
    EXPECT_NEAR(KOf(*model), 8, 1);
    EXPECT_GE(model->Describe().short_cycles, 39);
  }
}

// A close that comes from elsewhere: group "one" ends its cycle early, "two"
// stays open and k waits until both are at their beginnings.
TEST(ModelAdaptiveKTest, CyclesThatTimeOutStayNested) {
  Harness harness;
  ModelSpec spec = Adaptive({.min_k = 2, .max_k = 16}, 2);
  AddGroup(spec, 4, rule::AdaptiveK{.min_k = 2, .max_k = 16});
  spec.cycle_timeout = absl::Milliseconds(2);
  auto model = harness.Make(spec);
  NoisyWorker worker(harness, model);
  int64_t changes = 0;
  for (int push = 0; push < 120; ++push) {
    const int64_t before = model->Describe().version->number;
    const PushOutcome outcome = worker.Push({1, 12});
    // Of a push that failed no cycle is open that could time out.
    ASSERT_FALSE(HasFailure()) << "push " << push;
    if (!outcome.published && push % 3 == 0) {
      while (model->Describe().version->number == before) {
        std::this_thread::yield();
      }
    }
    const ModelDescription now = model->Describe();
    const int64_t one = now.groups[0].k, two = now.groups[1].k;
    ASSERT_EQ(std::max(one, two) % std::min(one, two), 0);
    // Cycles end together: the longer one's place is one of the shorter's.
    const auto& shorter = now.groups[one <= two ? 0 : 1];
    const auto& longer = now.groups[one <= two ? 1 : 0];
    ASSERT_EQ(longer.position % shorter.k, shorter.position);
    changes = static_cast<int64_t>(now.k_changes.size());
  }
  EXPECT_GE(changes, 1);
  EXPECT_GT(model->Describe().short_cycles, 0);
  EXPECT_EQ(KOf(*model, 0), 2);
  EXPECT_GE(KOf(*model, 1), 8);
}

// Without a bound of staleness cycles need not nest: each group goes its way,
// from the end of its own cycle on.
TEST(ModelAdaptiveKTest, GroupsOfAnAsynchronousModelGoTheirOwnWays) {
  Harness harness;
  ModelSpec spec = Adaptive({.min_k = 2, .max_k = 32}, 3);
  AddGroup(spec, 4, rule::AdaptiveK{.min_k = 1, .max_k = 32});
  spec.max_staleness = -1;
  auto model = harness.Make(spec);
  NoisyWorker worker(harness, model);
  int64_t alone = 0;
  for (int push = 0; push < 350; ++push) {
    const size_t before = model->Describe().k_changes.size();
    worker.Push({3, 7});
    const ModelDescription now = model->Describe();
    if (now.k_changes.size() == before) continue;
    const auto& changed =
        now.groups[static_cast<size_t>(now.k_changes.back().group)];
    EXPECT_EQ(changed.position, 0);
    EXPECT_EQ(changed.updates, now.k_changes.back().updates);
    if (now.groups[0].position + now.groups[1].position > 0) ++alone;
  }
  EXPECT_GT(alone, 0);
  EXPECT_NEAR(KOf(*model, 0), 3, 1);
  EXPECT_NEAR(KOf(*model, 1), 7, 1);
}

// m that is zero is a measurement: pushes of g and -g leave no mean.
TEST(ModelAdaptiveKTest, AMomentOfZerosIsMeasuredToo) {
  Harness harness;
  ModelSpec spec = Adaptive({.min_k = 2, .max_k = 8}, 2);
  spec.groups[0].hyper.beta1 = spec.groups[0].hyper.dampening = 0;
  auto model = harness.Make(spec);
  const std::string session = harness.Open(*model, "worker")->id;
  const std::vector<float> up(kElems, 1.0f), down(kElems, -1.0f);
  ASSERT_TRUE(harness.PushNow(*model, session, 1, up).ok());
  ASSERT_TRUE(harness.PushNow(*model, session, 2, down)->published);
  const auto reading = model->Describe().groups[0].noise;
  ASSERT_TRUE(reading.has_value());
  EXPECT_EQ(reading->estimate.mean_squared, 0);
  EXPECT_TRUE(reading->variation.at_least);
  EXPECT_EQ(KOf(*model), 8);
  // Zeros alone tell nothing, and what was known is no news.
  const std::vector<float> zeros(kElems);
  for (int64_t push = 3; push <= 10; ++push) {
    ASSERT_TRUE(harness.PushNow(*model, session, push, zeros).ok());
  }
  EXPECT_FALSE(model->Describe().groups[0].noise.has_value());
  EXPECT_EQ(KOf(*model), 8);
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
