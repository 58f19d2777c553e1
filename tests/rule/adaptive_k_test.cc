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
#include "server/rule/cycle.h"
#include "server/rule/noise.h"

namespace accrue::rule {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kElems = 10'000;
constexpr AdaptiveK kOneTo32 = {.min_k = 1, .max_k = 32};

int64_t Next(int64_t k, double variation, const KFit& fit = {},
             const AdaptiveK& adaptive = kOneTo32) {
  return NextK(adaptive, k, {.value = variation}, fit);
}

TEST(AdaptiveKTest, IsTheRoundedVariationWithinItsBounds) {
  EXPECT_EQ(Next(2, 7.4), 7);
  EXPECT_EQ(Next(2, 7.6), 8);
  EXPECT_EQ(Next(20, 7.6), 8);
  EXPECT_EQ(Next(8, 0.01), 1);
  EXPECT_EQ(Next(8, 1e300), 32);
  EXPECT_EQ(Next(4, 0), 1);
  const AdaptiveK four_to_six = {.min_k = 4, .max_k = 6};
  EXPECT_EQ(Next(6, 1, {}, four_to_six), 4);
  EXPECT_EQ(Next(4, 100, {}, four_to_six), 6);
}

TEST(AdaptiveKTest, AMeanThatCannotBeSeenTakesTheMost) {
  EXPECT_EQ(NextK(kOneTo32, 8, {.value = 3, .at_least = true}, {}), 32);
}

TEST(AdaptiveKTest, RisesFourfoldAtMostAndFallsAtOnce) {
  EXPECT_EQ(Next(1, 30), 4);
  EXPECT_EQ(Next(4, 30), 16);
  EXPECT_EQ(Next(16, 30), 30);
  EXPECT_EQ(Next(30, 1), 1);
  EXPECT_EQ(NextK(kOneTo32, 2, {.value = 3, .at_least = true}, {}), 8);
  // To multiples and within chains too.
  EXPECT_EQ(Next(3, 30, {.micro_steps = 3}), 12);
  EXPECT_EQ(Next(3, 48, {.nesting = 3}, {.min_k = 3, .max_k = 48}), 12);
  // Hysteresis looks at where it is going, not at how far it comes.
  const AdaptiveK stiff = {.min_k = 1, .max_k = 64, .hysteresis = 3};
  EXPECT_EQ(Next(1, 16, {}, stiff), 4);
  EXPECT_EQ(Next(1, 7, {}, stiff), 1);
}

// Where hysteresis is as much as one rise or more, k stops on its way up once
// it is within that of what fits, where it would also have stayed.
TEST(AdaptiveKTest, EndsWithinHysteresisOfWhatFits) {
  for (const double hysteresis : {0.0, 0.25, 1.0, 2.0, 3.0, 5.0, 20.0}) {
    const AdaptiveK adaptive = {
        .min_k = 1, .max_k = 1 << 12, .hysteresis = hysteresis};
    for (const int64_t fitting : {1, 2, 5, 16, 64, 1000, 1 << 12}) {
      for (int64_t start = 1; start <= adaptive.max_k; start *= 2) {
        SCOPED_TRACE(testing::Message() << "hysteresis " << hysteresis << ", "
                                        << start << " -> " << fitting);
        int64_t k = start, changes = 0;
        while (true) {
          const int64_t next =
              Next(k, static_cast<double>(fitting), {}, adaptive);
          if (next == k) break;
          k = next;
          // 4^6 = max_k.
          ASSERT_LE(++changes, 6);
        }
        const auto short_of = [&](int64_t from) {
          return std::abs(std::log2(static_cast<double>(fitting) /
                                    static_cast<double>(from)));
        };
        EXPECT_LE(short_of(k), hysteresis);
        EXPECT_EQ(changes == 0, short_of(start) <= hysteresis);
      }
    }
  }
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
// Debiased, the same m tells the CV of the gradients whatever k it was made at,
// so that k stays where it is right; with the bias left in it would not.
TEST(AdaptiveKTest, DoesNotFeedOnItself) {
  double k53 = 4;
  for (int step = 0; step < 100; ++step) {
    const double m_over_sigma = std::sqrt(0.1 / 1.9 / k53);
    k53 = std::ceil(4 * (1 + 1 / m_over_sigma));
  }
  EXPECT_NEAR(k53, 312, 1);

  // mu^2 = 1, sigma^2 = 25: |m/W|^2 = mu^2 + rho*sigma^2, as many elements have
  // it.
  constexpr double kVariance = 25;
  const AdaptiveK adaptive = {.min_k = 1, .max_k = 64, .hysteresis = 0};
  int misled = 0;
  for (const int64_t k : {2, 3, 5, 8, 16, 64}) {
    NoiseSums sums;
    for (int cycle = 0; cycle < 200; ++cycle) {
      for (int64_t i = 0; i < k; ++i) {
        FoldNoise(i == 0 ? 0.9f : 1.0f,
                  static_cast<float>(0.1 / static_cast<double>(k)), 1,
                  std::sqrt(1 + kVariance), sums);
      }
    }
    const double power = 1 + NoiseLeft(sums) * kVariance;
    const auto estimate = EstimateNoise(sums, power * sums.mass * sums.mass);
    ASSERT_TRUE(estimate.has_value());
    EXPECT_EQ(NextK(adaptive, k, CoefficientOfVariation(*estimate, kElems), {}),
              5);
    NoiseEstimate biased = *estimate;
    biased.mean_squared = power;
    const Variation variation = CoefficientOfVariation(biased, kElems);
    if (NextK(adaptive, k, variation, {}) != 5) ++misled;
  }
  EXPECT_GE(misled, 3) << "the bias would not have been seen";
}

// Nor under pure noise, where |m/W|^2 = rho*sigma^2*(1 + z*sqrt(2/N)): up to
// three standard errors z are no mean, and k goes up until it is the bound.
TEST(AdaptiveKTest, NoiseAloneIsNotTakenForAMean) {
  NoiseSums sums;
  for (int push = 0; push < 200; ++push) FoldNoise(0.9f, 0.1f, 1, 1.0, sums);
  const auto variation = [&](double z) {
    const double left = NoiseLeft(sums) * (1 + z * std::sqrt(2.0 / kElems));
    return CoefficientOfVariation(
        *EstimateNoise(sums, left * sums.mass * sums.mass), kElems);
  };
  for (const double z : {-100.0, -1.0, 0.0, 1.0, 2.5}) {
    EXPECT_TRUE(variation(z).at_least) << z;
    int64_t k = 1;
    for (int change = 0; change < 3; ++change) {
      k = NextK(kOneTo32, k, variation(z), {});
    }
    EXPECT_EQ(k, 32);
  }
  // The least CV that it may have.
  EXPECT_GT(variation(0).value, 1 / std::sqrt(NoiseLeft(sums)));
  EXPECT_FALSE(variation(10).at_least);
}

RuleSpec Rule(int64_t k) {
  RuleSpec spec;
  spec.k = spec.update_every = k;
  return spec;
}

// A group of `elems` elements, mu^2 = 1 and sigma^2 = CV^2, of which every m
// has what it has on average.
class Steady {
 public:
  Steady(RuleSpec spec, double variation, int64_t elems)
      : spec_(spec), variance_(variation * variation), elems_(elems) {}

  int64_t k() const { return spec_.k; }

  // One update, and what `adaptive` makes of it.
  void Update(const AdaptiveK& adaptive) {
    const PushFacts facts = {.norm = std::sqrt(1 + variance_)};
    while (!PlanPush(spec_, facts, state_).update.has_value()) {
    }
    const NoiseSums& sums = state_.noise.moment;
    const double left = 1 + NoiseLeft(sums) * variance_;
    const auto estimate = EstimateNoise(sums, left * sums.mass * sums.mass);
    if (!estimate.has_value()) return;
    const KFit fit = {.seen_from = SeenFrom(spec_, *estimate, elems_)};
    spec_.k = spec_.update_every = NextK(
        adaptive, spec_.k, CoefficientOfVariation(*estimate, elems_), fit);
  }

 private:
  RuleSpec spec_;
  const double variance_;
  const int64_t elems_;
  CycleState state_;
};

struct Convention {
  const char* name;
  Decay decay;
  Buffering buffering = Buffering::kEmbedded;
};
constexpr Convention kConventions[] = {
    {"PER_CYCLE", Decay::kPerCycle},
    {"CLASSIC", Decay::kPerCycle, Buffering::kClassic},
    {"PER_PUSH", Decay::kPerPush},
    {"SLIDING", Decay::kSliding},
    {"SLIDING_EXACT", Decay::kSlidingExact},
};

// A mean may be seen at a k and hidden at CV, of which rho is larger. k that
// fell to CV there would rise again, fall again, and so on.
TEST(AdaptiveKTest, SettlesAlsoWhereTheMeanIsHiddenAtTheKThatFits) {
  const struct {
    double beta;
    int64_t elems;
    double variation;
    AdaptiveK adaptive;
  } groups[] = {
      {0.9, 10, 16, {.min_k = 1, .max_k = 64}},
      {0.9, 10, 16, {.min_k = 1, .max_k = 1024}},
      {0.9, 1, 6, {.min_k = 1, .max_k = 64, .hysteresis = 0}},
      {0.5, 100, 10, {.min_k = 1, .max_k = 40}},
      {0.5, 100, 10, {.min_k = 1, .max_k = 640}},
      {0.0, 10'000, 30, {.min_k = 2, .max_k = 120}},
      {0.0, 10'000, 30, {.min_k = 2, .max_k = 1000, .hysteresis = 0}},
      {0.0, 10'000, 30, {.min_k = 2, .max_k = 1000, .hysteresis = 1}},
  };
  for (const auto& group : groups) {
    for (const Convention& convention : kConventions) {
      for (const int64_t start : {group.adaptive.min_k, group.adaptive.max_k}) {
        RuleSpec spec = Rule(start);
        spec.decay = convention.decay;
        spec.buffering = convention.buffering;
        spec.hyper.beta1 = group.beta;
        // Without momentum PER_PUSH and SLIDING_EXACT are refused.
        if (!ValidateAdaptiveK(group.adaptive, spec).empty()) {
          ASSERT_EQ(group.beta, 0);
          continue;
        }
        SCOPED_TRACE(testing::Message()
                     << convention.name << ", beta1 " << group.beta << ", CV "
                     << group.variation << ", k from " << start);
        Steady steady(spec, group.variation, group.elems);
        for (int update = 0; update < 200; ++update) {
          steady.Update(group.adaptive);
        }
        const int64_t k = steady.k();
        EXPECT_GE(k, std::floor(group.variation *
                                std::exp2(-group.adaptive.hysteresis)));
        for (int update = 0; update < 100; ++update) {
          steady.Update(group.adaptive);
          ASSERT_EQ(steady.k(), k);
        }
      }
    }
  }
}

// What k may not fall below is no more than that.
TEST(AdaptiveKTest, FallsAsFarAsTheMeanIsSeenForSure) {
  // At CV = 16, beta1 = 0.9 and 10 elements mu^2 is three standard errors at
  // 3*0.1/1.9*sqrt(2/10)*16^2 = 18.1, nine at 54.2.
  const NoiseEstimate estimate = {.variance = 256, .mean_squared = 1};
  KFit fit = {.seen_from = SeenFrom(Rule(64), estimate, 10)};
  EXPECT_NEAR(fit.seen_from, 54.2, 0.1);
  EXPECT_NEAR(SeenFrom(Rule(7), estimate, 10), fit.seen_from, 1e-9);
  const AdaptiveK adaptive = {.min_k = 1, .max_k = 128};
  EXPECT_EQ(Next(128, 16, fit, adaptive), 55);
  EXPECT_EQ(Next(55, 16, fit, adaptive), 55);
  // It does not raise k.
  EXPECT_EQ(Next(16, 16, fit, adaptive), 16);
  EXPECT_EQ(Next(8, 16, fit, adaptive), 16);
  // Nor does it count for more than CV does.
  EXPECT_EQ(Next(128, 90, fit, adaptive), 90);
  // Multiples, and chains: the next above it.
  fit.micro_steps = 6;
  EXPECT_EQ(Next(126, 16, fit, adaptive), 60);
  EXPECT_EQ(Next(128, 16, {.nesting = 1, .seen_from = 33}, adaptive), 64);
  // With many elements it is far below.
  EXPECT_EQ(Next(128, 16, {.seen_from = SeenFrom(Rule(128), estimate, kElems)},
                 adaptive),
            16);
  // Under PER_PUSH a mean is as well seen at one k as at another.
  RuleSpec per_push = Rule(64);
  per_push.decay = Decay::kPerPush;
  EXPECT_EQ(SeenFrom(per_push, estimate, 10), 0);
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
      const int64_t k = Next(2 * n, variation, {.micro_steps = n});
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

TEST(AdaptiveKTest, TheMicroStepsOfTheLastVersionsAreRemembered) {
  RecentMicroSteps recent;
  EXPECT_EQ(recent.LeastCommonMultiple(0), 1);
  recent.Note(4, 0);
  recent.Note(6, 0);
  EXPECT_EQ(recent.LeastCommonMultiple(0), 12);
  recent.Note(6, 10);
  const int64_t last = RecentMicroSteps::kVersions - 1;
  EXPECT_EQ(recent.LeastCommonMultiple(last), 12);
  EXPECT_EQ(recent.LeastCommonMultiple(last + 1), 6);
  EXPECT_EQ(recent.LeastCommonMultiple(last + 10), 6);
  EXPECT_EQ(recent.LeastCommonMultiple(last + 11), 1);
  // Beyond any k: it stays what it is.
  for (const int64_t n : {1 << 20, 1'048'573, 1'048'571, 1'048'569}) {
    recent.Note(n, 100);
  }
  EXPECT_GT(recent.LeastCommonMultiple(100), kMaxK);
  const KFit fit = {.micro_steps = recent.LeastCommonMultiple(100)};
  EXPECT_EQ(Next(4, 20, fit), 4);
}

TEST(AdaptiveKTest, IsAPowerOfTwoTimesTheSmallestWhereCyclesNest) {
  const AdaptiveK adaptive = {.min_k = 6, .max_k = 48};
  const KFit fit = {.nesting = 3};
  EXPECT_EQ(Next(12, 100, fit, adaptive), 48);
  EXPECT_EQ(Next(48, 1, fit, adaptive), 6);
  EXPECT_EQ(Next(6, 20, fit, adaptive), 24);
  // 2 does not divide 3, but all others of the chain.
  EXPECT_EQ(
      Next(12, 1, {.micro_steps = 2, .nesting = 3}, {.min_k = 3, .max_k = 48}),
      6);
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
  const AdaptiveK two_to_32 = {.min_k = 2, .max_k = 32};
  forgetful.hyper.beta1 = 0;
  refused(kOneTo32, forgetful,
          "min_k = 1 with a momentum of 0, want a larger min_k or more");
  EXPECT_EQ(ValidateAdaptiveK(two_to_32, forgetful), "");
  // At k = 1 rho is 1 - 2b/(1 + b).
  forgetful.hyper.beta1 = 4.9e-4;
  refused(kOneTo32, forgetful, "min_k = 1 with a momentum of 0.00049");
  forgetful.hyper.beta1 = 5.1e-4;
  EXPECT_EQ(ValidateAdaptiveK(kOneTo32, forgetful), "");
  // And whatever k is, where every push decays what was before it.
  forgetful.decay = Decay::kPerPush;
  EXPECT_EQ(ValidateAdaptiveK(two_to_32, forgetful), "");
  for (const double beta1 : {0.0, 4.9e-4}) {
    forgetful.hyper.beta1 = beta1;
    refused(two_to_32, forgetful, "want more momentum: at any k nothing");
  }
  // b^(1/2) is small too.
  forgetful.decay = Decay::kSlidingExact;
  forgetful.hyper.beta1 = 1e-12;
  refused(two_to_32, forgetful, "min_k = 2 with a momentum of 1e-12");
  EXPECT_EQ(ValidateAdaptiveK({.min_k = 4, .max_k = 32}, forgetful), "");
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
