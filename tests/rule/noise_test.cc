// Signal and noise told apart by four sums, a norm a push and the norm of m.
#include "server/rule/noise.h"

#include <cmath>
#include <cstdint>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/rule/cycle.h"
#include "tests/oracle/float_model.h"

namespace accrue::rule {
namespace {

constexpr uint64_t kSeed = 20210829;

// Gradients with a mean that stays and noise that does not: half of the
// elements have no mean at all, and every second has a third of the others'
// deviation.
class Gradients {
 public:
  Gradients(size_t elems, double snr_squared, uint64_t seed)
      : random_(seed), mean_(elems), deviation_(elems) {
    for (size_t e = 0; e < elems; ++e) {
      deviation_[e] = e % 2 == 0 ? 0.5f : 1.5f;
      mean_[e] = e % 4 < 2 ? 0.0f : Normal();
      variance_ += Square(deviation_[e]);
      mean_squared_ += Square(mean_[e]);
    }
    const double factor = std::sqrt(snr_squared * variance_ / mean_squared_);
    mean_squared_ = 0;
    for (float& mean : mean_) {
      mean *= static_cast<float>(factor);
      mean_squared_ += Square(mean);
    }
  }

  double variance() const { return variance_; }
  double mean_squared() const { return mean_squared_; }
  size_t elems() const { return mean_.size(); }

  // The mean of n micro-batches', each times `factor`.
  std::vector<float> Next(int64_t n, float factor = 1) {
    const float scale = 1.0f / std::sqrt(static_cast<float>(n));
    std::vector<float> g(mean_.size());
    for (size_t e = 0; e < g.size(); ++e) {
      g[e] = factor * (mean_[e] + scale * deviation_[e] * Normal());
    }
    return g;
  }

 private:
  static double Square(float x) {
    return static_cast<double>(x) * static_cast<double>(x);
  }

  // The sum of four uniform numbers, of variance 1/12 each: of one draw, and
  // of a smaller fourth moment than a normal number's.
  float Normal() {
    const uint64_t bits = random_();
    const auto sum =
        static_cast<float>((bits & 0xffff) + (bits >> 16 & 0xffff) +
                           (bits >> 32 & 0xffff) + (bits >> 48));
    return (sum - 131070.0f) * (1.7320508f / 65536.0f);
  }

