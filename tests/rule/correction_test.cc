// CORRECTED: embedded accumulation that steps as Adam on mean gradients would.
// The other side is CLASSIC's Adam, written out in double on the same
// gradients.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/rule/cycle.h"
#include "tests/oracle/float_model.h"

namespace accrue::rule {
namespace {

constexpr uint32_t kSeed = 20210829;
constexpr size_t kElems = 2000;
constexpr int kUpdates = 60;

RuleSpec Adam(SecondMoment second_moment, int64_t k) {
  RuleSpec spec;
  spec.optimizer = Optimizer::kAdam;
  spec.second_moment = second_moment;
  spec.k = spec.update_every = k;
  spec.hyper.learning_rate = 0x1p-10;
  return spec;
}

// Of each element: its mean gradient, and the deviation of one push's.
struct Setting {
  std::string name;
  std::function<void(size_t e, std::mt19937& random, float& mean,
                     float& deviation)>
      make;
};

const Setting& Homogeneous() {
  static const auto* const setting = new Setting{
      "homogeneous", [](size_t, std::mt19937&, float& mean, float& deviation) {
        mean = std::sqrt(0.1f);
        deviation = 1;
      }};
  return *setting;
}

std::vector<Setting> Settings() {
  const auto every = [](size_t period) {
    return [period](size_t e, std::mt19937&, float& mean, float& deviation) {
      const bool signal = e % period == 0;
      mean = signal ? 1 : 0;
      deviation = signal ? 0.1f : 1;
    };
  };
  return {Homogeneous(),
          {"half signal, half noise", every(2)},
          {"sparse signal", every(20)},
          {"lognormal",
           [](size_t, std::mt19937& random, float& mean, float& deviation) {
             std::normal_distribution<float> normal;
             mean = 0.3f * std::exp(normal(random));
             deviation = std::exp(normal(random));
           }}};
}

// Adam on the mean of k gradients, as its authors wrote it.
class MeanAdam {
 public:
  explicit MeanAdam(double beta1) : beta1_(beta1), m_(kElems), v_(kElems) {}

  // The update's norm, over lr.
  double Step(const std::vector<double>& mean) {
    ++t_;
    double squares = 0;
    for (size_t e = 0; e < kElems; ++e) {
      m_[e] = beta1_ * m_[e] + (1 - beta1_) * mean[e];
      v_[e] = 0.999 * v_[e] + 0.001 * mean[e] * mean[e];
      const double m_hat = m_[e] / (1 - std::pow(beta1_, t_));
      const double v_hat = v_[e] / (1 - std::pow(0.999, t_));
      const double step = m_hat / (std::sqrt(v_hat) + 1e-8);
      squares += step * step;
    }
    return std::sqrt(squares);
  }

