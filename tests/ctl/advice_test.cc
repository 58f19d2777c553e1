#include "client/ctl/advice.h"

#include <cmath>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/ctl/advice_report.h"

namespace accrue::ctl {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

using ::testing::ElementsAre;

constexpr double kNoiseLeft = 0.02;

client::GroupPosition Group(const std::string& name, int64_t k, double variance,
                            double mean_squared) {
  client::Noise noise;
  noise.variance = variance;
  noise.mean_squared = mean_squared;
  noise.variation_at_least = mean_squared == 0;
  noise.variation = mean_squared == 0 ? 7 : std::sqrt(variance / mean_squared);
  noise.noise_left = mean_squared == 0 ? 1.0 / 49 : kNoiseLeft;
  noise.updates = 12;
  return {.group = name, .k = k, .update_every = k, .noise = noise};
}

client::ModelDescription Model(std::vector<client::GroupPosition> groups) {
  client::ModelDescription model;
  for (const client::GroupPosition& group : groups) {
    model.spec.groups.push_back(
        {.name = group.group, .hyperparameters = {.beta1 = 0.9}});
  }
  model.groups = std::move(groups);
  return model;
}

client::ModelDescription Model(double variance, double mean_squared) {
  return Model({Group("all", 4, variance, mean_squared)});
}

// By group: k by this rule.
std::vector<int64_t> Ks(const ModelAdvice& advice, const std::string& by) {
  std::vector<int64_t> ks;
  for (const GroupAdvice& group : advice.groups) {
    for (const KChoice& choice : group.choices) {
      if (choice.by == by) ks.push_back(choice.k);
    }
  }
  return ks;
}

// SNR^2 = 0.1: CV^2 = 10, C_4 = (0.1 + 1/4)/1.1 = 0.318.
TEST(AdviceTest, SaysKByEachRuleAndWhatItDoes) {
  const auto advice = Advise(Model(10, 1), 32);
  ASSERT_EQ(advice.groups.size(), 1);
  const auto& choices = advice.groups[0].choices;
  ASSERT_EQ(choices.size(), 5);
  EXPECT_EQ(choices[0].by, "in force");
  EXPECT_EQ(choices[0].k, 4);
  EXPECT_NEAR(*choices[0].power_left, 0.318, 0.0005);
  EXPECT_NEAR(*choices[0].step_factor, std::sqrt(0.318), 0.0005);
  EXPECT_NEAR(*choices[0].noise_to_signal, 2.5, 1e-12);
  EXPECT_NEAR(*choices[0].momentum_noise_to_signal, 10 * kNoiseLeft, 1e-12);
  EXPECT_EQ(choices[1].by, "CV");
  EXPECT_EQ(choices[1].k, 4);
  EXPECT_EQ(choices[2].by, "CV^2");
  EXPECT_EQ(choices[2].k, 10);
  EXPECT_NEAR(*choices[2].noise_to_signal, 1, 1e-12);
  // 2.5 times as many gradients in a mean.
  EXPECT_NEAR(*choices[2].momentum_noise_to_signal, 4 * kNoiseLeft, 1e-12);
  EXPECT_EQ(choices[3].k, 4);
  EXPECT_EQ(choices[4].k, 8);
  // Each C_k is that of its row.
  const std::string text = AdviceText(advice, "");
  EXPECT_THAT(text, HasSubstr("C_4 = 0.318"));
  EXPECT_THAT(text, HasSubstr("C_10 = "));
}

// Of a mean with these weights, from the newest gradient on: its variance.
double NoiseLeft(double keep) {
  double mass = 0;
  double squares = 0;
  for (double weight = 1; weight > 1e-20; weight *= keep) {
    mass += weight;
    squares += weight * weight;
  }
  return squares / mass / mass;
}

// They leave it to the momentum: k of per_push changes nothing in what that
// averages, k of the sliding decays does.
TEST(AdviceTest, OtherDecaysAverageInTheMomentumAlone) {
  struct Row {
    client::Decay decay;
    double keep_at_4, keep_at_10;
  };
  for (const Row& row :
       {Row{client::Decay::kPerPush, 0.9, 0.9},
        Row{client::Decay::kSliding, 1 - 0.1 / 4, 1 - 0.1 / 10},
        Row{client::Decay::kSlidingExact, std::pow(0.9, 0.25),
            std::pow(0.9, 0.1)}}) {
    client::ModelDescription model = Model(10, 1);
    model.spec.optimizer.decay = row.decay;
    model.groups[0].noise->noise_left = NoiseLeft(row.keep_at_4);
    const auto advice = Advise(model, {});
    const auto& choices = advice.groups[0].choices;
    ASSERT_EQ(choices[2].k, 10);
    // Both sums of weights end at 1e-20 of the first.
    EXPECT_NEAR(*choices[0].momentum_noise_to_signal,
                10 * NoiseLeft(row.keep_at_4), 1e-9);
    EXPECT_NEAR(*choices[2].momentum_noise_to_signal,
                10 * NoiseLeft(row.keep_at_10), 1e-9);
    for (const KChoice& choice : choices) {
      EXPECT_FALSE(choice.noise_to_signal.has_value());
      EXPECT_FALSE(choice.power_left.has_value());
      EXPECT_FALSE(choice.step_factor.has_value());
    }
    EXPECT_THAT(AdviceText(advice, ""), HasSubstr("no cycle averages"));
    // What buffers does average.
    model.spec.optimizer.buffering = client::Buffering::kClassic;
    EXPECT_NEAR(*Advise(model, {}).groups[0].choices[2].noise_to_signal, 1,
                1e-12);
  }
}

TEST(AdviceTest, KThatIsSuggestedNestsAndDividesByTheMicroSteps) {
  // CV 3 and 5, CV^2 9 and 25.
  client::ModelDescription model =
      Model({Group("a", 4, 9, 1), Group("b", 4, 25, 1)});
  EXPECT_THAT(Ks(Advise(model, {}), "CV"), ElementsAre(3, 6));
  EXPECT_THAT(Ks(Advise(model, {}), "CV^2"), ElementsAre(9, 27));
  const auto advice = Advise(model, {});
  EXPECT_EQ(advice.groups[1].choices[1].rule_k, 5);
  // Its effect is that of the k that is suggested.
  EXPECT_NEAR(*advice.groups[1].choices[1].noise_to_signal, 25.0 / 6, 1e-12);
  EXPECT_THAT(AdviceText(advice, ""), HasSubstr("6 (rule: 5)"));
  EXPECT_THAT(AdviceText(advice, ""), HasSubstr("rounded up to nest"));
  EXPECT_EQ(AdviceJson(advice, "")["groups"][1]["choices"][1]["rule_k"], 5);

  model.micro_steps = 4;
  EXPECT_THAT(Ks(Advise(model, 100), "CV"), ElementsAre(4, 8));
  EXPECT_THAT(Ks(Advise(model, 100), "batch size"), ElementsAre(4, 4, 4, 4));
  model.spec.max_staleness = -1;
  EXPECT_THAT(Ks(Advise(model, {}), "CV^2"), ElementsAre(12, 28));
  model.micro_steps = 1;
  EXPECT_THAT(Ks(Advise(model, {}), "CV"), ElementsAre(3, 5));
  model.spec.optimizer.clip_scope = client::ClipScope::kModel;
  EXPECT_THAT(Ks(Advise(model, {}), "CV"), ElementsAre(5, 5));
}

TEST(AdviceTest, WhereNoKNestsItSaysSo) {
  client::ModelDescription model =
      Model({Group("a", 4, 25, 1), Group("b", 4, 1, 1), Group("c", 6, 1, 1)});
  // Nothing is known of two, and 4 and 6 are no chain.
  model.groups[1].noise.reset();
  model.groups[2].noise.reset();
  const auto advice = Advise(model, {});
  EXPECT_FALSE(advice.groups[0].choices[1].nests);
  EXPECT_THAT(AdviceText(advice, ""), HasSubstr("(does not nest)"));
  EXPECT_EQ(AdviceJson(advice, "")["groups"][0]["choices"][1]["nests"], false);
  // A k that sets no cycle is free.
  for (client::GroupPosition& group : model.groups) group.update_every = 1;
  EXPECT_TRUE(Advise(model, {}).groups[0].choices[1].nests);
  EXPECT_THAT(Ks(Advise(model, {}), "CV"), ElementsAre(5));
}

TEST(AdviceTest, FollowsTheArticlesTableOfBatchSizes) {
  const auto last = [](int64_t batch_size) {
    return Advise(Model(10, 1), batch_size).groups[0].choices.back().k;
  };
  EXPECT_EQ(last(63), 8);
  EXPECT_EQ(last(64), 4);
  EXPECT_EQ(last(255), 4);
  EXPECT_EQ(last(256), 1);
}

TEST(AdviceTest, AMeanThatWasNotSeenGivesALeastK) {
  const auto advice = Advise(Model(10, 0), std::nullopt);
  EXPECT_EQ(advice.groups[0].choices[2].k, 49);
  const std::string text = AdviceText(advice, "");
  EXPECT_THAT(text, HasSubstr("not seen"));
  EXPECT_THAT(text, HasSubstr("at least 49"));
  // At least as much noise as signal in the momentum, hence not seen.
  EXPECT_NEAR(*advice.groups[0].choices[0].momentum_noise_to_signal, 1, 1e-12);
  // C_4 falls as CV rises: at 7, (1 + 49/4)/50 is the most that it can be.
  EXPECT_NEAR(*advice.groups[0].choices[0].power_left, 0.265, 1e-12);
  EXPECT_THAT(text, HasSubstr("C_4 = at most 0.265"));
  EXPECT_THAT(text, HasSubstr("x at most 0.514782"));
  const auto json = AdviceJson(advice, "");
  EXPECT_THAT(json.dump(), Not(HasSubstr("null")));
  for (const auto& choice : json["groups"][0]["choices"]) {
    EXPECT_EQ(choice["at_least"], true);
  }
  EXPECT_EQ(AdviceJson(Advise(Model(10, 1), {}),
                       "")["groups"][0]["choices"][0]["at_least"],
            false);
}

TEST(AdviceTest, WithoutAMeasurementThereIsTheTableOnly) {
  client::ModelDescription model = Model(1, 1);
  model.groups[0].noise.reset();
  const auto advice = Advise(model, 512);
  ASSERT_EQ(advice.groups[0].choices.size(), 2);
  EXPECT_FALSE(advice.groups[0].choices[1].power_left.has_value());
  EXPECT_THAT(AdviceText(advice, ""), HasSubstr("not yet"));
}

TEST(AdviceTest, OnlyEmbeddedAdamStepsBySquaresMean) {
  client::ModelDescription model = Model(10, 1);
  model.spec.optimizer.buffering = client::Buffering::kClassic;
  EXPECT_FALSE(Advise(model, {}).groups[0].choices[0].step_factor.has_value());
  model = Model(10, 1);
  model.spec.optimizer.optimizer = client::Optimizer::kSgd;
  EXPECT_FALSE(Advise(model, {}).groups[0].choices[0].step_factor.has_value());
}

TEST(AdviceTest, AnswersForTheBottleneckThatWasNamed) {
  const auto advice = Advise(Model(10, 1), {});
  const auto json = AdviceJson(advice, "stability");
  EXPECT_THAT(json["answer"].get<std::string>(), HasSubstr("sliding"));
  EXPECT_EQ(json["decision_tree"].size(), 4);
  EXPECT_THAT(AdviceText(advice, "memory"), Not(HasSubstr("stability")));
  EXPECT_THAT(AdviceText(advice, ""), HasSubstr("communication"));
}

}  // namespace
}  // namespace accrue::ctl
