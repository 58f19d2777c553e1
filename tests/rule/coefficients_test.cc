#include "server/rule/coefficients.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "server/rule/cycle.h"
#include "tests/oracle/float_model.h"

namespace accrue::rule {
namespace {

constexpr Decay kDecays[] = {Decay::kPerCycle, Decay::kPerPush, Decay::kSliding,
                             Decay::kSlidingExact};
// One narrowing to float.
constexpr double kUnit = 0x1p-24;

void ExpectNarrowed(double got, double want) {
  EXPECT_NEAR(got, want, kUnit * std::abs(want)) << "want " << want;
}

TEST(CoefficientsTest, KeepsAndGainsAreThoseOfTheDecay) {
  const double b = 0.9, d = 0.25;
  const int64_t k = 4;
  const auto of = [&](Decay decay, bool first) {
    return PushCoefficients({decay, b, d, k}, first, 1);
  };
  ExpectNarrowed(of(Decay::kPerCycle, true).keep, 0.9);
  EXPECT_EQ(of(Decay::kPerCycle, false).keep, 1.0f);
  EXPECT_EQ(of(Decay::kPerCycle, false).gain, 0.1875);

  ExpectNarrowed(of(Decay::kPerPush, true).keep, 0.9);
  ExpectNarrowed(of(Decay::kPerPush, false).keep, 0.9);
  EXPECT_EQ(of(Decay::kPerPush, false).gain, 0.75);

  ExpectNarrowed(of(Decay::kSliding, true).keep, 0.975);
  ExpectNarrowed(of(Decay::kSliding, false).keep, 0.975);
  EXPECT_EQ(of(Decay::kSliding, false).gain, 0.1875);

  const double root = std::sqrt(std::sqrt(0.9));
  ExpectNarrowed(of(Decay::kSlidingExact, true).keep, root);
  ExpectNarrowed(of(Decay::kSlidingExact, false).keep, root);
  EXPECT_NEAR(of(Decay::kSlidingExact, false).gain, (1 - root) * 0.75 / 0.1,
              1e-14);
}

// Errata, table in 4.1 and eq. 34: the error of B^k - b is not O(1/k^2); it
// grows with k to e^-(1-b) - b. The article has 0.001 for the second row,
// 0.0003 for the third, 0.00001 for the fourth.
TEST(CoefficientsTest, SlidingMissesBetaByMoreTheLargerKIs) {
  const auto miss = [](double b, int64_t k) {
    const double keep = KeepPerPush({Decay::kSliding, b, b, k});
    return std::pow(keep, static_cast<double>(k)) - b;
  };
  EXPECT_NEAR(miss(0.9, 2), 0.0025, 0.00005);
  EXPECT_NEAR(miss(0.9, 4), 0.0037, 0.00005);
  EXPECT_NEAR(miss(0.9, 8), 0.0043, 0.00005);
  EXPECT_NEAR(miss(0.99, 4), 0.0000374, 0.00000005);
  EXPECT_NEAR(miss(0.9, 4) / 0.9, 0.0041, 0.00005);  // not "about 6 %"
  double last = 0;
  for (int64_t k = 2; k <= 1 << 16; k *= 2) {
    EXPECT_GT(miss(0.9, k), last);
    last = miss(0.9, k);
  }
  EXPECT_NEAR(last, std::exp(-0.1) - 0.9, 1e-6);
}

TEST(CoefficientsTest, SlidingExactDecaysByBetaOverACycle) {
  for (const double b : {0.5, 0.9, 0.99, 0.999}) {
    for (const int64_t k : {1, 2, 4, 7, 64}) {
      const double keep = KeepPerPush({Decay::kSlidingExact, b, b, k});
      EXPECT_NEAR(std::pow(keep, static_cast<double>(k)), b, 1e-13);
    }
  }
}

TEST(CoefficientsTest, GainIsOneMinusKeepInFloatWhereItShouldBe) {
  for (const double b : {0.0, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999}) {
    for (const int64_t k : {1, 2, 4, 7}) {
      for (const int64_t n : {int64_t{1}, k}) {
        for (const Decay decay :
             {Decay::kPerPush, Decay::kSliding, Decay::kSlidingExact}) {
          const Coefficients c = PushCoefficients({decay, b, b, k}, true, n);
          EXPECT_EQ(static_cast<float>(c.gain), 1.0f - c.keep);
        }
        const Coefficients c =
            PushCoefficients({Decay::kPerCycle, b, b, k}, true, n);
        EXPECT_EQ(static_cast<float>(c.gain * static_cast<double>(k) /
                                     static_cast<double>(n)),
                  1.0f - c.keep);
      }
    }
  }
}

// k equal gradients are one plain step: exactly where the decay is exact.
TEST(CoefficientsTest, KEqualGradientsAreOnePlainStep) {
  for (const double b : {0.5, 0.9, 0.999}) {
    for (const double d : {0.0, 0.25, b}) {
      for (const int64_t k : {1, 2, 4, 7}) {
        for (const Decay decay : {Decay::kPerCycle, Decay::kSlidingExact}) {
          double m = 3.0;
          for (int64_t i = 0; i < k; ++i) {
            const Coefficients c =
                PushCoefficients({decay, b, d, k}, i == 0, 1);
            m = static_cast<double>(c.keep) * m + c.gain * -2.0;
          }
          // k keeps, each narrowed: relative k*2^-24 of what they keep; where
          // d is b, the gains are as far off as the keeps.
          EXPECT_NEAR(m, b * 3.0 + (1 - d) * -2.0,
                      static_cast<double>(k) * kUnit * (3.0 + 2.0 / (1 - b)));
        }
      }
    }
  }
}

// A micro-step push counts as n pushes of the mean.
TEST(CoefficientsTest, MicroStepsAreAsManyPushes) {
  for (const Decay decay : kDecays) {
    for (const double b : {0.5, 0.9, 0.999}) {
      for (const double d : {0.0, 0.25, b}) {
        for (const int64_t n : {1, 2, 4, 8}) {
          const MomentRule rule = {decay, b, d, 8};
          const Coefficients whole = PushCoefficients(rule, true, n);
          double keep = 1, gain = 0;
          for (int64_t i = 0; i < n; ++i) {
            const Coefficients one = PushCoefficients(rule, i == 0, 1);
            keep *= static_cast<double>(one.keep);
            gain = static_cast<double>(one.keep) * gain + one.gain;
          }
          // A keep's narrowing reaches a gain that is 1 - keep undiminished.
          const double bound = 2 * static_cast<double>(n) * kUnit;
          EXPECT_NEAR(whole.keep, keep, bound);
          EXPECT_NEAR(whole.gain, gain, bound * (1 + gain));
        }
      }
    }
  }
}

TEST(CoefficientsTest, ACycleInOneMicroStepPushIsAPushAtKOne) {
  for (const double b : {0.5, 0.9, 0.999}) {
    for (const int64_t k : {2, 4, 7}) {
      const Coefficients whole =
          PushCoefficients({Decay::kPerCycle, b, b, k}, true, k);
      const Coefficients one =
          PushCoefficients({Decay::kPerCycle, b, b, 1}, true, 1);
      EXPECT_EQ(whole.keep, one.keep);
      EXPECT_EQ(static_cast<float>(whole.gain), static_cast<float>(one.gain));
    }
  }
}

RuleSpec SgdSpec(Decay decay, int64_t k) {
  RuleSpec spec;
  spec.optimizer = Optimizer::kSgd;
  spec.decay = decay;
  spec.k = spec.update_every = k;
  return spec;
}

TEST(CoefficientsTest, EveryDecayIsPerCycleWhereACycleIsOnePush) {
  for (const Decay decay : kDecays) {
    EXPECT_EQ(EffectiveDecay(SgdSpec(decay, 1)), Decay::kPerCycle);
    EXPECT_EQ(EffectiveDecay(SgdSpec(decay, 2)), decay);
    RuleSpec only_beta = SgdSpec(decay, 4);
    only_beta.update_every = 1;
    EXPECT_EQ(EffectiveDecay(only_beta), decay);
    RuleSpec sparse = SgdSpec(decay, 1);
    sparse.update_every = 4;
    EXPECT_EQ(EffectiveDecay(sparse), decay);
  }
}

// Rule, statement 2, as far as scalars go: same bits of every one of them.
TEST(CoefficientsTest, AtKOneEveryDecayAndBufferingFoldTheSameBits) {
  for (const Optimizer optimizer :
       {Optimizer::kSgd, Optimizer::kAdam, Optimizer::kAdamW}) {
    RuleSpec spec;
    spec.optimizer = optimizer;
    spec.hyper.weight_decay = optimizer == Optimizer::kAdam ? 0.0 : 0.01;
    std::vector<oracle::FloatModel> models;
    for (const Decay decay : kDecays) {
      for (const Buffering buffering :
           {Buffering::kEmbedded, Buffering::kClassic, Buffering::kGather}) {
        for (const SecondMoment second :
             {SecondMoment::kArticle, SecondMoment::kAdama}) {
          spec.decay = decay;
          spec.buffering = buffering;
          spec.second_moment = second;
          ASSERT_EQ(ValidateRule(spec), "");
          models.emplace_back(spec, std::vector<float>{1.0f, -0.3f, 1e-3f});
        }
      }
    }
    for (int push = 0; push < 50; ++push) {
      const std::vector<float> g = {std::sin(static_cast<float>(push)),
                                    1.0f / static_cast<float>(push + 1),
                                    push % 3 == 0 ? 0.0f : 1e-4f};
      for (oracle::FloatModel& model : models) {
        model.Push(g);
        EXPECT_EQ(model.m, models[0].m);
        EXPECT_EQ(model.v, models[0].v);
        EXPECT_EQ(model.theta, models[0].theta);
        EXPECT_EQ(model.cycle.mass1, models[0].cycle.mass1);
        EXPECT_EQ(model.cycle.mass2, models[0].cycle.mass2);
      }
    }
  }
}

TEST(CoefficientsTest, L2IsTheGainOfAGradientAtEveryPushSinceTheUpdate) {
  const double b = 0.9, d = 0.25;
  const int64_t k = 4;
  EXPECT_EQ(L2Coefficient({Decay::kPerCycle, b, d, k}, 4), 0.75);
  EXPECT_EQ(L2Coefficient({Decay::kPerCycle, b, d, k}, 1), 0.75)
      << "short cycles of kPerCycle take all of it";
  EXPECT_NEAR(L2Coefficient({Decay::kPerPush, b, d, k}, 3),
              0.75 * (1 - 0.729) / 0.1, 1e-14);
  const double slid = 1 - 0.1 / 4;
  EXPECT_NEAR(L2Coefficient({Decay::kSliding, b, d, k}, 3),
              0.75 / 4 * (1 - slid * slid * slid) / (1 - slid), 1e-14);
  // Over a full cycle SLIDING_EXACT is PER_CYCLE.
  EXPECT_NEAR(L2Coefficient({Decay::kSlidingExact, b, d, k}, 4), 0.75, 1e-14);
  for (const Decay decay : {Decay::kPerPush, Decay::kSliding}) {
    EXPECT_EQ(L2Coefficient({decay, 0.0, d, 1}, 5), 0.75) << "b = 0";
  }
}

TEST(CoefficientsTest, SgdWithoutMomentumUsesMAsAnAccumulator) {
  RuleSpec spec = SgdSpec(Decay::kPerCycle, 4);
  spec.hyper.beta1 = 0;
  EXPECT_TRUE(MomentIsAccumulator(spec));
  spec.hyper.beta1 = 0.5;
  EXPECT_FALSE(MomentIsAccumulator(spec));
  spec = SgdSpec(Decay::kPerCycle, 1);
  spec.hyper.beta1 = 0;
  EXPECT_FALSE(MomentIsAccumulator(spec)) << "one push waits for none";
  spec = SgdSpec(Decay::kPerCycle, 4);
  spec.hyper.beta1 = 0;
  spec.buffering = Buffering::kClassic;
  EXPECT_FALSE(MomentIsAccumulator(spec)) << "it has a buffer of its own";
  spec.buffering = Buffering::kEmbedded;
  spec.decay = Decay::kPerPush;
  EXPECT_FALSE(MomentIsAccumulator(spec)) << "the last gradient only";
  spec.decay = Decay::kSliding;
  EXPECT_FALSE(MomentIsAccumulator(spec)) << "earlier cycles too";
  spec.decay = Decay::kPerCycle;
  spec.optimizer = Optimizer::kSignum;
  EXPECT_TRUE(MomentIsAccumulator(spec)) << "its m is sgd's";
  spec.optimizer = Optimizer::kLion;
  EXPECT_FALSE(MomentIsAccumulator(spec)) << "its m decays with beta2";
  spec.hyper.beta2 = 0;
  EXPECT_TRUE(MomentIsAccumulator(spec));
  spec.optimizer = Optimizer::kAdam;
  EXPECT_FALSE(MomentIsAccumulator(spec));
}

}  // namespace
}  // namespace accrue::rule