  std::mt19937_64 random_;
  std::vector<float> mean_, deviation_;
  double variance_ = 0, mean_squared_ = 0;
};

enum class Pushes { kPlain, kWeighted, kMicroSteps, kDamped };

struct Case {
  std::string name;
  RuleSpec spec;
  Pushes pushes = Pushes::kPlain;
};

RuleSpec Rule(Optimizer optimizer, Decay decay, Buffering buffering) {
  RuleSpec spec;
  spec.optimizer = optimizer;
  spec.decay = decay;
  spec.buffering = buffering;
  spec.k = spec.update_every = 4;
  return spec;
}

std::vector<Case> Cases() {
  const struct {
    const char* name;
    Decay decay;
    Buffering buffering;
  } kinds[] = {
      {"PER_CYCLE", Decay::kPerCycle, Buffering::kEmbedded},
      {"PER_PUSH", Decay::kPerPush, Buffering::kEmbedded},
      {"SLIDING", Decay::kSliding, Buffering::kEmbedded},
      {"SLIDING_EXACT", Decay::kSlidingExact, Buffering::kEmbedded},
      {"CLASSIC", Decay::kPerCycle, Buffering::kClassic},
      {"GATHER", Decay::kPerCycle, Buffering::kGather},
  };
  std::vector<Case> cases;
  for (const auto& kind : kinds) {
    const auto rule = [&](Optimizer optimizer) {
      return Rule(optimizer, kind.decay, kind.buffering);
    };
    const std::string name = kind.name;
    cases.push_back({name, rule(Optimizer::kSgd), Pushes::kPlain});
    cases.push_back(
        {name + " weights", rule(Optimizer::kAdamW), Pushes::kWeighted});
    cases.push_back(
        {name + " micro_steps", rule(Optimizer::kAdam), Pushes::kMicroSteps});
    cases.push_back({name + " damped", rule(Optimizer::kSgd), Pushes::kDamped});
  }
  return cases;
}

// Of push number `push` of the case. Cycles of micro_steps alternate.
PushFacts Facts(Pushes pushes, int64_t push, const CycleState& cycle) {
  constexpr double kWeights[] = {0.5, 1.0, 2.0};
  PushFacts facts;
  if (pushes == Pushes::kWeighted) facts.weight = kWeights[push % 3];
  if (pushes == Pushes::kDamped) facts.gain_factor = 1.0 / (1 + push % 3);
  if (pushes == Pushes::kMicroSteps) {
    facts.micro_steps =
        cycle.position > 0 ? cycle.micro_steps : 1 + cycle.updates % 2;
  }
  return facts;
}

oracle::FloatModel Train(const RuleSpec& spec, Pushes pushes, int64_t updates,
                         Gradients& gradients) {
  oracle::FloatModel model(spec, std::vector<float>(gradients.elems()));
  for (int64_t push = 0; model.cycle.updates < updates; ++push) {
    const PushFacts facts = Facts(pushes, push, model.cycle);
    model.Push(gradients.Next(facts.micro_steps), facts);
  }
  return model;
}

std::optional<NoiseEstimate> EstimateOf(const oracle::FloatModel& model) {
  return EstimateNoise(model.cycle.noise.moment, model.MomentumSquares());
}

// Relative standard deviation of mu^2. m/W's element e has the variance
// rho*sigma_e^2, so that |m/W|^2 has 2*rho^2*sum(sigma_e^4) +
// 4*rho*sum(mu_e^2*sigma_e^2): with deviations as Gradients' the sums are
// 1.64*sigma^4/N and at most 1.8*mu^2*sigma^2/N. (That of sigma^2 is smaller
// by far, and subtracted only rho-fold.)
double Deviation(double rho, double snr_squared, size_t elems) {
  const auto count = static_cast<double>(elems);
  return std::sqrt((2 * 1.64 * rho * rho + 4 * 1.8 * rho * snr_squared) /
                   count) /
         snr_squared;
}

TEST(NoiseTest, SignalAndNoiseAreRecoveredWithinFivePercent) {
  std::cout << "seed " << kSeed << "\n";
  uint64_t seed = kSeed;
  for (const Case& c : Cases()) {
    for (const double snr_squared : {0.01, 1.0}) {
      SCOPED_TRACE(testing::Message() << c.name << ", SNR^2 " << snr_squared);
      // PER_PUSH averages fewest: rho is 1/19.
      const bool per_push = c.spec.decay == Decay::kPerPush;
      const size_t elems = per_push ? 750'000 : 150'000;
      Gradients gradients(snr_squared < 1 ? elems : 100'000, snr_squared,
                          ++seed);
      const oracle::FloatModel model =
          Train(c.spec, c.pushes, /*updates=*/per_push ? 8 : 16, gradients);
      const auto estimate = EstimateOf(model);
      ASSERT_TRUE(estimate.has_value());
      EXPECT_LT(
          3 * Deviation(estimate->noise_left, snr_squared, gradients.elems()),
          0.05);
      EXPECT_NEAR(estimate->mean_squared / gradients.mean_squared(), 1, 0.05);
      EXPECT_NEAR(estimate->variance / gradients.variance(), 1, 0.05);
      for (const int64_t k : {2, 4, 64}) {
        const double want =
            (snr_squared + 1 / static_cast<double>(k)) / (snr_squared + 1);
        EXPECT_NEAR(PowerLeft(*estimate, k) / want, 1, 0.05);
      }
    }
  }
}

// What no estimate may leave out: at SNR^2 = 0.01, k = 4 and b = 0.9 it makes
// |m/W|^2 1 + rho/0.01 times mu^2: 2.9 times after these updates, 2.3 in the
// long run.
TEST(NoiseTest, TheNoiseThatIsLeftInMIsNoSignal) {
  Gradients gradients(100'000, 0.01, kSeed);
  const oracle::FloatModel model =
      Train(Rule(Optimizer::kSgd, Decay::kPerCycle, Buffering::kEmbedded),
            Pushes::kPlain, 16, gradients);
  const NoiseSums& sums = model.cycle.noise.moment;
  const double naive = model.MomentumSquares() / (sums.mass * sums.mass);
  const double rho = NoiseLeft(sums);
  EXPECT_NEAR(rho, 0.0191, 0.0001);
  EXPECT_NEAR(naive / gradients.mean_squared(), 1 + rho / 0.01,
              3 * Deviation(rho, 0.01, gradients.elems()));
}

// A short cycle, a clip of the moments, of the mean gradient, of each push:
// all are in the sums as they are in m. Clipped pushes are all clipped alike,
// since their norms hardly differ: both results are smaller by the square.
TEST(NoiseTest, StaysRightWithShortCyclesAndClips) {
  for (const Buffering buffering :
       {Buffering::kEmbedded, Buffering::kClassic}) {
    Gradients gradients(100'000, 0.1, kSeed + 1);
    const double power = gradients.mean_squared() + gradients.variance();
    RuleSpec spec = Rule(Optimizer::kAdam, Decay::kPerCycle, buffering);
    oracle::FloatModel model(spec, std::vector<float>(gradients.elems()));
    double factor = 1;
    for (int push = 0; push < 80; ++push) {
      // Now and then, a norm that half of the updates are above.
      model.spec.hyper.clip_norm = push % 20 < 10 ? 0.4 * std::sqrt(power) : 0;
      if (push == 40) {
        factor = 0.25;
        model.spec.hyper.clip_push_norm = factor * std::sqrt(power);
        model.cycle = {};
        model.m.assign(gradients.elems(), 0.0f);
        model.v.assign(gradients.elems(), 0.0f);
      }
      model.Push(gradients.Next(1));
      if (push % 7 == 5 && model.cycle.position > 0) model.Close();
      if (push % 20 != 19) continue;
      if (model.cycle.position > 0) model.Close();
      SCOPED_TRACE(testing::Message() << "push " << push);
      const auto estimate = EstimateOf(model);
      ASSERT_TRUE(estimate.has_value());
      const double scale = factor * factor;
      // As above: 3 deviations with rho < 0.08 are 0.027.
      EXPECT_LT(3 * Deviation(estimate->noise_left, 0.1, gradients.elems()),
                0.04);
      EXPECT_NEAR(estimate->variance / gradients.variance() / scale, 1, 0.04);
      EXPECT_NEAR(estimate->mean_squared / gradients.mean_squared() / scale, 1,
                  0.05);
    }
  }
}

// However small a clip's factor, a clipped cycle brings its own noise only.
TEST(NoiseTest, AClipOfTheMeanTakesNothingElseAway) {
  const RuleSpec spec =
      Rule(Optimizer::kAdam, Decay::kPerCycle, Buffering::kClassic);
  for (const double factor : {0.5, 1e-3, 1e-8, 1e-12, 1e-30}) {
    SCOPED_TRACE(testing::Message() << "factor " << factor);
    CycleState state;
    const auto clipped_cycle = [&] {
      for (int push = 0; push < 4; ++push) PlanPush(spec, {}, state);
      ClipNoise(factor, /*of_cycle=*/true, state.noise);
    };
    clipped_cycle();
    EXPECT_DOUBLE_EQ(NoiseLeft(state.noise.moment), 0.25);
    EXPECT_DOUBLE_EQ(MeanStepShare(state.noise.moment), 1);
    EXPECT_EQ(state.noise.moment, state.noise.cycle);
    // Of two cycles the first counts 0.9 times.
    clipped_cycle();
    EXPECT_NEAR(NoiseLeft(state.noise.moment), 0.25 * (0.81 + 1) / (1.9 * 1.9),
                1e-7);
  }
}

// m is as large as W says when all gradients are 1, whatever is done to it.
TEST(NoiseTest, TheMassIsWhatMWouldBeHadEveryGradientBeenOne) {
  for (Case c : Cases()) {
    for (const double clip_norm : {0.0, 0.3}) {
      SCOPED_TRACE(testing::Message() << c.name << ", clip " << clip_norm);
      c.spec.hyper.clip_norm = clip_norm;
      oracle::FloatModel model(c.spec, {0.0f});
      for (int64_t push = 0; push < 60; ++push) {
        const bool closes = push % 11 == 10 && model.cycle.position > 0;
        if (closes) {
          model.Close();
        } else {
          model.Push({1.0f}, Facts(c.pushes, push, model.cycle));
        }
        if (FoldsMean(c.spec) && model.cycle.position > 0) {
          continue;  // the mean is not in m
        }
        // 2^-24 for each of at most 3 roundings a push.
        const double m = model.m[0];
        ASSERT_NEAR(model.cycle.noise.moment.mass, m, m * 200 * 0x1p-24);
        ASSERT_NEAR(model.cycle.noise.moment.power, m, m * 200 * 0x1p-24);
      }
    }
  }
}

// k equal pushes of a cycle leave 1/k of their noise in its mean.
TEST(NoiseTest, TheCyclesOwnShareIsThatOfItsPushes) {
  for (const Buffering buffering :
       {Buffering::kEmbedded, Buffering::kClassic}) {
    RuleSpec spec = Rule(Optimizer::kAdam, Decay::kPerCycle, buffering);
    CycleState state;
    for (int push = 0; push < 12; ++push) PlanPush(spec, {}, state);
    EXPECT_DOUBLE_EQ(NoiseLeft(state.noise.cycle), 0.25);
    PushFacts pair;
    pair.micro_steps = 2;
    for (int push = 0; push < 2; ++push) PlanPush(spec, pair, state);
    EXPECT_DOUBLE_EQ(NoiseLeft(state.noise.cycle), 0.25);
    // Weights 1 and 3: (1 + 9)/16.
    PushFacts heavy;
    heavy.weight = 3;
    PlanPush(spec, {}, state);
    PlanPush(spec, heavy, state);
    PlanClose(spec, state);
    EXPECT_DOUBLE_EQ(NoiseLeft(state.noise.cycle), 10.0 / 16);
  }
}

TEST(NoiseTest, NothingIsSaidWithoutEnoughToGoBy) {
  CycleState state;
  EXPECT_FALSE(EstimateNoise(state.noise.moment, 0).has_value());
  RuleSpec spec = Rule(Optimizer::kSgd, Decay::kPerCycle, Buffering::kEmbedded);
  spec.k = spec.update_every = 1;
  PushFacts facts;
  facts.norm = 2;
  PlanPush(spec, facts, state);
  // One push: its mean may be all signal or all noise.
  EXPECT_FALSE(
      EstimateNoise(state.noise.moment, 4 * state.noise.moment.squares));
  PlanPush(spec, facts, state);
  EXPECT_TRUE(
      EstimateNoise(state.noise.moment, 4 * state.noise.moment.squares));

  CycleState still;
  PlanPush(spec, {}, still);
  PlanPush(spec, {}, still);
  EXPECT_FALSE(EstimateNoise(still.noise.moment, 0).has_value());
}

// Without momentum m is the last gradient: of one push, so nothing; with two a
// cycle, enough.
TEST(NoiseTest, WithoutMomentumACycleOfSeveralPushesIsEnough) {
  Gradients gradients(100'000, 1.0, kSeed + 2);
  RuleSpec spec = Rule(Optimizer::kSgd, Decay::kPerCycle, Buffering::kEmbedded);
  spec.hyper.beta1 = 0;
  const auto estimate = EstimateOf(Train(spec, Pushes::kPlain, 3, gradients));
  ASSERT_TRUE(estimate.has_value());
  EXPECT_NEAR(estimate->variance / gradients.variance(), 1, 0.05);
  EXPECT_NEAR(estimate->mean_squared / gradients.mean_squared(), 1, 0.05);
  spec.k = spec.update_every = 1;
  EXPECT_FALSE(EstimateOf(Train(spec, Pushes::kPlain, 3, gradients)));
}

// Errata, eq. 24: C = SNR^2/(1 + SNR^2) is its limit for large k only; at
// SNR^2 = 0.1 and k = 4 it is 0.318, not 0.091.
TEST(NoiseTest, ThePowerLeftDependsOnK) {
  const NoiseEstimate estimate = {
      .variance = 1, .mean_squared = 0.1, .noise_left = 0.01};
  EXPECT_NEAR(PowerLeft(estimate, 4), 0.318, 0.0005);
  EXPECT_NEAR(PowerLeft(estimate, int64_t{1} << 40), 0.091, 0.0005);
  EXPECT_EQ(PowerLeft(estimate, 1), 1);
}

// Errata, eq. 48: averaging k = CV leaves noise/signal = sqrt(CV); equal power
// needs CV^2.
TEST(NoiseTest, AveragingCvLeavesMoreNoiseThanSignal) {
  const NoiseEstimate estimate = {
      .variance = 16, .mean_squared = 1, .noise_left = 0.01};
  const double cv = CoefficientOfVariation(estimate, 1000).value;
  EXPECT_EQ(cv, 4);
  EXPECT_FALSE(CoefficientOfVariation(estimate, 1000).at_least);
  const auto noise_to_signal = [&](double k) {
    return std::sqrt(estimate.variance / k / estimate.mean_squared);
  };
  EXPECT_EQ(noise_to_signal(cv), std::sqrt(cv));
  EXPECT_EQ(noise_to_signal(cv * cv), 1);
}

// Of pure noise of N elements the estimate of mu^2 has the standard deviation
// that the threshold is made of: here it is measured. These elements deviate by
// 1/2 and 3/2, so that it is larger by sqrt(mean of s^4)/(mean of s^2) = 1.28.
// With 400 draws it is known within 5 * 1/sqrt(2*400) = 18 %.
TEST(NoiseTest, WhatNoiseAloneLooksLikeIsKnown) {
  constexpr int kDraws = 400;
  constexpr int64_t kElems = 200;
  const RuleSpec spec =
      Rule(Optimizer::kSgd, Decay::kPerCycle, Buffering::kEmbedded);
  double sum = 0, squares = 0, error = 0;
  int seen = 0;
  for (int draw = 0; draw < kDraws; ++draw) {
    Gradients gradients(kElems, 0.0, kSeed + 100 + static_cast<uint64_t>(draw));
    oracle::FloatModel model = Train(spec, Pushes::kPlain, 16, gradients);
    const NoiseSums& sums = model.cycle.noise.moment;
    const double rho = NoiseLeft(sums);
    // Unlike the estimate it may be below 0.
    const double left = model.MomentumSquares() / sums.mass / sums.mass;
    const double distance = MeanStepShare(sums) - rho;
    const double variance = (sums.power / sums.mass - left) / distance;
    const double mean = left - rho * variance;
    sum += mean;
    squares += mean * mean;
    error += rho * variance * std::sqrt(2.0 / static_cast<double>(kElems));
    const auto estimate = EstimateNoise(sums, model.MomentumSquares());
    ASSERT_TRUE(estimate.has_value());
    if (!CoefficientOfVariation(*estimate, kElems).at_least) ++seen;
  }
  const double deviation = std::sqrt(2.5625) / 1.25 * error / kDraws;
  EXPECT_NEAR(std::sqrt(squares / kDraws), deviation, 0.18 * deviation);
  EXPECT_NEAR(sum / kDraws, 0, 5 * deviation / std::sqrt(kDraws));
  // Three of the nominal ones are 2.3 of those: noise of such elements passes
  // for a mean once in a hundred times; never often.
  EXPECT_LT(seen, kDraws / 20);
}

TEST(NoiseTest, ASignalThatCannotBeSeenHasALeastVariation) {
  Gradients gradients(1000, 0.0, kSeed + 3);
  const RuleSpec spec =
      Rule(Optimizer::kSgd, Decay::kPerCycle, Buffering::kEmbedded);
  oracle::FloatModel model = Train(spec, Pushes::kPlain, 16, gradients);
  // Less than noise alone leaves: all of what is there is noise.
  const NoiseSums& sums = model.cycle.noise.moment;
  const auto estimate = EstimateNoise(sums, 0.5 * model.MomentumSquares());
  ASSERT_TRUE(estimate.has_value());
  EXPECT_EQ(estimate->mean_squared, 0);
  const Variation variation = CoefficientOfVariation(*estimate, 1000);
  EXPECT_TRUE(variation.at_least);
  EXPECT_DOUBLE_EQ(variation.value,
                   1 / std::sqrt(3 * NoiseLeft(sums) * std::sqrt(2.0 / 1000)));
}

}  // namespace
}  // namespace accrue::rule
