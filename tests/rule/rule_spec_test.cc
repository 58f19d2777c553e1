#include "server/rule/rule_spec.h"

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/oracle/combinations.h"

namespace accrue::rule {
namespace {

using testing::HasSubstr;

RuleSpec Of(Optimizer optimizer, int64_t k = 4) {
  RuleSpec spec;
  spec.optimizer = optimizer;
  spec.k = spec.update_every = k;
  return spec;
}

struct Refusal {
  const char* what;  // in the message
  Optimizer optimizer;
  std::function<void(RuleSpec&)> change;
};

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr Optimizer kSgd = Optimizer::kSgd;
constexpr Optimizer kAdam = Optimizer::kAdam;
constexpr Optimizer kAdamW = Optimizer::kAdamW;
constexpr Optimizer kSignum = Optimizer::kSignum;
constexpr Optimizer kLion = Optimizer::kLion;
constexpr Optimizer kLamb = Optimizer::kLamb;

void ExpectRefused(const std::vector<Refusal>& refusals) {
  for (const Refusal& refusal : refusals) {
    RuleSpec spec = Of(refusal.optimizer);
    ASSERT_EQ(ValidateRule(spec), "");
    refusal.change(spec);
    EXPECT_THAT(ValidateRule(spec), HasSubstr(refusal.what));
  }
}

TEST(RuleSpecTest, RefusesLengthsOutOfRange) {
  ExpectRefused({
      {"k: 0, want 1 to 1048576", kSgd, [](RuleSpec& s) { s.k = 0; }},
      {"k: 1048577, want 1 to", kSgd, [](RuleSpec& s) { s.k = kMaxK + 1; }},
      {"update_every: 0, want 1 to", kSgd,
       [](RuleSpec& s) { s.update_every = 0; }},
      {"update_every: 1048577, want 1 to", kSgd,
       [](RuleSpec& s) { s.update_every = kMaxK + 1; }},
  });
}

TEST(RuleSpecTest, RefusesAnotherCycleThanKWhereTheMeanIsTaken) {
  ExpectRefused({
      {"update_every: 2, want k = 4: PER_CYCLE decays once", kSgd,
       [](RuleSpec& s) { s.update_every = 2; }},
      {"update_every: 8, want k = 4: CLASSIC buffering steps on the mean", kSgd,
       [](RuleSpec& s) {
         s.update_every = 8;
         s.buffering = Buffering::kClassic;
       }},
      {"update_every: 8, want k = 4: GATHER buffering steps on the mean", kSgd,
       [](RuleSpec& s) {
         s.update_every = 8;
         s.buffering = Buffering::kGather;
       }},
  });
}

TEST(RuleSpecTest, AllowsAnyCycleForDecaysPerPush) {
  for (const Decay decay :
       {Decay::kPerPush, Decay::kSliding, Decay::kSlidingExact}) {
    for (const int64_t every : {1, 3, 4, 9}) {
      RuleSpec spec = Of(kAdam);
      spec.decay = decay;
      spec.update_every = every;
      EXPECT_EQ(ValidateRule(spec), "");
    }
  }
}

TEST(RuleSpecTest, RefusesConventionsThatNameNothing) {
  ExpectRefused({
      {"decay: CLASSIC buffering folds once a cycle", kSgd,
       [](RuleSpec& s) {
         s.decay = Decay::kSliding;
         s.buffering = Buffering::kClassic;
       }},
      {"decay: GATHER buffering folds once a cycle", kSgd,
       [](RuleSpec& s) {
         s.decay = Decay::kSliding;
         s.buffering = Buffering::kGather;
       }},
      {"second_moment: ADAMA, but sgd has no second moment", kSgd,
       [](RuleSpec& s) { s.second_moment = SecondMoment::kAdama; }},
      {"second_moment: CORRECTED, but sgd has no second moment", kSgd,
       [](RuleSpec& s) { s.second_moment = SecondMoment::kCorrected; }},
      {"second_moment: CORRECTED is of decay PER_CYCLE with EMBEDDED", kAdamW,
       [](RuleSpec& s) {
         s.second_moment = SecondMoment::kCorrected;
         s.decay = Decay::kPerPush;
       }},
      {"second_moment: CORRECTED is of decay PER_CYCLE with EMBEDDED", kLamb,
       [](RuleSpec& s) {
         s.second_moment = SecondMoment::kCorrected;
         s.buffering = Buffering::kClassic;
       }},
      {"second_moment: ADAMA, but signum has no second moment", kSignum,
       [](RuleSpec& s) { s.second_moment = SecondMoment::kAdama; }},
      {"elsewhere only ARTICLE", kAdam,
       [](RuleSpec& s) {
         s.second_moment = SecondMoment::kAdama;
         s.decay = Decay::kPerPush;
       }},
      {"elsewhere only ARTICLE", kAdam,
       [](RuleSpec& s) {
         s.second_moment = SecondMoment::kAdama;
         s.buffering = Buffering::kClassic;
       }},
  });
}

TEST(RuleSpecTest, RefusesNumbersOutOfRange) {
  for (const double bad : {-1e-9, kNan, kInfinity, 1e39}) {
    ExpectRefused({
        {"learning_rate: ", kSgd,
         [&](RuleSpec& s) { s.hyper.learning_rate = bad; }},
        {"weight_decay: ", kAdamW,
         [&](RuleSpec& s) { s.hyper.weight_decay = bad; }},
        {"clip_norm: ", kAdam, [&](RuleSpec& s) { s.hyper.clip_norm = bad; }},
        {"clip_push_norm: ", kAdam,
         [&](RuleSpec& s) { s.hyper.clip_push_norm = bad; }},
    });
  }
  for (const double bad : {-0.1, 1.0, 1 - 1e-9, 2.0, kNan, kInfinity}) {
    ExpectRefused({
        {"beta1 (momentum): ", kSgd, [&](RuleSpec& s) { s.hyper.beta1 = bad; }},
        {"beta1: ", kAdam, [&](RuleSpec& s) { s.hyper.beta1 = bad; }},
        {"beta2: ", kAdam, [&](RuleSpec& s) { s.hyper.beta2 = bad; }},
    });
  }
  for (const double bad : {0.0, -1e-8, 1e-46, 1e39, kNan, kInfinity}) {
    ExpectRefused(
        {{"epsilon: ", kAdam, [&](RuleSpec& s) { s.hyper.epsilon = bad; }}});
  }
  for (const double bad : {-0.1, 1.0, kNan, kInfinity}) {
    ExpectRefused(
        {{"dampening: ", kSgd, [&](RuleSpec& s) { s.hyper.dampening = bad; }}});
  }
  ExpectRefused({{"schedule.warmup_updates: -3", kSgd,
                  [](RuleSpec& s) { s.hyper.schedule.warmup_updates = -3; }}});
}

TEST(RuleSpecTest, AllowsTheEndsOfItsRanges) {
  RuleSpec spec = Of(kSgd);
  spec.hyper.learning_rate = 0;
  spec.hyper.beta1 = 0;
  spec.hyper.epsilon = 0;  // not sgd's
  EXPECT_EQ(ValidateRule(spec), "");
  spec.optimizer = kSignum;
  EXPECT_EQ(ValidateRule(spec), "");
  spec = Of(kAdam);
  spec.hyper.beta1 = 0;
  spec.hyper.beta2 = 0;
  spec.hyper.epsilon = 1e-45;  // the smallest float
  EXPECT_EQ(ValidateRule(spec), "");
}

TEST(RuleSpecTest, RefusesMomentsThatNeverForget) {
  ExpectRefused({
      {"beta1: 0, want above 0: SLIDING_EXACT takes its k-th root", kAdam,
       [](RuleSpec& s) {
         s.decay = Decay::kSlidingExact;
         s.hyper.beta1 = 0;
       }},
      {"beta2: 0, want above 0: SLIDING_EXACT", kAdam,
       [](RuleSpec& s) {
         s.decay = Decay::kSlidingExact;
         s.hyper.beta2 = 0;
       }},
      {"beta2: 0.999 at k = 1048576 slides to a keep that is 1 in fp32", kAdam,
       [](RuleSpec& s) {
         s.decay = Decay::kSliding;
         s.k = s.update_every = kMaxK;
         s.hyper.beta1 = 0;
       }},
  });
  RuleSpec spec = Of(kAdam);
  spec.decay = Decay::kSlidingExact;
  spec.hyper.beta2 = 0;
  spec.slide_beta2 = false;
  EXPECT_EQ(ValidateRule(spec), "") << "beta2 then takes no root";
}

TEST(RuleSpecTest, RefusesWhatAnOptimizerHasNot) {
  ExpectRefused({
      {"nesterov: only sgd has it", kAdam,
       [](RuleSpec& s) { s.nesterov = true; }},
      {"nesterov: only sgd has it", kSignum,
       [](RuleSpec& s) { s.nesterov = true; }},
      {"dampening: 0.9, but only sgd and signum have one: the gain of adamw",
       kAdamW, [](RuleSpec& s) { s.hyper.dampening = 0.9; }},
      {"use adamw (decoupled) or CLASSIC or GATHER", kAdam,
       [](RuleSpec& s) { s.hyper.weight_decay = 0.1; }},
      {"use adamw", kAdam,
       [](RuleSpec& s) {
         s.hyper.weight_decay = 0.1;
         s.k = s.update_every = 1;
       }},
      {"clip_scope: MODEL needs CLASSIC or GATHER", kAdam,
       [](RuleSpec& s) { s.clip_scope = ClipScope::kModel; }},
  });
}

TEST(RuleSpecTest, RefusesNesterovThatNeedsTheAccumulatedGradient) {
  ExpectRefused({
      {"want beta1 (momentum) above 0", kSgd,
       [](RuleSpec& s) {
         s.nesterov = true;
         s.hyper.beta1 = 0;
       }},
      {"it needs the accumulated gradient", kSgd,
       [](RuleSpec& s) {
         s.nesterov = true;
         s.decay = Decay::kPerPush;
       }},
      {"dampening 0 or equal to the momentum, 0.9: got 0.5", kSgd,
       [](RuleSpec& s) {
         s.nesterov = true;
         s.hyper.dampening = 0.5;
       }},
      {"clip_norm: EMBEDDED Nesterov has looked ahead", kSgd,
       [](RuleSpec& s) {
         s.nesterov = true;
         s.hyper.clip_norm = 1.0;
       }},
  });
  RuleSpec spec = Of(kSgd);
  spec.nesterov = true;
  EXPECT_EQ(ValidateRule(spec), "");
  spec.hyper.dampening = spec.hyper.beta1;
  EXPECT_EQ(ValidateRule(spec), "");
  spec.buffering = Buffering::kClassic;
  spec.hyper.dampening = 0.5;
  spec.hyper.clip_norm = 1.0;
  EXPECT_EQ(ValidateRule(spec), "");
  spec = Of(kSgd, 1);
  spec.nesterov = true;
  spec.decay = Decay::kSliding;
  EXPECT_EQ(ValidateRule(spec), "") << "at k = 1 that is PER_CYCLE";
}

TEST(RuleSpecTest, RefusesLionThatNeedsAGradientThatIsGone) {
  RuleSpec spec = Of(kLion);
  EXPECT_THAT(
      ValidateRule(spec),
      HasSubstr("lion: EMBEDDED buffering at k > 1 needs beta1 = beta2"));
  spec.buffering = Buffering::kClassic;
  spec.hyper.clip_norm = 1;
  EXPECT_EQ(ValidateRule(spec), "");
  spec = Of(kLion, 1);
  spec.decay = Decay::kPerPush;
  EXPECT_EQ(ValidateRule(spec), "") << "one push a cycle: g is at hand";
  spec.update_every = 2;
  EXPECT_THAT(ValidateRule(spec), HasSubstr("needs beta1 = beta2"));
  spec = Of(kLion, 1);
  spec.hyper.clip_norm = 1;
  EXPECT_THAT(ValidateRule(spec), HasSubstr("clip_norm: EMBEDDED lion"));

  for (const Decay decay : {Decay::kPerCycle, Decay::kPerPush, Decay::kSliding,
                            Decay::kSlidingExact}) {
    spec = Of(kLion);
    spec.decay = decay;
    spec.hyper.beta1 = spec.hyper.beta2;
    spec.hyper.clip_norm = 1;
    EXPECT_EQ(ValidateRule(spec), "") << "what it looks at is the new m";
  }
  spec.hyper.beta1 = spec.hyper.beta2 = 0;
  EXPECT_THAT(ValidateRule(spec), HasSubstr("beta2: 0, want above 0"));
  spec = Of(kLion, 1);
  spec.nesterov = true;
  EXPECT_THAT(ValidateRule(spec), HasSubstr("only sgd has it"));
  spec = Of(kLion, 1);
  spec.hyper.dampening = 0.5;
  EXPECT_THAT(ValidateRule(spec), HasSubstr("the gain of lion is 1 - beta2"));
}

TEST(RuleSpecTest, LambIsAllowedWhatAdamWIs) {
  RuleSpec spec = Of(kLamb);
  spec.hyper.weight_decay = 0.1;
  spec.hyper.clip_norm = 1;
  spec.second_moment = SecondMoment::kAdama;
  EXPECT_EQ(ValidateRule(spec), "");
  spec.hyper.learning_rate = 1e39;
  EXPECT_THAT(ValidateRule(spec), HasSubstr("learning_rate: "));
}

TEST(RuleSpecTest, RefusesStepsThatOverflow) {
  ExpectRefused({
      {"learning_rate: 1e+38, too large: its step overflows fp32", kSgd,
       [](RuleSpec& s) {
         s.hyper.learning_rate = 1e38;
         s.lr_scaling = LrScaling::kLinear;
       }},
      {"learning_rate: 1e+30, too large", kAdam,
       [](RuleSpec& s) { s.hyper.learning_rate = 1e30; }},
      {"weight_decay: 1e+20, too large", kAdamW,
       [](RuleSpec& s) {
         s.hyper.learning_rate = 1e20;
         s.hyper.weight_decay = 1e20;
       }},
  });
}

// A second list of what is allowed, written down independently.
TEST(RuleSpecTest, RefusesExactlyWhatTheListOfCombinationsSays) {
  for (const oracle::Combination& combination : oracle::AllCombinations()) {
    const std::string got = ValidateRule(combination.Rule());
    const std::vector<std::string> want = combination.Refusals();
    ASSERT_EQ(got.empty(), want.empty())
        << combination.Name() << ": \"" << got << "\"";
    if (want.empty()) continue;
    bool named = false;
    for (const std::string& words : want) {
      named |= got.find(words) != std::string::npos;
    }
    ASSERT_TRUE(named) << combination.Name() << ": \"" << got << "\", want \""
                       << want.front() << "\"";
  }
}

}  // namespace
}  // namespace accrue::rule
