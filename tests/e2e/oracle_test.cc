// A pairwise subset of all allowed combinations, through the SDK, gRPC and the
// real daemon, against the oracle: parameters stay within its bounds.
#include "tests/oracle/oracle.h"

#include <cstdint>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "accrue/client.h"
#include "tests/e2e/daemon.h"
#include "tests/oracle/combinations.h"

namespace accrue {
namespace {

using oracle::Combination;

constexpr int64_t kPushes = 120;
constexpr int64_t kStretch = 30;
constexpr uint32_t kSeed = 8634;

// The enumerators of both sides stand in the same order, the SDK's from 1.
template <typename To, typename From>
To Same(From value) {
  return static_cast<To>(static_cast<int>(value) + 1);
}

client::Schedule ScheduleOf(const rule::Schedule& schedule) {
  return {.kind = Same<client::Schedule::Kind>(schedule.kind),
          .warmup_updates = schedule.warmup_updates,
          .total_updates = schedule.total_updates,
          .step_updates = schedule.step_updates,
          .gamma = schedule.gamma,
          .final_factor = schedule.final_factor};
}

client::Hyperparameters HyperOf(const rule::RuleSpec& rule) {
  const rule::Hyperparameters& hyper = rule.hyper;
  client::Hyperparameters result{.learning_rate = hyper.learning_rate,
                                 .beta1 = hyper.beta1,
                                 .weight_decay = hyper.weight_decay,
                                 .clip_norm = hyper.clip_norm,
                                 .clip_push_norm = hyper.clip_push_norm,
                                 .schedule = ScheduleOf(hyper.schedule)};
  if (rule.optimizer == rule::Optimizer::kSgd) {
    result.dampening = hyper.dampening;
  } else {
    result.beta2 = hyper.beta2;
    result.epsilon = hyper.epsilon;
  }
  return result;
}

// Two groups under the same rule; the second's tensor stands between the
// first's two.
client::ModelSpec SpecOf(const Combination& combination,
                         const std::string& name) {
  const rule::RuleSpec rule = combination.Rule();
  client::ModelSpec spec;
  spec.name = name;
  spec.tensors = {{.name = "a", .shape = {3}, .group = "one"},
                  {.name = "b", .shape = {5}, .group = "two"},
                  {.name = "c", .shape = {2}, .group = "one"}};
  spec.optimizer = {
      .optimizer = Same<client::Optimizer>(rule.optimizer),
      .decay = Same<client::Decay>(rule.decay),
      .buffering = Same<client::Buffering>(rule.buffering),
      .second_moment = Same<client::SecondMoment>(rule.second_moment),
      .epsilon_place = Same<client::EpsilonPlace>(rule.epsilon_place),
      .learning_rate_scaling =
          Same<client::LearningRateScaling>(rule.lr_scaling),
      .clip_scope = Same<client::ClipScope>(rule.clip_scope),
      .nesterov = rule.nesterov,
      .slide_beta2 = rule.slide_beta2};
  for (const char* group : {"one", "two"}) {
    spec.groups.push_back({.name = group,
                           .k = rule.k,
                           .update_every = rule.update_every,
                           .hyperparameters = HyperOf(rule)});
  }
  return spec;
}

// The flat vector [a b c] as the groups see it: {a c}, {b}.
oracle::Payload ByGroup(const std::vector<float>& flat) {
  return {{flat[0], flat[1], flat[2], flat[8], flat[9]},
          {flat[3], flat[4], flat[5], flat[6], flat[7]}};
}

void Train(const client::Client& client, const Combination& combination,
           const std::string& name) {
  auto model = client.CreateModel(SpecOf(combination, name));
  ASSERT_TRUE(model.ok()) << model.status();
  const std::vector<float> halves(10, 0.5f);
  ASSERT_TRUE(model->InitializeValues(halves).ok());
  auto worker = model->OpenWorker({.name = "w"});
  ASSERT_TRUE(worker.ok()) << worker.status();
  oracle::Oracle oracle(std::vector<oracle::Group>(
      2, {combination.Rule(), std::vector<float>(5, 0.5f)}));
  std::mt19937 random(kSeed);
  std::normal_distribution<float> normal;
  std::vector<float> parameters(10);
  for (int64_t i = 0; i < kPushes; ++i) {
    ASSERT_TRUE(worker->PullNewer(&parameters, absl::ZeroDuration()).ok());
    std::vector<float> gradient(10);
    for (float& g : gradient) g = normal(random) + 0.25f;
    const rule::PushFacts facts = combination.Facts(i);
    auto pushed = worker->Push(
        gradient, {.micro_steps = facts.micro_steps, .weight = facts.weight});
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    ASSERT_TRUE(pushed->accepted) << pushed->message;
    oracle.Push(ByGroup(gradient), facts);
    if (i == kPushes / 2) {
      ASSERT_TRUE(model->EndCycle().ok());
      oracle.Close();
    }
    if (i % kStretch != kStretch - 1) continue;
    ASSERT_TRUE(worker->Pull(&parameters).ok());
    const oracle::Payload got = ByGroup(parameters);
    for (size_t g = 0; g < 2; ++g) {
      ASSERT_EQ(oracle::Mismatch("theta", oracle.theta(g), got[g].data(), 5),
                "");
    }
  }
  ASSERT_TRUE(client.DeleteModel(name).ok());
}

TEST(OracleTest, APairwiseSubsetAgreesOverTheWire) {
  const auto daemon = Daemon::Start({"--log_level=warn"});
  auto client = client::Client::Connect(daemon->tcp());
  ASSERT_TRUE(client.ok()) << client.status();
  const std::vector<Combination> subset =
      oracle::PairwiseSubset(oracle::AllowedCombinations());
  std::cout << "seed " << kSeed << ", " << subset.size() << " combinations\n";
  for (size_t i = 0; i < subset.size(); ++i) {
    SCOPED_TRACE(subset[i].Name());
    std::cout << subset[i].Name() << "\n";
    Train(*client, subset[i], "pair-" + std::to_string(i));
  }
}

}  // namespace
}  // namespace accrue
