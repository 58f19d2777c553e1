#include "server/rule/schedule.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/rule/cycle.h"
#include "tests/oracle/textbook.h"

namespace accrue::rule {
namespace {

using testing::HasSubstr;

Schedule Of(Schedule::Kind kind) {
  Schedule schedule;
  schedule.kind = kind;
  schedule.total_updates = 10;
  schedule.step_updates = 4;
  schedule.gamma = 0.5;
  schedule.final_factor = 0.2;
  return schedule;
}

// Golden values are exact decimals or written as the closed form; a factor is
// a handful of double operations, hence 1e-15 relative.
void ExpectFactors(const Schedule& schedule,
                   const std::vector<std::pair<int64_t, double>>& golden) {
  for (const auto& [updates, want] : golden) {
    EXPECT_NEAR(ScheduleFactor(schedule, updates), want, 1e-15 + 1e-15 * want)
        << "at u = " << updates;
  }
}

TEST(ScheduleTest, ConstantIsOne) {
  ExpectFactors(Of(Schedule::Kind::kConstant),
                {{0, 1.0}, {1, 1.0}, {1'000'000, 1.0}});
}

TEST(ScheduleTest, LinearFallsEvenlyAndThenRests) {
  ExpectFactors(
      Of(Schedule::Kind::kLinear),
      {{0, 1.0}, {1, 0.92}, {5, 0.6}, {9, 0.28}, {10, 0.2}, {1000, 0.2}});
}

TEST(ScheduleTest, CosineIsHalfAWave) {
  const double root = std::sqrt(0.5);
  // 36 degrees: cos = (1 + sqrt 5)/4.
  const double golden_ratio = (1 + std::sqrt(5.0)) / 4;
  Schedule schedule = Of(Schedule::Kind::kCosine);
  ExpectFactors(schedule, {{0, 1.0},
                           {2, 0.2 + 0.4 * (1 + golden_ratio)},
                           {5, 0.6},
                           {10, 0.2},
                           {1000, 0.2}});
  schedule.total_updates = 4;
  ExpectFactors(schedule,
                {{1, 0.2 + 0.4 * (1 + root)}, {3, 0.2 + 0.4 * (1 - root)}});
}

TEST(ScheduleTest, StepFallsOnceInStepUpdates) {
  ExpectFactors(
      Of(Schedule::Kind::kStep),
      {{0, 1.0}, {3, 1.0}, {4, 0.5}, {7, 0.5}, {8, 0.25}, {40, 0x1p-10}});
}

TEST(ScheduleTest, ExponentialFallsAtEveryUpdate) {
  ExpectFactors(Of(Schedule::Kind::kExponential),
                {{0, 1.0}, {1, 0.5}, {2, 0.25}, {20, 0x1p-20}});
}

TEST(ScheduleTest, InverseSquareRootIsHalfAfterThreeTimesItsStep) {
  ExpectFactors(Of(Schedule::Kind::kInverseSquareRoot),
                {{0, 1.0}, {12, 0.5}, {32, 1.0 / 3}, {4, std::sqrt(0.5)}});
}

TEST(ScheduleTest, WarmUpRisesToOneAndDelaysTheSchedule) {
  for (const auto kind :
       {Schedule::Kind::kConstant, Schedule::Kind::kLinear,
        Schedule::Kind::kCosine, Schedule::Kind::kStep,
        Schedule::Kind::kExponential, Schedule::Kind::kInverseSquareRoot}) {
    const Schedule plain = Of(kind);
    Schedule warm = plain;
    warm.warmup_updates = 5;
    ExpectFactors(warm,
                  {{0, 0.2}, {1, 0.4}, {2, 0.6}, {3, 0.8}, {4, 1.0}, {5, 1.0}});
    for (int64_t u = 0; u < 30; ++u) {
      EXPECT_EQ(ScheduleFactor(warm, u + 5), ScheduleFactor(plain, u));
    }
  }
}

TEST(ScheduleTest, AgreesWithASecondWayOfWritingItDown) {
  for (const auto kind :
       {Schedule::Kind::kConstant, Schedule::Kind::kLinear,
        Schedule::Kind::kCosine, Schedule::Kind::kStep,
        Schedule::Kind::kExponential, Schedule::Kind::kInverseSquareRoot}) {
    Schedule schedule = Of(kind);
    schedule.warmup_updates = 3;
    for (int64_t u = 0; u < 40; ++u) {
      EXPECT_NEAR(ScheduleFactor(schedule, u),
                  oracle::TextbookScheduleFactor(schedule, u), 1e-14);
    }
  }
}

TEST(ScheduleTest, ScalingIsOneRootOrK) {
  EXPECT_EQ(ScalingFactor(LrScaling::kConservative, 16), 1.0);
  EXPECT_EQ(ScalingFactor(LrScaling::kSqrt, 16), 4.0);
  EXPECT_EQ(ScalingFactor(LrScaling::kLinear, 16), 16.0);
  EXPECT_EQ(ScalingFactor(LrScaling::kSqrt, 1), 1.0);
}

// Article, 7.2, pitfall 2: its zero-based loop steps the scheduler before the
// first update, and a schedule must count updates, T/k of them, not pushes.
TEST(ScheduleTest, CountsUpdatesNeverPushes) {
  RuleSpec spec;
  spec.optimizer = Optimizer::kSgd;
  spec.k = spec.update_every = 4;
  spec.hyper.learning_rate = 1.0;
  spec.hyper.schedule = Of(Schedule::Kind::kLinear);
  CycleState state;
  std::vector<float> rates;
  for (int push = 0; push < 48; ++push) {
    const PushPlan plan = PlanPush(spec, PushFacts{}, state);
    EXPECT_EQ(plan.update.has_value(), push % 4 == 3) << "push " << push;
    if (plan.update) rates.push_back(plan.update->lr);
  }
  ASSERT_EQ(rates.size(), 12u);
  EXPECT_EQ(rates[0], 1.0f) << "the first update takes the first rate";
  EXPECT_EQ(rates[1], static_cast<float>(0.92));
  EXPECT_EQ(rates[10], static_cast<float>(0.2));
  EXPECT_EQ(rates[11], static_cast<float>(0.2));
}

TEST(ScheduleTest, LearningRateIsRateTimesFactorTimesScaling) {
  RuleSpec spec;
  spec.k = spec.update_every = 4;
  spec.lr_scaling = LrScaling::kLinear;
  spec.hyper.learning_rate = 0.5;
  spec.hyper.schedule = Of(Schedule::Kind::kExponential);
  EXPECT_EQ(LearningRate(spec, spec.hyper, 2), 0.5 * 0.25 * 4);
  Hyperparameters other = spec.hyper;
  other.learning_rate = 0.25;
  EXPECT_EQ(LearningRate(spec, other, 2), 0.25 * 0.25 * 4);
}

TEST(ScheduleTest, RefusesWhatHasNoMeaningAndNamesTheField) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Schedule s = Of(Schedule::Kind::kConstant);
  s.warmup_updates = -1;
  EXPECT_THAT(ValidateSchedule(s), HasSubstr("schedule.warmup_updates: -1"));
  for (const auto kind : {Schedule::Kind::kLinear, Schedule::Kind::kCosine}) {
    s = Of(kind);
    s.total_updates = 0;
    EXPECT_THAT(ValidateSchedule(s), HasSubstr("schedule.total_updates: 0"));
    for (const double bad : {-0.1, 1.1, nan}) {
      s = Of(kind);
      s.final_factor = bad;
      EXPECT_THAT(ValidateSchedule(s), HasSubstr("schedule.final_factor: "));
    }
  }
  for (const auto kind :
       {Schedule::Kind::kStep, Schedule::Kind::kInverseSquareRoot}) {
    s = Of(kind);
    s.step_updates = 0;
    EXPECT_THAT(ValidateSchedule(s), HasSubstr("schedule.step_updates: 0"));
  }
  for (const auto kind :
       {Schedule::Kind::kStep, Schedule::Kind::kExponential}) {
    for (const double bad : {0.0, -1.0, 1.5, nan}) {
      s = Of(kind);
      s.gamma = bad;
      EXPECT_THAT(ValidateSchedule(s), HasSubstr("schedule.gamma: "));
    }
  }
  s = Of(Schedule::Kind::kConstant);
  s.gamma = nan;
  EXPECT_THAT(ValidateSchedule(s), HasSubstr("finite"));
}

TEST(ScheduleTest, IgnoresFieldsOfOtherKinds) {
  Schedule s;
  s.kind = Schedule::Kind::kExponential;
  s.gamma = 0.9;
  EXPECT_EQ(ValidateSchedule(s), "");
  s.kind = Schedule::Kind::kConstant;
  s.gamma = 0;
  EXPECT_EQ(ValidateSchedule(s), "");
}

}  // namespace
}  // namespace accrue::rule
