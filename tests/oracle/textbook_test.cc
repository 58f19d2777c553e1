#include "tests/oracle/textbook.h"

#include <cmath>
#include <cstdint>
#include <iostream>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/oracle/combinations.h"
#include "tests/oracle/oracle.h"

namespace accrue::oracle {
namespace {

constexpr uint32_t kSeed = 2021;

std::vector<double> Noise(int64_t count) {
  std::mt19937 random(kSeed);
  std::normal_distribution<double> normal;
  std::vector<double> x(static_cast<size_t>(count));
  for (double& e : x) e = normal(random);
  return x;
}

rule::RuleSpec Of(rule::Optimizer optimizer, int64_t k) {
  rule::RuleSpec spec;
  spec.optimizer = optimizer;
  spec.k = spec.update_every = k;
  spec.hyper.learning_rate = 0.01;
  return spec;
}

// As PyTorch documents SGD, dampening 0, with what it calls mu and lambda.
TEST(TextbookTest, SgdAtKOneIsPyTorchs) {
  for (const bool nesterov : {false, true}) {
    rule::RuleSpec spec = Of(rule::Optimizer::kSgd, 1);
    spec.nesterov = nesterov;
    spec.hyper.weight_decay = 0.1;
    Textbook textbook(spec, {1.0});
    double theta = 1.0, b = 0;
    const double lambda = 0.1, mu = 0.9, gamma = 0.01;
    for (const double gradient : Noise(200)) {
      textbook.Push({gradient}, {});
      double g = gradient + lambda * theta;
      b = mu * b + g;
      g = nesterov ? g + mu * b : b;
      theta = theta - gamma * g;
      ASSERT_NEAR(textbook.theta()[0], theta, 1e-12);
    }
  }
}

// As PyTorch documents Adam and AdamW; epsilon outside the root.
TEST(TextbookTest, AdamAndAdamWAtKOneArePyTorchs) {
  for (const rule::Optimizer optimizer :
       {rule::Optimizer::kAdam, rule::Optimizer::kAdamW}) {
    const bool decoupled = optimizer == rule::Optimizer::kAdamW;
    rule::RuleSpec spec = Of(optimizer, 1);
    spec.buffering = rule::Buffering::kClassic;
    spec.hyper.weight_decay = 0.1;
    Textbook textbook(spec, {1.0});
    double theta = 1.0, m = 0, v = 0;
    const double lambda = 0.1, lr = 0.01;
    int t = 0;
    for (const double gradient : Noise(200)) {
      textbook.Push({gradient}, {});
      ++t;
      double g = gradient;
      if (decoupled) {
        theta = theta - lr * lambda * theta;
      } else {
        g = g + lambda * theta;
      }
      m = 0.9 * m + 0.1 * g;
      v = 0.999 * v + 0.001 * g * g;
      const double m_hat = m / (1 - std::pow(0.9, t));
      const double v_hat = v / (1 - std::pow(0.999, t));
      theta = theta - lr * m_hat / (std::sqrt(v_hat) + 1e-8);
      ASSERT_NEAR(textbook.theta()[0], theta, 1e-12);
    }
  }
}

// As the article on signSGD writes Signum, with its decay taken off first.
TEST(TextbookTest, SignumAtKOneStepsBySigns) {
  rule::RuleSpec spec = Of(rule::Optimizer::kSignum, 1);
  spec.hyper.dampening = 0.9;
  spec.hyper.weight_decay = 0.1;
  Textbook textbook(spec, {1.0});
  double theta = 1.0, m = 0;
  for (const double g : Noise(200)) {
    textbook.Push({g}, {});
    m = 0.9 * m + 0.1 * g;
    theta = theta - 0.01 * 0.1 * theta - 0.01 * std::copysign(1.0, m);
    ASSERT_NEAR(textbook.theta()[0], theta, 1e-12);
  }
}

// As the article on Lion writes its program.
TEST(TextbookTest, LionAtKOneIsThePublishedProgram) {
  rule::RuleSpec spec = Of(rule::Optimizer::kLion, 1);
  spec.hyper.beta2 = 0.99;
  spec.hyper.weight_decay = 0.1;
  Textbook textbook(spec, {1.0});
  double theta = 1.0, m = 0;
  for (const double g : Noise(200)) {
    textbook.Push({g}, {});
    const double update = std::copysign(1.0, 0.9 * m + (1 - 0.9) * g);
    m = 0.99 * m + (1 - 0.99) * g;
    theta = theta - 0.01 * (update + 0.1 * theta);
    ASSERT_NEAR(textbook.theta()[0], theta, 1e-12);
  }
}

// As the article on LAMB writes it, over the one tensor that there is; its phi
// is the identity.
TEST(TextbookTest, LambAtKOneIsThePublishedProgram) {
  rule::RuleSpec spec = Of(rule::Optimizer::kLamb, 1);
  spec.hyper.weight_decay = 0.1;
  Textbook textbook(spec, {1.0, -3.0});
  double x[2] = {1.0, -3.0}, m[2] = {}, v[2] = {}, r[2];
  const std::vector<double> noise = Noise(400);
  for (int t = 1; t <= 200; ++t) {
    const double g[2] = {noise[2 * t - 2], noise[2 * t - 1]};
    textbook.Push({g[0], g[1]}, {});
    for (int i = 0; i < 2; ++i) {
      m[i] = 0.9 * m[i] + 0.1 * g[i];
      v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
      r[i] = m[i] / (1 - std::pow(0.9, t)) /
             (std::sqrt(v[i] / (1 - std::pow(0.999, t))) + 1e-8);
      r[i] += 0.1 * x[i];
    }
    const double phi = std::hypot(x[0], x[1]) / std::hypot(r[0], r[1]);
    for (int i = 0; i < 2; ++i) {
      x[i] -= 0.01 * phi * r[i];
      ASSERT_NEAR(textbook.theta()[static_cast<size_t>(i)], x[i], 1e-11);
    }
  }
}

// Textbook accumulation: k gradients are one step on their mean.
TEST(TextbookTest, ClassicIsKOneOnTheMean) {
  for (const rule::Optimizer optimizer :
       {rule::Optimizer::kSgd, rule::Optimizer::kAdam, rule::Optimizer::kAdamW,
        rule::Optimizer::kSignum, rule::Optimizer::kLion,
        rule::Optimizer::kLamb}) {
    rule::RuleSpec spec = Of(optimizer, 4);
    spec.buffering = rule::Buffering::kClassic;
    spec.hyper.weight_decay = 0.1;
    Textbook by_four(spec, {1.0});
    spec.k = spec.update_every = 1;
    Textbook mean(spec, {1.0});
    const std::vector<double> noise = Noise(400);
    for (size_t i = 0; i < noise.size(); i += 4) {
      double sum = 0;
      for (size_t j = i; j < i + 4; ++j) {
        by_four.Push({noise[j]}, {});
        sum += noise[j];
      }
      mean.Push({sum / 4}, {});
      ASSERT_NEAR(by_four.theta()[0], mean.theta()[0], 1e-12);
    }
  }
}

// The article's SGDM (eq. 7), and its algorithm 2 by its own equations (25 to
// 27, epsilon inside the root).
TEST(TextbookTest, PerCycleIsTheArticles) {
  const int64_t k = 4;
  const double beta1 = 0.9, beta2 = 0.999, alpha = 0.01;
  rule::RuleSpec spec = Of(rule::Optimizer::kSgd, k);
  spec.hyper.dampening = beta1;
  Textbook sgdm(spec, {1.0});
  spec = Of(rule::Optimizer::kAdam, k);
  spec.epsilon_place = rule::EpsilonPlace::kInside;
  Textbook adam(spec, {1.0});
  double m = 0, v = 0, sgdm_theta = 1.0, adam_theta = 1.0;
  int64_t t = 0;
  for (const double g : Noise(400)) {
    sgdm.Push({g}, {});
    adam.Push({g}, {});
    ++t;
    const double chi_begin = (t - 1) % k == 0 ? 1 : 0;
    m = ((beta1 - 1) * chi_begin + 1) * m + (1 - beta1) / k * g;
    v = ((beta2 - 1) * chi_begin + 1) * v + (1 - beta2) / k * g * g;
    if (t % k != 0) continue;
    sgdm_theta -= alpha * m;
    const auto exponent = static_cast<double>(t / k);
    const double m_hat = m / (1 - std::pow(beta1, exponent));
    const double v_hat = v / (1 - std::pow(beta2, exponent));
    adam_theta -= alpha * m_hat / std::sqrt(v_hat + 1e-8);
    ASSERT_NEAR(sgdm.theta()[0], sgdm_theta, 1e-12);
    ASSERT_NEAR(adam.theta()[0], adam_theta, 1e-12);
  }
}

// The plans' floats mean what the textbook says, in every combination that is
// allowed. Narrowing a keep moves it by 2^-25 relative, and a moment by that
// over 1 - keep: at most 1/(0.01/7) = 700, of b2 = 0.99 sliding at k = 7. A
// gain, a mass, a rate add 2^-24 each: 5 of them. sqrt halves v's part. A step
// is moved by (700/2 + 700 + 5) 2^-24 = 6.3e-5 relative, if a moment is as
// large as what it is made of; where its parts cancel, it is moved by that much
// of them, which momentum's 1/(1-b) = 10 covers. By as much a number may be off
// whose sign is taken: elements that had one below 1e-3 of the largest are left
// out. A trust ratio is off by what its norms are off by, which is no more.
TEST(TextbookTest, ThePlansMeanTheTextbookInEveryAllowedCombination) {
  std::cout << "seed " << kSeed << "\n";
  std::mt19937 random(kSeed);
  // Norms around 6, Combination's clip_push_norm.
  std::normal_distribution<float> normal(0.0f, 2.5f);
  constexpr size_t kElems = 6;
  double worst = 0;
  int64_t clipped = 0, unsure = 0, elements = 0;
  for (const Combination& c : AllowedCombinations()) {
    std::vector<float> theta(kElems);
    for (float& x : theta) x = normal(random);
    Oracle oracle({{c.Rule(), theta}});
    Textbook textbook(c.Rule(), {theta.begin(), theta.end()});
    std::vector<double> way(kElems), last(theta.begin(), theta.end());
    for (int64_t push = 0; push < 60; ++push) {
      std::vector<float> g(kElems);
      for (float& x : g) x = normal(random);
      rule::PushFacts facts = c.Facts(push);
      facts.scale = 1.25;
      if (push % 10 == 9) facts.gain_factor = 0.5;
      oracle.Push({g}, facts);
      textbook.Push({g.begin(), g.end()}, facts);
      if (push % 11 == 5 && oracle.cycle(0).position > 0) {
        oracle.Close();
        textbook.Close();
      }
      for (size_t e = 0; e < kElems; ++e) {
        way[e] += std::abs(textbook.theta()[e] - last[e]);
        last[e] = textbook.theta()[e];
      }
    }
    ASSERT_EQ(oracle.cycle(0).updates, textbook.updates()) << c.Name();
    elements += static_cast<int64_t>(kElems);
    clipped += oracle.clipped_pushes() + oracle.clipped_updates();
    for (size_t e = 0; e < kElems; ++e) {
      if (textbook.least_sign_share(e) < 1e-3) {
        ++unsure;
        continue;
      }
      const double off =
          std::abs(oracle.theta(0)[e].value - textbook.theta()[e]);
      ASSERT_LT(off, 6.3e-4 * way[e]) << c.Name();
      worst = std::max(worst, off / way[e]);
    }
  }
  EXPECT_GT(clipped, 100'000);
  EXPECT_LT(unsure, elements / 50);
  std::cout << "largest difference, of the way walked: " << worst << "\n";
}

}  // namespace
}  // namespace accrue::oracle
