#include "server/rule/cycle.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "server/rule/coefficients.h"
#include "server/rule/schedule.h"
#include "tests/oracle/float_model.h"

namespace accrue::rule {
namespace {

RuleSpec Sgd(int64_t k) {
  RuleSpec spec;
  spec.optimizer = Optimizer::kSgd;
  spec.k = spec.update_every = k;
  return spec;
}

RuleSpec Adam(int64_t k) {
  RuleSpec spec;
  spec.optimizer = Optimizer::kAdam;
  spec.k = spec.update_every = k;
  return spec;
}

TEST(CycleTest, UpdatesAfterEveryUpdateEveryPushes) {
  RuleSpec spec = Sgd(4);
  spec.decay = Decay::kSliding;
  for (const int64_t every : {1, 2, 4, 6}) {
    spec.update_every = every;
    ASSERT_EQ(ValidateRule(spec), "");
    CycleState state;
    for (int64_t push = 0; push < 24; ++push) {
      EXPECT_EQ(state.position, push % every);
      EXPECT_EQ(state.updates, push / every);
      EXPECT_EQ(state.since_update, push % every);
      const PushPlan plan = PlanPush(spec, PushFacts{}, state);
      EXPECT_EQ(plan.push.first, push % every == 0);
      EXPECT_EQ(plan.update.has_value(), push % every == every - 1);
    }
  }
}

// Errata, eq. 5: chi((t-1)/k) + chi(t/k) <= 1 is false for k = 1, where the
// same push begins the cycle (and decays) and ends it (and updates).
TEST(CycleTest, AtKOneAPushBeginsAndEndsItsCycle) {
  CycleState state;
  for (int push = 0; push < 3; ++push) {
    const PushPlan plan = PlanPush(Sgd(1), PushFacts{}, state);
    EXPECT_TRUE(plan.push.first);
    EXPECT_EQ(plan.push.keep1, 0.9f);
    EXPECT_TRUE(plan.update.has_value());
  }
}

TEST(CycleTest, MicroStepsAdvanceByAsManyPushes) {
  RuleSpec spec = Adam(4);
  CycleState state;
  PushFacts facts;
  facts.micro_steps = 2;
  PushPlan plan = PlanPush(spec, facts, state);
  EXPECT_EQ(state.position, 2);
  EXPECT_EQ(state.micro_steps, 2);
  EXPECT_FALSE(plan.update.has_value());
  plan = PlanPush(spec, facts, state);
  EXPECT_TRUE(plan.update.has_value());
  EXPECT_EQ(state.position, 0);
  EXPECT_EQ(state.micro_steps, 0) << "the next cycle's first push sets it";
  EXPECT_EQ(state.updates, 1);
}

TEST(CycleTest, MicroStepsMultiplyGains) {
  RuleSpec spec = Adam(4);
  CycleState one_by_one, by_two;
  PushFacts two;
  two.micro_steps = 2;
  const PushPlan plain = PlanPush(spec, PushFacts{}, one_by_one);
  PushPlan plan = PlanPush(spec, two, by_two);
  EXPECT_EQ(plan.push.keep1, plain.push.keep1);
  EXPECT_EQ(plan.push.gain1, 2 * plain.push.gain1);
  EXPECT_EQ(plan.push.gain2, 2 * plain.push.gain2);

  spec.second_moment = SecondMoment::kAdama;
  CycleState adama, adama_by_two;
  const PushPlan adama_plain = PlanPush(spec, PushFacts{}, adama);
  plan = PlanPush(spec, two, adama_by_two);
  EXPECT_EQ(plan.push.gain2, 4 * adama_plain.push.gain2) << "n^2";

  spec.second_moment = SecondMoment::kArticle;
  spec.decay = Decay::kPerPush;
  spec.hyper.beta1 = 0.5;
  CycleState per_push;
  plan = PlanPush(spec, two, per_push);
  EXPECT_EQ(plan.push.keep1, 0.25f);
  EXPECT_EQ(plan.push.gain1, 0.75f);
}

TEST(CycleTest, WeightsMultiplyBothGains) {
  for (const Decay decay : {Decay::kPerCycle, Decay::kPerPush, Decay::kSliding,
                            Decay::kSlidingExact}) {
    RuleSpec spec = Adam(4);
    spec.decay = decay;
    CycleState plain_state, state;
    PushFacts facts;
    facts.weight = 4.0;
    const PushPlan plain = PlanPush(spec, PushFacts{}, plain_state);
    const PushPlan plan = PlanPush(spec, facts, state);
    EXPECT_EQ(plan.push.keep1, plain.push.keep1);
    EXPECT_EQ(plan.push.gain1, 4 * plain.push.gain1);
    EXPECT_EQ(plan.push.gain2, 4 * plain.push.gain2);
    EXPECT_EQ(state.mass1, 4 * plain_state.mass1);
    EXPECT_EQ(state.mass2, 4 * plain_state.mass2);
  }
}

TEST(CycleTest, BetaTwoSlidesOnlyIfToldTo) {
  RuleSpec spec = Adam(4);
  for (const Decay decay : {Decay::kSliding, Decay::kSlidingExact}) {
    spec.decay = decay;
    spec.slide_beta2 = false;
    CycleState state;
    PushPlan plan = PlanPush(spec, PushFacts{}, state);
    EXPECT_EQ(plan.push.keep2, static_cast<float>(0.999));
    EXPECT_EQ(plan.push.gain2, 1.0f - static_cast<float>(0.999));
    spec.slide_beta2 = true;
    CycleState sliding;
    plan = PlanPush(spec, PushFacts{}, sliding);
    EXPECT_NEAR(plan.push.keep2, 0.99975, 1e-6);
    EXPECT_EQ(plan.push.gain2, 1.0f - plan.push.keep2);
  }
}

TEST(CycleTest, SgdHasNoSecondMoment) {
  CycleState state;
  const PushPlan plan = PlanPush(Sgd(2), PushFacts{}, state);
  EXPECT_EQ(plan.push.keep2, 1.0f);
  EXPECT_EQ(plan.push.gain2, 0.0f);
}

TEST(CycleTest, ThePayloadIsDividedByItsScale) {
  CycleState state;
  PushFacts facts;
  facts.scale = 1024.0;
  EXPECT_EQ(PlanPush(Sgd(4), facts, state).push.mult, 0x1p-10f);
}

TEST(CycleTest, ClipPushNormShrinksOnlyLongerPushes) {
  RuleSpec spec = Sgd(100);
  spec.hyper.clip_push_norm = 2.0;
  CycleState state;
  PushFacts facts;
  facts.norm = 8.0;
  facts.scale = 4.0;
  EXPECT_EQ(PlanPush(spec, facts, state).push.mult, 0x1p-4f);
  facts.norm = 2.5;
  EXPECT_EQ(PlanPush(spec, facts, state).push.mult, 0.2f);
  facts.norm = 2.0;
  EXPECT_EQ(PlanPush(spec, facts, state).push.mult, 0.25f);
  facts.norm = 0.0;
  EXPECT_EQ(PlanPush(spec, facts, state).push.mult, 0.25f);
  spec.hyper.clip_push_norm = 0.0;  // none
  CycleState unclipped;
  facts.norm = 1e30;
  EXPECT_EQ(PlanPush(spec, facts, unclipped).push.mult, 0.25f);
}

TEST(CycleTest, HyperparametersChangeAtTheNextCyclesFirstPush) {
  RuleSpec spec = Sgd(3);
  spec.hyper.learning_rate = 1.0;
  CycleState state;
  PlanPush(spec, PushFacts{}, state);
  const Hyperparameters old = spec.hyper;
  spec.hyper.learning_rate = 0.5;
  spec.hyper.beta1 = 0.5;
  spec.hyper.dampening = 0.5;
  PushPlan plan = PlanPush(spec, PushFacts{}, state);
  EXPECT_EQ(state.active, old);
  EXPECT_EQ(plan.push.gain1, static_cast<float>(1.0 / 3));
  plan = PlanPush(spec, PushFacts{}, state);
  EXPECT_EQ(plan.update->lr, 1.0f) << "the old rate ends its cycle";

  plan = PlanPush(spec, PushFacts{}, state);
  EXPECT_EQ(state.active, spec.hyper);
  EXPECT_EQ(plan.push.keep1, 0.5f);
  EXPECT_EQ(plan.push.gain1, static_cast<float>(0.5 / 3));
  EXPECT_EQ(PlanClose(spec, state).update.lr, 0.5f);
}

TEST(CycleTest, AShortCycleTakesTheOldHyperparametersToo) {
  RuleSpec spec = Sgd(3);
  spec.hyper.learning_rate = 1.0;
  CycleState state;
  PlanPush(spec, PushFacts{}, state);
  spec.hyper.learning_rate = 0.5;
  EXPECT_EQ(PlanClose(spec, state).update.lr, 1.0f);
}

TEST(CycleTest, ClosingEndsTheCycleAndCountsAnUpdate) {
  for (const Buffering buffering :
       {Buffering::kEmbedded, Buffering::kClassic}) {
    RuleSpec spec = Adam(4);
    spec.buffering = buffering;
    CycleState state;
    PlanPush(spec, PushFacts{}, state);
    PlanPush(spec, PushFacts{}, state);
    const ClosePlan plan = PlanClose(spec, state);
    EXPECT_EQ(plan.buffer_fold.has_value(), buffering == Buffering::kClassic);
    EXPECT_EQ(state.position, 0);
    EXPECT_EQ(state.since_update, 0);
    EXPECT_EQ(state.micro_steps, 0);
    EXPECT_EQ(state.weight_sum, 0);
    EXPECT_EQ(state.updates, 1);
    EXPECT_TRUE(PlanPush(spec, PushFacts{}, state).push.first);
  }
}

// The old momentum and the new sum are one number under PER_CYCLE: missing
// pushes are zero gradients there. CLASSIC and GATHER divide by what came.
TEST(CycleTest, MissingPushesAreZerosButAMeanIsOfWhatCame) {
  for (const Buffering buffering :
       {Buffering::kEmbedded, Buffering::kClassic, Buffering::kGather}) {
    RuleSpec spec = Sgd(4);
    spec.hyper.beta1 = 0.0;
    spec.hyper.learning_rate = 1.0;
    spec.buffering = buffering;
    oracle::FloatModel model(spec, {0.0f});
    model.Push({1.0f});
    model.Push({3.0f});
    model.Close();
    EXPECT_EQ(model.theta[0], FoldsMean(spec) ? -2.0f : -1.0f);
  }
}

TEST(CycleTest, SkippedPushesAreZeroGradientsThatEndNothing) {
  oracle::FloatModel zeros(Adam(8), {1.0f}), skipped(Adam(8), {1.0f});
  for (int cycle = 0; cycle < 5; ++cycle) {
    for (int push = 0; push < 3; ++push) {
      zeros.Push({0.5f});
      skipped.Push({0.5f});
    }
    PushFacts no_weight;
    no_weight.weight = 0;  // a zero gradient that is no part of the mass
    for (int push = 0; push < 2; ++push) zeros.Push({0.0f}, no_weight);
    SkipPushes(2, skipped.cycle);
    EXPECT_EQ(skipped.cycle.position, 5);
    EXPECT_EQ(skipped.cycle.updates, cycle);
    for (int push = 0; push < 3; ++push) {
      zeros.Push({-0.25f});
      skipped.Push({-0.25f});
    }
    EXPECT_EQ(skipped.cycle.updates, cycle + 1);
    EXPECT_EQ(skipped.m, zeros.m);
    EXPECT_EQ(skipped.v, zeros.v);
    EXPECT_EQ(skipped.theta, zeros.theta);
  }
}

// Two groups with k = 2 and 4: the short cycle of one is skipped in the other,
// and their ends coincide again.
TEST(CycleTest, NestedCyclesStayNestedAcrossAShortClose) {
  const RuleSpec inner = Sgd(2), outer = Sgd(4);
  CycleState in, out;
  PlanPush(inner, PushFacts{}, in);
  PlanPush(outer, PushFacts{}, out);
  PlanClose(inner, in);
  SkipPushes(1, out);
  for (int cycle = 0; cycle < 3; ++cycle) {
    PlanPush(inner, PushFacts{}, in);
    PlanPush(outer, PushFacts{}, out);
    const PushPlan inner_end = PlanPush(inner, PushFacts{}, in);
    const PushPlan outer_end = PlanPush(outer, PushFacts{}, out);
    EXPECT_TRUE(inner_end.update.has_value());
    EXPECT_EQ(outer_end.update.has_value(), cycle % 2 == 0);
  }
}

TEST(CycleTest, ClassicBuffersWithWeightsAndFoldsTheirMean) {
  RuleSpec spec = Adam(4);
  spec.buffering = Buffering::kClassic;
  spec.hyper.weight_decay = 0.25;
  CycleState state;
  PushFacts facts;
  facts.micro_steps = 2;
  facts.weight = 0.5;
  PushPlan plan = PlanPush(spec, facts, state);
  EXPECT_TRUE(plan.push.first);
  EXPECT_EQ(plan.push.weight, 1.0f);
  EXPECT_FALSE(plan.buffer_fold.has_value());
  EXPECT_EQ(state.mass1, 0.0) << "nothing is folded yet";
  facts.weight = 1.5;
  plan = PlanPush(spec, facts, state);
  EXPECT_FALSE(plan.push.first);
  EXPECT_EQ(plan.push.weight, 3.0f);
  ASSERT_TRUE(plan.buffer_fold.has_value());
  EXPECT_EQ(plan.buffer_fold->mean, 0.25f);
  EXPECT_EQ(plan.buffer_fold->keep1, 0.9f);
  EXPECT_EQ(plan.buffer_fold->gain1, 1.0f - 0.9f);
  EXPECT_EQ(plan.buffer_fold->keep2, 0.999f);
  EXPECT_EQ(plan.buffer_fold->gain2, 1.0f - 0.999f);
  EXPECT_EQ(plan.buffer_fold->grad_l2, 0.25f);
  ASSERT_TRUE(plan.update.has_value());
  EXPECT_EQ(plan.update->l2, 0.0f);
  EXPECT_EQ(plan.update->norm_factor, 1.0);
  EXPECT_EQ(state.mass1, static_cast<double>(1.0f - 0.9f));
}

TEST(CycleTest, ClassicDampsAPushNotTheDivisor) {
  RuleSpec spec = Sgd(2);
  spec.buffering = Buffering::kClassic;
  CycleState state;
  PushFacts stale;
  stale.gain_factor = 0.5;
  EXPECT_EQ(PlanPush(spec, stale, state).push.weight, 0.5f);
  EXPECT_EQ(PlanPush(spec, PushFacts{}, state).buffer_fold->mean, 0.5f);
}

TEST(CycleTest, NesterovLooksAheadAtTheFirstPush) {
  RuleSpec spec = Sgd(2);
  spec.nesterov = true;
  spec.hyper.learning_rate = 0.25;
  spec.hyper.beta1 = 0.5;
  spec.hyper.weight_decay = 0.125;
  CycleState state;
  PushPlan plan = PlanPush(spec, PushFacts{}, state);
  ASSERT_TRUE(plan.look_ahead.has_value());
  EXPECT_EQ(plan.look_ahead->ahead, 0.125f);
  EXPECT_EQ(plan.look_ahead->l2, 0.125f);
  plan = PlanPush(spec, PushFacts{}, state);
  EXPECT_FALSE(plan.look_ahead.has_value());
  EXPECT_EQ(plan.update->lr, 0.375f);
  EXPECT_EQ(plan.update->l2, 0.0f);
}

TEST(CycleTest, ClassicNesterovLooksAheadWhereItFolds) {
  RuleSpec spec = Sgd(2);
  spec.nesterov = true;
  spec.buffering = Buffering::kClassic;
  spec.hyper.learning_rate = 0.25;
  spec.hyper.beta1 = 0.5;
  CycleState state;
  EXPECT_FALSE(PlanPush(spec, PushFacts{}, state).look_ahead.has_value());
  const PushPlan plan = PlanPush(spec, PushFacts{}, state);
  ASSERT_TRUE(plan.look_ahead.has_value());
  EXPECT_EQ(plan.look_ahead->ahead, 0.125f);
  PlanPush(spec, PushFacts{}, state);
  EXPECT_TRUE(PlanClose(spec, state).look_ahead.has_value());
}

TEST(CycleTest, L2CountsThePushesThatWereFolded) {
  RuleSpec spec = Sgd(4);
  spec.decay = Decay::kPerPush;
  spec.hyper.beta1 = 0.5;
  spec.hyper.weight_decay = 1.0;
  CycleState state;
  PushPlan plan;
  for (int push = 0; push < 4; ++push) {
    plan = PlanPush(spec, PushFacts{}, state);
  }
  EXPECT_EQ(plan.update->l2, 1.875f);  // 1 + 1/2 + 1/4 + 1/8
  PushFacts two;
  two.micro_steps = 2;
  PlanPush(spec, two, state);
  EXPECT_EQ(PlanPush(spec, two, state).update->l2, 1.875f);
  PlanPush(spec, PushFacts{}, state);
  SkipPushes(1, state);
  PlanPush(spec, PushFacts{}, state);
  EXPECT_EQ(PlanClose(spec, state).update.l2, 1.5f);
  spec.decay = Decay::kPerCycle;
  PlanPush(spec, PushFacts{}, state);
  EXPECT_EQ(PlanClose(spec, state).update.l2, 1.0f);
}

TEST(CycleTest, AdamsUpdateCarriesItsCorrections) {
  RuleSpec spec = Adam(2);
  spec.optimizer = Optimizer::kAdamW;
  spec.hyper.learning_rate = 0.25;
  spec.hyper.weight_decay = 0.5;
  spec.hyper.epsilon = 0x1p-20;
  spec.hyper.clip_norm = 3.0;
  CycleState state;
  PlanPush(spec, PushFacts{}, state);
  const UpdateScalars update = *PlanPush(spec, PushFacts{}, state).update;
  EXPECT_EQ(update.lr, static_cast<float>(0.25 / state.mass1));
  EXPECT_EQ(update.inv_mass2, static_cast<float>(1 / state.mass2));
  EXPECT_EQ(update.decay, 0.875f) << "the rate without the correction";
  EXPECT_EQ(update.epsilon, 0x1p-20f);
  EXPECT_EQ(update.clip_norm, 3.0);
  EXPECT_EQ(update.norm_factor, 1 / state.mass1);
  EXPECT_EQ(update.l2, 0.0f);
}

TEST(CycleTest, LambCarriesItsRateAndItsDecayApart) {
  RuleSpec spec;
  spec.optimizer = Optimizer::kLamb;
  spec.hyper.beta1 = 0.75;
  spec.hyper.learning_rate = 0.1;
  spec.hyper.weight_decay = 0.25;
  CycleState state;
  const PushPlan plan = PlanPush(spec, PushFacts{}, state);
  EXPECT_EQ(plan.update->rate, 0.1);
  EXPECT_EQ(plan.update->inv_mass1, 4.0f);
  EXPECT_EQ(plan.update->norm_factor, 4.0);
  EXPECT_EQ(plan.update->weight_decay, 0.25f);
  EXPECT_EQ(plan.update->inv_mass2, static_cast<float>(1 / state.mass2));
}

// Lion looks at beta1*m + (1 - beta1)*g, and m decays with beta2.
TEST(CycleTest, LionMixesWithBetaOneAndDecaysWithBetaTwo) {
  RuleSpec spec;
  spec.optimizer = Optimizer::kLion;
  spec.hyper.beta1 = 0.75;
  spec.hyper.beta2 = 0.875;
  spec.hyper.learning_rate = 0.5;
  spec.hyper.weight_decay = 0.25;
  for (const Buffering buffering :
       {Buffering::kEmbedded, Buffering::kClassic}) {
    spec.buffering = buffering;
    CycleState state;
    const PushPlan plan = PlanPush(spec, PushFacts{}, state);
    const bool classic = buffering == Buffering::kClassic;
    EXPECT_EQ(classic ? plan.buffer_fold->keep1 : plan.push.keep1, 0.875f);
    EXPECT_EQ(classic ? plan.buffer_fold->gain1 : plan.push.gain1, 0.125f);
    EXPECT_EQ(plan.update->mix_keep, 0.75f);
    EXPECT_EQ(plan.update->mix_gain, 0.25f);
    EXPECT_EQ(plan.update->lr, 0.5f);
    EXPECT_EQ(plan.update->decay, 0.875f);
  }
  // A weight multiplies the gradient wherever it goes; a mean divides by it.
  PushFacts facts;
  facts.weight = 2;
  facts.gain_factor = 0.5;
  CycleState state;
  EXPECT_EQ(PlanPush(spec, facts, state).update->mix_gain, 0.25f);
  spec.buffering = Buffering::kEmbedded;
  facts.gain_factor = 0.25;
  EXPECT_EQ(PlanPush(spec, facts, state).update->mix_gain, 0.125f);
  // With equal betas what it looks at is the m that the fold makes.
  spec.hyper.beta1 = 0.875;
  EXPECT_EQ(PlanPush(spec, facts, state).update->mix_gain, 0.0f);
}

TEST(CycleTest, PlanningTwiceFromOneStateGivesOnePlan) {
  // The executor plans on copies, and recovery plans again.
  RuleSpec spec = Adam(3);
  CycleState state;
  for (int push = 0; push < 10; ++push) {
    CycleState copy = state;
    const PushPlan one = PlanPush(spec, PushFacts{}, state);
    const PushPlan other = PlanPush(spec, PushFacts{}, copy);
    EXPECT_EQ(state, copy);
    EXPECT_EQ(one.push.gain2, other.push.gain2);
    EXPECT_EQ(one.update.has_value(), other.update.has_value());
  }
}

}  // namespace
}  // namespace accrue::rule
