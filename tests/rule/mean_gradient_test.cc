// What the article is about: gradients folded into the moments one by one are
// one step on their mean. The statements of the rule that need no tensor code.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <numeric>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "server/rule/coefficients.h"
#include "server/rule/cycle.h"
#include "tests/oracle/float_model.h"
#include "tests/oracle/textbook.h"

namespace accrue::rule {
namespace {

constexpr uint32_t kSeed = 20210824;

std::mt19937 Seeded() {
  std::cout << "seed " << kSeed << "\n";
  return std::mt19937(kSeed);
}

RuleSpec Sgd(double beta, double dampening, int64_t k) {
  RuleSpec spec;
  spec.optimizer = Optimizer::kSgd;
  spec.k = spec.update_every = k;
  spec.hyper.beta1 = beta;
  spec.hyper.dampening = dampening;
  spec.hyper.learning_rate = 0.125;
  return spec;
}

std::vector<double> Widen(const std::vector<float>& x) {
  return {x.begin(), x.end()};
}

// Bitwise where nothing rounds: b = d = 1/2, so q = 1; gains 2^-s with s <= 3;
// integers |g| <= 8 = 2^3, hence |m| <= 8, P = 3. P + s + q*(U-1) = 3 + 3 + 15
// <= 24 bits hold every m of U = 16 cycles exactly.
TEST(MeanGradientTest, MomentumOverKPushesIsOneStepOnTheMeanBitForBit) {
  std::mt19937 random = Seeded();
  std::uniform_int_distribution<int> integer(-8, 8);
  for (const int64_t k : {1, 2, 4}) {
    const size_t elems = 64;
    oracle::FloatModel model(Sgd(0.5, 0.5, k), std::vector<float>(elems));
    std::vector<float> m(elems), theta(elems);
    for (int cycle = 0; cycle < 16; ++cycle) {
      std::vector<float> sum(elems);
      for (int64_t i = 0; i < k; ++i) {
        std::vector<float> g(elems);
        for (size_t e = 0; e < elems; ++e) {
          g[e] = static_cast<float>(integer(random));
          sum[e] += g[e];
        }
        model.Push(g);
      }
      for (size_t e = 0; e < elems; ++e) {
        m[e] = 0.5f * m[e] + 0.5f * (sum[e] / static_cast<float>(k));
        theta[e] = theta[e] - 0.125f * m[e];
      }
      ASSERT_EQ(model.m, m) << "k = " << k << ", cycle " << cycle;
      ASSERT_EQ(model.theta, theta);
    }
  }
}

// Elsewhere within E_u = b*E_(u-1) + (k+8)*2^-24*S_u, where
// S_u = b*S_(u-1) + (1-d)/k*sum |g_i|.
TEST(MeanGradientTest, MomentumIsWithinItsRoundingOfOneStepOnTheMean) {
  std::mt19937 random = Seeded();
  std::normal_distribution<float> normal;
  for (const double b : {0.5, 0.9, 0.99}) {
    for (const double d : {0.0, 0.3, b}) {
      for (const int64_t k : {1, 2, 4, 7, 64}) {
        oracle::FloatModel model(Sgd(b, d, k), {0.0f});
        // Means in double: next to the bound they do not round at all. They
        // are those of the narrowed b, which is the one in use.
        const double narrow = static_cast<double>(static_cast<float>(b));
        const double gain = d == b ? 1 - narrow : 1 - d;
        double mean_m = 0, bound = 0, size = 0;
        for (int cycle = 0; cycle < 200; ++cycle) {
          double sum = 0, magnitude = 0;
          for (int64_t i = 0; i < k; ++i) {
            const float g = normal(random);
            sum += static_cast<double>(g);
            magnitude += std::abs(static_cast<double>(g));
            model.Push({g});
          }
          const auto count = static_cast<double>(k);
          mean_m = narrow * mean_m + gain * sum / count;
          size = narrow * size + gain / count * magnitude;
          bound = narrow * bound + (count + 8) * 0x1p-24 * size;
          ASSERT_NEAR(model.m[0], mean_m, bound)
              << "b = " << b << ", d = " << d << ", k = " << k << ", cycle "
              << cycle;
        }
      }
    }
  }
}

// Article, 7.2, pitfall 1: its code divides only the first micro-gradient by
// k, so that 1, 2, 3, 4 count as 1/4 + 2 + 3 + 4 = 9.25. Their mean is 2.5.
TEST(MeanGradientTest, EveryGradientOfACycleIsDividedByK) {
  for (const Buffering buffering :
       {Buffering::kEmbedded, Buffering::kClassic, Buffering::kGather}) {
    RuleSpec spec = Sgd(0.0, 0.0, 4);
    spec.hyper.learning_rate = 1.0;
    spec.buffering = buffering;
    oracle::FloatModel model(spec, {0.0f});
    for (const float g : {1.0f, 2.0f, 3.0f, 4.0f}) model.Push({g});
    EXPECT_EQ(model.theta[0], -2.5f);
  }
}

TEST(MeanGradientTest, ParametersStandStillBetweenUpdates) {
  RuleSpec spec = Sgd(0.9, 0.0, 4);
  spec.nesterov = true;
  spec.hyper.weight_decay = 0.1;
  oracle::FloatModel model(spec, {1.0f, -2.0f});
  std::vector<float> published = model.theta;
  for (int push = 0; push < 40; ++push) {
    const bool updated = model.Push({0.5f, 0.25f}).update.has_value();
    EXPECT_EQ(updated, push % 4 == 3);
    if (updated) {
      EXPECT_NE(model.theta, published);
      published = model.theta;
    }
    EXPECT_EQ(model.theta, published);
  }
}

// PyTorch's SGD with nesterov on the averaged gradient, in double, with a
// learning rate that changes from cycle to cycle and coupled L2:
//   g += wd*theta;  buf = b*buf + (1-d)*g;  theta -= lr*((1-d)*g + b*buf)
// PyTorch has it at d = 0 only; d = b is the same with m scaled by 1-b.
TEST(MeanGradientTest, NesterovWithoutTheAccumulatedGradientIsPyTorchs) {
  std::mt19937 random = Seeded();
  std::normal_distribution<float> normal;
  for (const Buffering buffering :
       {Buffering::kEmbedded, Buffering::kClassic, Buffering::kGather}) {
    for (const double d : {0.0, 0.875}) {
      for (const int64_t k : {1, 2, 4, 7}) {
        const double b = 0.875;
        RuleSpec spec = Sgd(b, d, k);
        spec.buffering = buffering;
        spec.nesterov = true;
        spec.hyper.weight_decay = 0x1p-6;
        spec.hyper.schedule.kind = Schedule::Kind::kCosine;
        spec.hyper.schedule.total_updates = 60;
        spec.hyper.schedule.warmup_updates = 5;
        ASSERT_EQ(ValidateRule(spec), "");
        oracle::FloatModel model(spec, {1.0f});
        double theta = 1, buf = 0;
        for (int cycle = 0; cycle < 80; ++cycle) {
          double sum = 0;
          for (int64_t i = 0; i < k; ++i) {
            const float g = normal(random);
            sum += static_cast<double>(g);
            model.Push({g});
          }
          const double lr = 0.125 * oracle::TextbookScheduleFactor(
                                        spec.hyper.schedule, cycle);
          const double g = sum / static_cast<double>(k) + 0x1p-6 * theta;
          buf = b * buf + (1 - d) * g;
          theta -= lr * ((1 - d) * g + b * buf);
          // |m| < 40 (|g| < 5, over 1-b), and of its (k + 6) roundings a
          // cycle those of 8 = 1/(1-b) cycles live on; a step takes lr*(1+b)
          // of it, and three roundings of its own. 80 of them.
          const double bound =
              80 * 0.25 * 40 * 0x1p-24 * (8 * static_cast<double>(k + 6) + 6);
          ASSERT_NEAR(model.theta[0], theta, bound) << "cycle " << cycle;
        }
      }
    }
  }
}

// Article, 7.2, pitfall 3, the other way round: clipping acts on what has been
// accumulated. Two large gradients that cancel are nothing to clip.
TEST(MeanGradientTest, ClippingSeesTheAccumulatedQuantity) {
  for (const Buffering buffering :
       {Buffering::kEmbedded, Buffering::kClassic, Buffering::kGather}) {
    RuleSpec spec = Sgd(0.0, 0.0, 2);
    spec.hyper.learning_rate = 1.0;
    spec.hyper.clip_norm = 1.0;
    spec.buffering = buffering;
    oracle::FloatModel model(spec, {0.0f, 0.0f});
    model.Push({100.0f, 0.5f});
    model.Push({-100.0f, 0.5f});
    EXPECT_EQ(model.theta, (std::vector<float>{0.0f, -0.5f}));
    model.Push({6.0f, 8.0f});
    model.Push({6.0f, 8.0f});  // norm 10, clipped to 1
    EXPECT_FLOAT_EQ(model.theta[0], -0.6f);
    EXPECT_FLOAT_EQ(model.theta[1], -1.3f);
  }
}

TEST(MeanGradientTest, PerPushClippingActsBeforeAnythingIsFolded) {
  RuleSpec spec = Sgd(0.0, 0.0, 2);
  spec.hyper.learning_rate = 1.0;
  spec.hyper.clip_push_norm = 5.0;
  oracle::FloatModel model(spec, {0.0f, 0.0f});
  PushFacts loss_scaled;
  loss_scaled.scale = 256.0;
  model.Push({6.0f, 8.0f});                            // 10 -> 5
  model.Push({3.0f * 256, -4.0f * 256}, loss_scaled);  // 5: as it is
  EXPECT_FLOAT_EQ(model.theta[0], -3.0f);
  EXPECT_FLOAT_EQ(model.theta[1], 0.0f);
}

// Without rounding the order of pushes does not matter.
// b = 0 and d = 1 - k*2^-s make the gain 2^-s; with lr = 2^-a and integers of
// total |sum| < 2^24 every partial result is a multiple of 2^-(s+a) that fits.
TEST(MeanGradientTest, IntegerGradientsAreOrderFree) {
  const int64_t k = 4;
  const double d = 1 - static_cast<double>(k) * 0x1p-6;
  const size_t elems = 32;
  std::vector<size_t> order(20 * k);
  std::iota(order.begin(), order.end(), 0);
  std::mt19937 random = Seeded();
  std::vector<float> want;
  for (int round = 0; round < 10; ++round) {
    RuleSpec spec = Sgd(0.0, d, k);
    spec.hyper.learning_rate = 0x1p-3;
    oracle::FloatModel model(spec, std::vector<float>(elems));
    for (const size_t push : order) {
      std::vector<float> one_hot(elems);
      one_hot[push % elems] = static_cast<float>(push + 1);
      const PushPlan plan = model.Push(one_hot);
      EXPECT_EQ(plan.push.gain1, 0x1p-6f);
    }
    if (want.empty()) want = model.theta;
    EXPECT_EQ(model.theta, want);
    std::shuffle(order.begin(), order.end(), random);
  }
  // A lost or doubled push would show in its element.
  std::vector<float> sums(elems);
  for (const size_t push : order) {
    sums[push % elems] -= static_cast<float>(push + 1) * 0x1p-9f;
  }
  EXPECT_EQ(want, sums);
}

// The three below: neither convention is Adam on the mean gradient.
double SecondMomentAfter(SecondMoment convention, int64_t k,
                         const std::vector<double>& gradients) {
  RuleSpec spec;
  spec.optimizer = Optimizer::kAdam;
  spec.second_moment = convention;
  spec.k = spec.update_every = k;
  spec.hyper.beta2 = 0.99;
  oracle::Textbook textbook(spec, {0.0});
  for (const double g : gradients) textbook.Push({g}, PushFacts{});
  return textbook.v()[0] / textbook.mass2();
}

TEST(MeanGradientTest, ForPureSignalArticleIsExactAndAdamaKTimesTooSmall) {
  const std::vector<double> signal(4 * 100, 0.5);
  EXPECT_NEAR(SecondMomentAfter(SecondMoment::kArticle, 4, signal), 0.25,
              1e-13);
  EXPECT_NEAR(SecondMomentAfter(SecondMoment::kAdama, 4, signal), 0.25 / 4,
              1e-13);
}

TEST(MeanGradientTest, ForPureNoiseAdamaIsRightAndArticleKTimesTooLarge) {
  std::mt19937 random = Seeded();
  std::normal_distribution<double> normal;
  std::vector<double> noise(4 * 20000);
  for (double& g : noise) g = normal(random);
  // Mean gradients have variance 1/k. v averages 4/(1-b2) = 400 squares of
  // relative variance 2: 3 standard deviations of their mean are 0.21.
  EXPECT_NEAR(4 * SecondMomentAfter(SecondMoment::kAdama, 4, noise), 1.0, 0.21);
  EXPECT_NEAR(SecondMomentAfter(SecondMoment::kArticle, 4, noise), 1.0, 0.21);
}

// The article's eq. 24 set right: C_k = (mu^2 + sigma^2/k)/(mu^2 + sigma^2); at
// SNR^2 = 0.1 and k = 4 it is 0.318. The article's 0.091 is the limit of k ->
// infinity.
TEST(MeanGradientTest, TheSquaredMeanIsCkTimesTheMeanSquare) {
  std::mt19937 random = Seeded();
  std::normal_distribution<double> normal(std::sqrt(0.1), 1.0);
  double squared_means = 0, mean_squares = 0;
  const int cycles = 400'000;
  for (int cycle = 0; cycle < cycles; ++cycle) {
    double sum = 0;
    for (int i = 0; i < 4; ++i) {
      const double g = normal(random);
      sum += g;
      mean_squares += g * g / 4;
    }
    squared_means += sum * sum / 16;
  }
  // Relative deviations: sqrt(2/400000) = 0.0022 of the squared means.
  EXPECT_NEAR(squared_means / mean_squares, 0.318, 3 * 0.0025 * 0.318);
}

// The plans' floats against the textbook, with momentum sgd over every decay:
// hundreds of pushes, weights and short cycles included, end where the
// textbook does. Adam's is in tests/oracle.
TEST(MeanGradientTest, EveryDecayFollowsItsTextbook) {
  std::mt19937 random = Seeded();
  std::normal_distribution<float> normal;
  for (const Decay decay : {Decay::kPerCycle, Decay::kPerPush, Decay::kSliding,
                            Decay::kSlidingExact}) {
    for (const int64_t k : {1, 2, 4, 7}) {
      RuleSpec spec = Sgd(0.9, 0.9, k);
      spec.decay = decay;
      spec.hyper.weight_decay = 0.01;
      oracle::FloatModel model(spec, {0.5f, -0.5f});
      oracle::Textbook textbook(spec, Widen(model.theta));
      double moved = 0;
      for (int push = 0; push < 400; ++push) {
        const std::vector<float> g = {normal(random), normal(random)};
        PushFacts facts;
        facts.weight = push % 3 == 0 ? 2.0 : 0.5;
        const PushPlan plan = model.Push(g, facts);
        textbook.Push(Widen(g), facts);
        if (push % 29 == 20 && model.cycle.position > 0) {
          model.Close();
          textbook.Close();
        }
        // A step moves by lr*|m| < 0.125 * 2 * 5.
        if (plan.update) moved += 0.125 * 10;
        // Narrowed keeps are off by 2^-25 relative, m by 10k times that
        // (1/(1-B) <= 10*k), plus as many roundings of its own: 2*10k*4.
        const double bound =
            moved * 0x1p-24 * 10 * static_cast<double>(k) * 8 + 0x1p-20;
        ASSERT_NEAR(model.theta[0], textbook.theta()[0], bound);
        ASSERT_NEAR(model.theta[1], textbook.theta()[1], bound);
      }
    }
  }
}

}  // namespace
}  // namespace accrue::rule
