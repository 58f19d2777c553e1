// k that follows the noise.
#include "server/rule/adaptive_k.h"

#include <cmath>
#include <cstdint>
#include <iostream>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/rule/noise.h"

namespace accrue::rule {
namespace {

using ::testing::HasSubstr;

constexpr AdaptiveK kOneTo32 = {.min_k = 1, .max_k = 32};

int64_t Next(int64_t k, double variation, const KFit& fit = {},
             const AdaptiveK& adaptive = kOneTo32) {
  return NextK(adaptive, k, {.value = variation}, fit);
}

TEST(AdaptiveKTest, IsTheRoundedVariationWithinItsBounds) {
  EXPECT_EQ(Next(1, 7.4), 7);
  EXPECT_EQ(Next(1, 7.6), 8);
  EXPECT_EQ(Next(20, 7.6), 8);
  EXPECT_EQ(Next(8, 0.01), 1);
  EXPECT_EQ(Next(8, 1e300), 32);
  EXPECT_EQ(Next(4, 0), 1);
  const AdaptiveK four_to_six = {.min_k = 4, .max_k = 6};
  EXPECT_EQ(Next(6, 1, {}, four_to_six), 4);
  EXPECT_EQ(Next(4, 100, {}, four_to_six), 6);
}

TEST(AdaptiveKTest, AMeanThatCannotBeSeenTakesTheMost) {
  EXPECT_EQ(NextK(kOneTo32, 2, {.value = 3, .at_least = true}, {}), 32);
}

// Errata, eq. 53: ceil(k0*(1 + x)) >= k0 for every x >= 0: it can never return.
TEST(AdaptiveKTest, ComesDownAgain) {
  int64_t k = 4;
  for (const double variation : {4.0, 12.0, 30.0, 12.0, 4.0, 1.0}) {
    k = Next(k, variation);
    EXPECT_EQ(k, variation);
  }
}

// Errata, eq. 53: with an uncorrected norm of m its k feeds on itself: under
// pure noise |m| falls as 1/sqrt(k), so that from k0 = 4 the k that it calls
// for settles at 312 (b = 0.9; the root of k = 4*(1 + sqrt(k*1.9/0.1))).
// Debiased, the same m has no mean that can be seen, or one so small that k is
// the bound, whatever k was.
TEST(AdaptiveKTest, DoesNotFeedOnItselfUnderPureNoise) {
  double k53 = 4;
  for (int step = 0; step < 100; ++step) {
    const double m_over_sigma = std::sqrt(0.1 / 1.9 / k53);
    k53 = std::ceil(4 * (1 + 1 / m_over_sigma));
  }
  EXPECT_NEAR(k53, 312, 1);

  // |m/W|^2 = rho*sigma^2, as pure noise of many elements has it.
  constexpr double kKeep = 0.9;
  for (const int64_t k : {4, 16}) {
    NoiseSums sums;
    for (int cycle = 0; cycle < 200; ++cycle) {
      for (int64_t i = 0; i < k; ++i) {
        FoldNoise(i == 0 ? static_cast<float>(kKeep) : 1.0f,
                  static_cast<float>(0.1 / static_cast<double>(k)), 1, 1.0,
                  sums);
      }
    }
    const auto estimate =
        EstimateNoise(sums, NoiseLeft(sums) * sums.mass * sums.mass);
    ASSERT_TRUE(estimate.has_value());
    EXPECT_EQ(NextK({.min_k = 1, .max_k = 16}, k,
                    CoefficientOfVariation(*estimate), {}),
              16);
  }
}

// Between two values of k there is a band in which either stays.
TEST(AdaptiveKTest, AVariationBetweenTwoValuesKeepsEither) {
  std::mt19937 random(20211107);
  std::cout << "seed 20211107\n";
  std::uniform_real_distribution<double> around(1.45, 1.53);
  for (const int64_t start : {1, 2}) {
    int64_t k = start;
    for (int update = 0; update < 1000; ++update) k = Next(k, around(random));
    EXPECT_EQ(k, start);
  }
  const AdaptiveK without = {.min_k = 1, .max_k = 32, .hysteresis = 0};
  EXPECT_EQ(Next(1, 1.53, {}, without), 2);
  EXPECT_EQ(Next(2, 1.40, {}, without), 1);
}

TEST(AdaptiveKTest, IsAMultipleOfTheMicroStepsInUse) {
  for (const int64_t n : {2, 3, 5}) {
    for (const double variation : {0.1, 1.0, 4.0, 7.0, 31.0, 100.0}) {
      const int64_t k = Next(n, variation, {.micro_steps = n});
      EXPECT_EQ(k % n, 0);
      EXPECT_GE(k, 1);
      EXPECT_LE(k, 32);
    }
  }
  EXPECT_EQ(Next(2, 7.4, {.micro_steps = 2}), 8);
  // None of the range is: nothing changes.
  const AdaptiveK narrow = {.min_k = 5, .max_k = 7};
  EXPECT_EQ(Next(5, 7, {.micro_steps = 4}, narrow), 5);
}

TEST(AdaptiveKTest, IsAPowerOfTwoTimesTheSmallestWhereCyclesNest) {
  const AdaptiveK adaptive = {.min_k = 6, .max_k = 48};
  const KFit fit = {.nesting = 3};
  EXPECT_EQ(Next(6, 100, fit, adaptive), 48);
  EXPECT_EQ(Next(48, 1, fit, adaptive), 6);
  EXPECT_EQ(Next(6, 20, fit, adaptive), 24);
  // 2 does not divide 3, but all others of the chain.
  EXPECT_EQ(
      Next(12, 1, {.micro_steps = 2, .nesting = 3}, {.min_k = 3, .max_k = 48}),
      6);
}

RuleSpec Rule(int64_t k) {
  RuleSpec spec;
  spec.k = spec.update_every = k;
  return spec;
}

TEST(AdaptiveKTest, RefusesWhatCannotBeAndSaysWhy) {
  EXPECT_EQ(ValidateAdaptiveK(kOneTo32, Rule(4)), "");
  const auto refused = [](const AdaptiveK& adaptive, const RuleSpec& spec,
                          const char* why) {
    EXPECT_THAT(ValidateAdaptiveK(adaptive, spec), HasSubstr(why));
  };
  refused({.min_k = 0, .max_k = 4}, Rule(4), "min_k = 0, max_k = 4, want 1");
  refused({.min_k = 8, .max_k = 4}, Rule(4), "min_k = 8, max_k = 4");
  refused({.min_k = 1, .max_k = kMaxK + 1}, Rule(4), "max_k = 1048577");
  refused({.min_k = 8, .max_k = 16}, Rule(4), "the first k, 4, want");
  refused({.min_k = 1, .max_k = 8, .hysteresis = -1}, Rule(4), "hysteresis");
  refused({.min_k = 1, .max_k = 8, .hysteresis = std::nan("")}, Rule(4),
          "hysteresis");
  RuleSpec sliding = Rule(4);
  sliding.decay = Decay::kSliding;
  sliding.update_every = 1;
  refused(kOneTo32, sliding, "update_every = 1, want k = 4");
  RuleSpec forgetful = Rule(4);
  forgetful.hyper.beta1 = 0;
  refused(kOneTo32, forgetful, "min_k = 1 without momentum");
  EXPECT_EQ(ValidateAdaptiveK({.min_k = 2, .max_k = 32}, forgetful), "");
  // Valid at k = 1, where all conventions are one, and not at max_k.
  RuleSpec classic = Rule(1);
  classic.buffering = Buffering::kClassic;
  classic.decay = Decay::kSliding;
  ASSERT_EQ(ValidateRule(classic), "");
  refused(kOneTo32, classic, "at max_k = 32: decay: CLASSIC");
}

TEST(AdaptiveKTest, GroupsMustNestWhateverTheNoise) {
  using Policies = std::vector<std::optional<AdaptiveK>>;
  const AdaptiveK two_to_16 = {.min_k = 2, .max_k = 16};
  EXPECT_EQ(ValidateAdaptiveGroups({Rule(4), Rule(8)},
                                   Policies{two_to_16, std::nullopt}, true),
            "");
  EXPECT_EQ(SmallestK({Rule(4), Rule(8)}, Policies{two_to_16, std::nullopt}),
            2);
  EXPECT_THAT(ValidateAdaptiveGroups({Rule(4), Rule(12)},
                                     Policies{two_to_16, std::nullopt}, true),
              HasSubstr("k = 12 is no power of two times the smallest"));
  const AdaptiveK two_to_10 = {.min_k = 2, .max_k = 10};
  EXPECT_THAT(ValidateAdaptiveGroups({Rule(4), Rule(8)},
                                     Policies{two_to_10, two_to_16}, true),
              HasSubstr("max_k = 10"));
  // Not nested, or alone: whatever it likes.
  EXPECT_EQ(ValidateAdaptiveGroups({Rule(4), Rule(12)},
                                   Policies{two_to_10, std::nullopt}, false),
            "");
  EXPECT_EQ(ValidateAdaptiveGroups({Rule(5)}, Policies{two_to_10}, true), "");
  std::vector<RuleSpec> clipped = {Rule(4), Rule(4)};
  for (RuleSpec& group : clipped) group.clip_scope = ClipScope::kModel;
  EXPECT_THAT(
      ValidateAdaptiveGroups(clipped, Policies{two_to_16, std::nullopt}, false),
      HasSubstr("clip_scope MODEL"));
}

}  // namespace
}  // namespace accrue::rule
