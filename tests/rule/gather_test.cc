// GATHER: what holding a push does to a cycle's state, and what ends it.
#include <cstdint>
#include <iostream>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "server/rule/cycle.h"

namespace accrue::rule {
namespace {

constexpr uint32_t kSeed = 1202;

RuleSpec Spec(Optimizer optimizer, int64_t k, Buffering buffering) {
  RuleSpec spec;
  spec.optimizer = optimizer;
  spec.k = spec.update_every = k;
  spec.buffering = buffering;
  spec.nesterov = optimizer == Optimizer::kSgd;
  spec.hyper.weight_decay = 0.01;
  spec.hyper.clip_norm = 1.0;
  spec.hyper.clip_push_norm = 2.0;
  return spec;
}

TEST(GatherTest, APushThatIsHeldCountsAndFoldsNothing) {
  const RuleSpec spec = Spec(Optimizer::kAdam, 4, Buffering::kGather);
  CycleState state;
  EXPECT_FALSE(HoldPush(spec, 2, state));
  CycleState want;
  want.position = want.since_update = want.micro_steps = 2;
  want.active = spec.hyper;
  EXPECT_EQ(state, want);
  EXPECT_TRUE(HoldPush(spec, 2, state));
  EXPECT_EQ(state.position, 4);
  EXPECT_EQ(state.updates, 0) << "until it is planned";
}

// Scalar by scalar, bit by bit: weights, damping, micro-steps, loss scales,
// per-push clips, cycles that end early, hyperparameters that change.
TEST(GatherTest, ACycleIsClassicsWherePushesComeInTheFoldsOrder) {
  std::cout << "seed " << kSeed << "\n";
  std::mt19937 random(kSeed);
  std::uniform_real_distribution<double> number(0.1, 4.0);
  for (const Optimizer optimizer :
       {Optimizer::kSgd, Optimizer::kAdam, Optimizer::kAdamW,
        Optimizer::kSignum, Optimizer::kLion, Optimizer::kLamb}) {
    RuleSpec gather = Spec(optimizer, 6, Buffering::kGather);
    RuleSpec classic = Spec(optimizer, 6, Buffering::kClassic);
    ASSERT_EQ(ValidateRule(gather), "");
    CycleState held, folded;
    for (int cycle = 0; cycle < 40; ++cycle) {
      const int64_t n = 1 + cycle % 3;
      const bool closes = cycle % 5 == 4;
      std::vector<PushFacts> facts;
      std::vector<PushScalars> want;
      ClosePlan end;
      for (int64_t push = 0; push < 6 / n - (closes ? 1 : 0); ++push) {
        PushFacts& of = facts.emplace_back();
        of.micro_steps = n;
        of.weight = number(random);
        of.scale = number(random);
        of.norm = number(random);
        if (push % 2 == 1) of.gain_factor = 0.5;
        const bool full = HoldPush(gather, n, held);
        const PushPlan plan = PlanPush(classic, of, folded);
        want.push_back(plan.push);
        ASSERT_EQ(full, plan.update.has_value());
        // Takes effect with the next cycle.
        gather.hyper.learning_rate = classic.hyper.learning_rate =
            number(random);
        if (full) end = {plan.look_ahead, plan.buffer_fold, *plan.update};
      }
      if (closes) end = PlanClose(classic, folded);
      const GatherPlan plan = PlanGather(gather, facts, held);
      EXPECT_EQ(plan.pushes, want);
      EXPECT_EQ(plan.close, end);
      EXPECT_EQ(held, folded);
    }
  }
}

}  // namespace
}  // namespace accrue::rule