 private:
  const double beta1_;
  std::vector<double> m_, v_;
  int t_ = 0;
};

// Norms of each update after the 20th as shares of MeanAdam's.
struct Shares {
  double least = 1e9, most = 0;
};

Shares Compare(const Setting& setting, SecondMoment second_moment, double beta1,
               int64_t k) {
  std::mt19937 random(kSeed);
  std::normal_distribution<float> normal;
  std::vector<float> mean(kElems), deviation(kElems);
  for (size_t e = 0; e < kElems; ++e) {
    setting.make(e, random, mean[e], deviation[e]);
  }
  RuleSpec spec = Adam(second_moment, k);
  spec.hyper.beta1 = beta1;
  EXPECT_EQ(ValidateRule(spec), "");
  oracle::FloatModel model(spec, std::vector<float>(kElems));
  MeanAdam adam(beta1);
  Shares shares;
  for (int update = 1; update <= kUpdates; ++update) {
    // The way of this update alone, without what theta's size rounds off.
    std::fill(model.theta.begin(), model.theta.end(), 0.0f);
    std::vector<double> sum(kElems);
    for (int64_t push = 0; push < k; ++push) {
      std::vector<float> g(kElems);
      for (size_t e = 0; e < kElems; ++e) {
        g[e] = mean[e] + deviation[e] * normal(random);
        sum[e] += static_cast<double>(g[e]) / static_cast<double>(k);
      }
      model.Push(g);
    }
    double squares = 0;
    for (const float x : model.theta) {
      squares += static_cast<double>(x) * static_cast<double>(x);
    }
    const double share = std::sqrt(squares) * 0x1p10 / adam.Step(sum);
    if (update <= 20) continue;
    shares.least = std::min(shares.least, share);
    shares.most = std::max(shares.most, share);
  }
  return shares;
}

// The aim, a tenth, is ten times what sampling leaves of a norm over so many
// elements, 1/sqrt(2*2000) = 1.6 %: what is seen is the estimate's own error.
TEST(CorrectionTest, StepsAreAsLongAsThoseOfAdamOnMeanGradients) {
  std::cout << "seed " << kSeed << "\n";
  for (const Setting& setting : Settings()) {
    for (const double beta1 : {0.9, 0.99}) {
      for (const int64_t k : {2, 4, 8}) {
        const Shares shares =
            Compare(setting, SecondMoment::kCorrected, beta1, k);
        std::cout << setting.name << ", beta1 " << beta1 << ", k " << k << ": "
                  << shares.least << " to " << shares.most << "\n";
        EXPECT_GT(shares.least, 0.9) << setting.name << ", k = " << k;
        EXPECT_LT(shares.most, 1.1) << setting.name << ", k = " << k;
      }
    }
  }
}

// The article's eq. 24 set right: at SNR^2 = 0.1 and k = 4 it is C_k = 0.318 by
// which ARTICLE's v is too large, and steps are sqrt(C_k) = 0.564 as long.
TEST(CorrectionTest, ArticlesStepsAreShorterByTheRootOfCk) {
  std::cout << "seed " << kSeed << "\n";
  const double c_k = (0.1 + 1.0 / 4) / (0.1 + 1);
  EXPECT_NEAR(c_k, 0.318, 0.0005);
  const Shares shares = Compare(Homogeneous(), SecondMoment::kArticle, 0.9, 4);
  // v averages 20 mean gradients and more, 80 pushes: E[1/sqrt(v)] is above
  // 1/sqrt(E[v]) by 3/8 of v's relative variance, at most 2/20.
  EXPECT_NEAR(shares.least, std::sqrt(c_k), 0.05);
  EXPECT_NEAR(shares.most, std::sqrt(c_k), 0.05);
}

// k = 4, equal pushes: R = 4*(1/4)^2 of W^2 = 1. And of a cycle that was closed
// after two, whose pushes are all that m holds.
TEST(CorrectionTest, ScalarsOfAFirstCycle) {
  RuleSpec spec = Adam(SecondMoment::kCorrected, 4);
  spec.hyper.beta1 = 0.5;
  CycleState state;
  for (int push = 0; push < 3; ++push) PlanPush(spec, PushFacts{}, state);
  CycleState short_state = state;
  const UpdateScalars update = *PlanPush(spec, PushFacts{}, state).update;
  EXPECT_EQ(update.inv_weight, 2.0f);
  EXPECT_FLOAT_EQ(update.signal_gain, 4.0f / 3);
  EXPECT_FLOAT_EQ(update.noise_gain, 1.0f / 3);
  EXPECT_EQ(update.noise_share, 0.25f);
  const UpdateScalars closed = PlanClose(spec, short_state).update;
  EXPECT_FLOAT_EQ(closed.signal_gain, 1.5f);
  EXPECT_FLOAT_EQ(closed.noise_gain, 0.5f);
  EXPECT_FLOAT_EQ(closed.noise_share, 1.0f / 3);
}

// A push of n micro-steps brings a mean with an n-th of the noise: as one push
// a cycle it leaves nothing to separate at first, and nothing to average ever.
TEST(CorrectionTest, OnePushOfAllMicroStepsNeedsNoCorrection) {
  const RuleSpec spec = Adam(SecondMoment::kCorrected, 4);
  PushFacts facts;
  facts.micro_steps = 4;
  CycleState state;
  UpdateScalars update = *PlanPush(spec, facts, state).update;
  EXPECT_EQ(update.signal_gain, 1.0f);
  EXPECT_EQ(update.noise_gain, 0.0f);
  EXPECT_FLOAT_EQ(update.noise_share, 1.0f);
  update = *PlanPush(spec, facts, state).update;
  EXPECT_GT(update.noise_gain, 0.0f);
  EXPECT_FLOAT_EQ(update.noise_share, 1.0f);
}

TEST(CorrectionTest, AtKOneItIsTheArticles) {
  for (const Decay decay : {Decay::kPerCycle, Decay::kSliding}) {
    RuleSpec spec = Adam(SecondMoment::kCorrected, 1);
    spec.decay = decay;
    CycleState corrected, article;
    for (int push = 0; push < 5; ++push) {
      EXPECT_EQ(ValidateRule(spec), "");
      spec.second_moment = SecondMoment::kCorrected;
      const PushPlan got = PlanPush(spec, PushFacts{}, corrected);
      spec.second_moment = SecondMoment::kArticle;
      const PushPlan want = PlanPush(spec, PushFacts{}, article);
      EXPECT_EQ(got.update->signal_gain, 0.0f);
      EXPECT_EQ(got.update->lr, want.update->lr);
      EXPECT_EQ(got.update->inv_mass2, want.update->inv_mass2);
      EXPECT_EQ(got.push.gain2, want.push.gain2);
    }
  }
}

}  // namespace
}  // namespace accrue::rule
