#include "client/ctl/advice.h"

#include <cmath>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace accrue::ctl {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

client::ModelDescription Model(double variance, double mean_squared) {
  client::ModelDescription model;
  model.spec.groups = {{.name = "all"}};
  client::Noise noise;
  noise.variance = variance;
  noise.mean_squared = mean_squared;
  noise.variation_at_least = mean_squared == 0;
  noise.variation = mean_squared == 0 ? 7 : std::sqrt(variance / mean_squared);
  noise.updates = 12;
  model.groups = {{.group = "all", .k = 4, .noise = noise}};
  return model;
}

// SNR^2 = 0.1: CV^2 = 10, C_4 = (0.1 + 1/4)/1.1 = 0.318.
TEST(AdviceTest, SaysKByEachRuleAndWhatItDoes) {
  const auto advice = Advise(Model(10, 1), 32);
  ASSERT_EQ(advice.size(), 1);
  const auto& choices = advice[0].choices;
  ASSERT_EQ(choices.size(), 5);
  EXPECT_EQ(choices[0].by, "in force");
  EXPECT_EQ(choices[0].k, 4);
  EXPECT_NEAR(*choices[0].power_left, 0.318, 0.0005);
  EXPECT_NEAR(*choices[0].step_factor, std::sqrt(0.318), 0.0005);
  EXPECT_NEAR(*choices[0].noise_to_signal, 2.5, 1e-12);
  EXPECT_EQ(choices[1].by, "CV");
  EXPECT_EQ(choices[1].k, 4);
  EXPECT_EQ(choices[2].by, "CV^2");
  EXPECT_EQ(choices[2].k, 10);
  EXPECT_NEAR(*choices[2].noise_to_signal, 1, 1e-12);
  EXPECT_EQ(choices[3].k, 4);
  EXPECT_EQ(choices[4].k, 8);
}

TEST(AdviceTest, FollowsTheArticlesTableOfBatchSizes) {
  const auto last = [](int64_t batch_size) {
    return Advise(Model(10, 1), batch_size)[0].choices.back().k;
  };
  EXPECT_EQ(last(63), 8);
  EXPECT_EQ(last(64), 4);
  EXPECT_EQ(last(255), 4);
  EXPECT_EQ(last(256), 1);
}

TEST(AdviceTest, AMeanThatWasNotSeenGivesALeastK) {
  const auto advice = Advise(Model(10, 0), std::nullopt);
  EXPECT_EQ(advice[0].choices[2].k, 49);
  const std::string text = AdviceText(advice, "");
  EXPECT_THAT(text, HasSubstr("not seen"));
  EXPECT_THAT(text, HasSubstr("at least 49"));
  EXPECT_THAT(AdviceJson(advice, "").dump(), Not(HasSubstr("null")));
}

TEST(AdviceTest, WithoutAMeasurementThereIsTheTableOnly) {
  client::ModelDescription model = Model(1, 1);
  model.groups[0].noise.reset();
  const auto advice = Advise(model, 512);
  ASSERT_EQ(advice[0].choices.size(), 2);
  EXPECT_FALSE(advice[0].choices[1].power_left.has_value());
  EXPECT_THAT(AdviceText(advice, ""), HasSubstr("not yet"));
}

TEST(AdviceTest, OnlyEmbeddedAdamStepsBySquaresMean) {
  client::ModelDescription model = Model(10, 1);
  model.spec.optimizer.buffering = client::Buffering::kClassic;
  EXPECT_FALSE(Advise(model, {})[0].choices[0].step_factor.has_value());
  model = Model(10, 1);
  model.spec.optimizer.optimizer = client::Optimizer::kSgd;
  EXPECT_FALSE(Advise(model, {})[0].choices[0].step_factor.has_value());
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
