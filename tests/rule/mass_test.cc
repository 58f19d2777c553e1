// Bias correction by the mass really folded.
#include <cmath>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "server/rule/coefficients.h"
#include "server/rule/cycle.h"
#include "tests/oracle/float_model.h"
#include "tests/oracle/textbook.h"

namespace accrue::rule {
namespace {

constexpr Decay kDecays[] = {Decay::kPerCycle, Decay::kPerPush, Decay::kSliding,
                             Decay::kSlidingExact};

RuleSpec Adam(Decay decay, int64_t k) {
  RuleSpec spec;
  spec.optimizer = Optimizer::kAdam;
  spec.decay = decay;
  spec.k = spec.update_every = k;
  return spec;
}

// With full cycles and unit weights D = 1 - (product of keeps). Each gain was
// narrowed once more than the keep it complements, under kPerCycle with k no
// power of two; a mass is at most 1, so that 2^-24 covers it.
TEST(MassTest, IsOneMinusTheProductOfKeeps) {
  for (const Decay decay : kDecays) {
    for (const int64_t k : {1, 2, 4, 7}) {
      const RuleSpec spec = Adam(decay, k);
      CycleState state;
      double keeps1 = 1, keeps2 = 1;
      for (int64_t push = 0; push < 100 * k; ++push) {
        const PushPlan plan = PlanPush(spec, PushFacts{}, state);
        keeps1 *= static_cast<double>(plan.push.keep1);
        keeps2 *= static_cast<double>(plan.push.keep2);
        if (!plan.update) continue;
        EXPECT_NEAR(state.mass1, 1 - keeps1, 0x1p-24);
        EXPECT_NEAR(state.mass2, 1 - keeps2, 0x1p-24);
      }
    }
  }
}

// Eq. 27 at updates: 1 - b^(t/k) for PER_CYCLE, 1 - b^t for PER_PUSH, where
// the article's floor(t/k) would be wrong (README, "The rule"). Up to the
// narrowing of the keeps: t powers of 2^-25 relative.
TEST(MassTest, CountsDecaysNotPushes) {
  const int64_t k = 4;
  for (const Decay decay : {Decay::kPerCycle, Decay::kPerPush}) {
    const RuleSpec spec = Adam(decay, k);
    CycleState state;
    for (int64_t t = 1; t <= 400; ++t) {
      PlanPush(spec, PushFacts{}, state);
      if (t % k != 0) continue;
      const auto decays =
          static_cast<double>(decay == Decay::kPerCycle ? t / k : t);
      const double narrowing = decays * 0x1p-25;
      EXPECT_NEAR(state.mass1, 1 - std::pow(0.9, decays), narrowing);
      EXPECT_NEAR(state.mass2, 1 - std::pow(0.999, decays), narrowing);
    }
  }
}

// Errata, eq. 27: floor(t/k) is 0 for t < k, and 1 - b^0 divides by 0. A cycle
// that is closed after its first push is such a t.
TEST(MassTest, IsNotZeroBeforeTheFirstFullCycle) {
  for (const Decay decay : kDecays) {
    oracle::FloatModel model(Adam(decay, 4), {1.0f});
    model.Push({3.0f});
    const ClosePlan plan = model.Close();
    EXPECT_TRUE(std::isfinite(plan.update.lr));
    EXPECT_TRUE(std::isfinite(plan.update.inv_mass2));
    // m/D1 and v/D2 are averages of what came: 3 and 9. The step is lr.
    EXPECT_NEAR(model.theta[0], 1.0 - 1e-3, 1e-6);
  }
}

// D corrects the bias if the average of a constant gradient is that gradient,
// whatever else changes. Changes b, k, the cycle's length and the weights.
TEST(MassTest, StaysRightWhenBetaKWeightsAndCycleLengthsChange) {
  for (const Decay decay : kDecays) {
    for (const Buffering buffering :
         {Buffering::kEmbedded, Buffering::kClassic, Buffering::kGather}) {
      if (buffering != Buffering::kEmbedded && decay != Decay::kPerCycle) {
        continue;
      }
      RuleSpec spec = Adam(decay, 4);
      spec.buffering = buffering;
      oracle::FloatModel model(spec, {0.0f});
      const std::vector<double> weights = {1.0, 0.25, 3.0, 0.7, 2.0};
      int update = 0;
      for (int push = 0; push < 300; ++push) {
        if (model.cycle.position == 0) {
          const int64_t k = 1 + push % 5;
          model.spec.k = model.spec.update_every = k;
          model.spec.hyper.beta1 = push % 2 == 0 ? 0.9 : 0.5;
          model.spec.hyper.beta2 = push % 3 == 0 ? 0.99 : 0.999;
        }
        PushFacts facts;
        facts.weight = weights[static_cast<size_t>(push) % weights.size()];
        bool updated = model.Push({2.0f}, facts).update.has_value();
        if (!updated && push % 7 == 0) {
          model.Close();
          updated = true;
        }
        if (!updated && buffering != Buffering::kEmbedded) continue;
        update += updated ? 1 : 0;
        // Few hundred roundings of m and v at most, each 2^-24 relative.
        EXPECT_NEAR(model.m[0] / model.cycle.mass1, 2.0, 2.0 * 300 * 0x1p-24);
        EXPECT_NEAR(model.v[0] / model.cycle.mass2, 4.0, 4.0 * 600 * 0x1p-24);
      }
      EXPECT_GT(update, 50);
    }
  }
}

TEST(MassTest, IsThatOfTheTextbook) {
  for (const Decay decay : kDecays) {
    for (const int64_t n : {1, 2, 4}) {
      const RuleSpec spec = Adam(decay, 4);
      CycleState state;
      oracle::Textbook textbook(spec, {0.0});
      PushFacts facts;
      facts.micro_steps = n;
      for (int push = 0; push < 100; ++push) {
        facts.weight = push % 2 == 0 ? 1.5 : 0.5;
        PlanPush(spec, facts, state);
        textbook.Push({1.0}, facts);
        if (state.position > 0) continue;  // kPerCycle's textbook waits
        // Narrowed keeps: 2^-25 relative, of the last 1/(1-B) = 4000 pushes.
        EXPECT_NEAR(state.mass1, textbook.mass1(), 2 * 4000 * 0x1p-25);
        EXPECT_NEAR(state.mass2, textbook.mass2(), 2 * 4000 * 0x1p-25);
      }
    }
  }
}

TEST(MassTest, TakesTheArticlesGainUnderAdamaToo) {
  RuleSpec spec = Adam(Decay::kPerCycle, 4);
  CycleState article, adama;
  for (int push = 0; push < 40; ++push) {
    spec.second_moment = SecondMoment::kArticle;
    const PushPlan one = PlanPush(spec, PushFacts{}, article);
    spec.second_moment = SecondMoment::kAdama;
    const PushPlan other = PlanPush(spec, PushFacts{}, adama);
    EXPECT_EQ(article.mass2, adama.mass2);
    EXPECT_EQ(one.push.gain2, 4 * other.push.gain2);
  }
}

TEST(MassTest, IgnoresDamping) {
  const RuleSpec spec = Adam(Decay::kPerCycle, 4);
  CycleState plain, damped;
  PushFacts stale;
  stale.gain_factor = 1.0 / 3;
  for (int push = 0; push < 40; ++push) {
    const PushPlan one = PlanPush(spec, PushFacts{}, plain);
    const PushPlan other = PlanPush(spec, stale, damped);
    EXPECT_EQ(plain.mass1, damped.mass1);
    EXPECT_EQ(plain.mass2, damped.mass2);
    EXPECT_NEAR(other.push.gain1, one.push.gain1 / 3, 0x1p-25);
    EXPECT_EQ(other.push.gain2, one.push.gain2);
  }
}

TEST(MassTest, SmallestWeightsStillDivide) {
  RuleSpec spec = Adam(Decay::kPerCycle, kMaxK);
  spec.hyper.beta1 = 1 - 0x1p-24;
  spec.hyper.beta2 = 1 - 0x1p-24;
  ASSERT_EQ(ValidateRule(spec), "");
  CycleState state;
  PushFacts facts;
  facts.weight = kMinWeight;
  PlanPush(spec, facts, state);
  const ClosePlan plan = PlanClose(spec, state);
  EXPECT_TRUE(std::isfinite(plan.update.lr));
  EXPECT_TRUE(std::isfinite(plan.update.inv_mass2));
  EXPECT_GT(state.mass1, 0);
  EXPECT_GT(state.mass2, 0);
}

TEST(MassTest, IsZeroUnderSgd) {
  RuleSpec spec = Adam(Decay::kPerCycle, 2);
  spec.optimizer = Optimizer::kSgd;
  CycleState state;
  for (int push = 0; push < 4; ++push) PlanPush(spec, PushFacts{}, state);
  EXPECT_EQ(state.mass1, 0);
  EXPECT_EQ(state.mass2, 0);
}

}  // namespace
}  // namespace accrue::rule
