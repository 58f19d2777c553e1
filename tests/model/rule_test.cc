// What the rule promises of floats, on the real shard behind a model.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <future>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

constexpr uint32_t kSeed = 20210824;

// b = d = 1/2 and gains 2^-s, s <= 3; integers |g| <= 2^3, hence |m| <= 2^3:
// 3 + 3 + 15 <= 24 bits hold every m of 16 cycles. No rounding is left to tell
// the pushes' way from the mean's.
TEST(RuleTest, KPushesAreOneStepOnTheirMeanBitForBit) {
  std::cout << "seed " << kSeed << "\n";
  std::mt19937 random(kSeed);
  std::uniform_int_distribution<int> integer(-8, 8);
  constexpr int64_t kElems = 67;
  Harness harness;
  for (const int64_t k : {1, 2, 4}) {
    ModelSpec spec = SimpleSpec(kElems, k);
    spec.groups[0].hyper.learning_rate = 0.125;
    spec.groups[0].hyper.beta1 = spec.groups[0].hyper.dampening = 0.5;
    auto model = harness.Make(spec);
    const std::string session = harness.Open(*model, "a")->id;
    std::vector<float> m(kElems), theta(kElems);
    for (int64_t cycle = 0; cycle < 16; ++cycle) {
      std::vector<float> sum(kElems);
      for (int64_t i = 0; i < k; ++i) {
        std::vector<float> gradient(kElems);
        for (size_t e = 0; e < gradient.size(); ++e) {
          gradient[e] = static_cast<float>(integer(random));
          sum[e] += gradient[e];
        }
        auto pushed =
            harness.PushNow(*model, session, cycle * k + i + 1, gradient);
        ASSERT_TRUE(pushed.ok()) << pushed.status();
      }
      for (size_t e = 0; e < m.size(); ++e) {
        m[e] = 0.5f * m[e] + 0.5f * (sum[e] / static_cast<float>(k));
        theta[e] = theta[e] - 0.125f * m[e];
      }
      const StateImage image = harness.Image(*model);
      ASSERT_EQ(image.momentum, m) << "k = " << k << ", cycle " << cycle;
      ASSERT_EQ(image.parameters, theta);
    }
  }
}

struct Choice {
  rule::Decay decay;
  rule::Buffering buffering;
};

// With one push a cycle there is nothing to accumulate.
TEST(RuleTest, AtKOneEveryDecayAndBufferingGiveTheSameBits) {
  std::cout << "seed " << kSeed << "\n";
  constexpr int64_t kElems = 67;
  Harness harness;
  using rule::Buffering, rule::Decay, rule::Optimizer;
  for (const Optimizer optimizer :
       {Optimizer::kSgd, Optimizer::kAdam, Optimizer::kAdamW,
        Optimizer::kSignum, Optimizer::kLion, Optimizer::kLamb}) {
    StateImage want;
    for (const Choice& choice :
         {Choice{Decay::kPerCycle, Buffering::kEmbedded},
          Choice{Decay::kPerPush, Buffering::kEmbedded},
          Choice{Decay::kSliding, Buffering::kEmbedded},
          Choice{Decay::kSlidingExact, Buffering::kEmbedded},
          Choice{Decay::kPerCycle, Buffering::kClassic},
          Choice{Decay::kPerCycle, Buffering::kGather}}) {
      ModelSpec spec = SimpleSpec(kElems, 1);
      spec.optimizer.optimizer = optimizer;
      spec.optimizer.decay = choice.decay;
      spec.optimizer.buffering = choice.buffering;
      rule::Hyperparameters& hyper = spec.groups[0].hyper;
      hyper = {};
      hyper.learning_rate = 0.01;
      if (rule::HasDampening(optimizer)) hyper.dampening = 0.3;
      if (optimizer != Optimizer::kAdam) hyper.weight_decay = 0.01;
      auto model = harness.Make(spec, 0.5);
      const std::string session = harness.Open(*model, "a")->id;
      std::mt19937 random(kSeed);
      std::normal_distribution<float> normal;
      for (int64_t push = 1; push <= 50; ++push) {
        std::vector<float> gradient(kElems);
        for (float& g : gradient) g = normal(random);
        ASSERT_TRUE(harness.PushNow(*model, session, push, gradient).ok());
      }
      StateImage got = Anonymous(harness.Image(*model));
      got.accumulation.clear();
      got.accumulation_bytes = 0;
      // Where a fold left off is told by those alone that fold a mean.
      for (rule::CycleState& cycle : got.cycles) {
        cycle.active = {};
        cycle.noise.before = {};
      }
      if (want.parameters.empty()) want = got;
      EXPECT_TRUE(got == want)
          << "optimizer " << static_cast<int>(optimizer) << ", decay "
          << static_cast<int>(choice.decay) << ", buffering "
          << static_cast<int>(choice.buffering);
    }
  }
}

// b = 0 and d = 1 - k*2^-6 make the gain 2^-6; with lr = 2^-3 and integers of
// |sum| < 2^24 every partial result is a multiple of 2^-9 that fits: several
// workers' one-hot gradients, in any order, end in parameters that tell what
// was lost or doubled by its element.
TEST(RuleTest, OneHotIntegersOfSeveralWorkersAreOrderFree) {
  std::cout << "seed " << kSeed << "\n";
  constexpr int64_t kElems = 96, kPushes = 4 * kElems;
  constexpr size_t kWorkers = 4;
  std::vector<int64_t> order(kPushes);
  std::vector<float> want(kElems);
  for (int64_t push = 0; push < kPushes; ++push) {
    order[static_cast<size_t>(push)] = push;
    want[static_cast<size_t>(push % kElems)] -=
        static_cast<float>(push + 1) * 0x1p-9f;
  }
  std::mt19937 random(kSeed);
  Harness harness;
  for (const int64_t k : {2, 4}) {
    ModelSpec spec = SimpleSpec(kElems, k);
    spec.max_staleness = -1;
    spec.groups[0].hyper.dampening = 1 - static_cast<double>(k) * 0x1p-6;
    spec.groups[0].hyper.learning_rate = 0x1p-3;
    for (int round = 0; round < 3; ++round) {
      auto model = harness.Make(spec);
      std::shuffle(order.begin(), order.end(), random);
      auto work = [&](size_t w) {
        const std::string worker = std::to_string(w);
        const std::string session = harness.Open(*model, worker)->id;
        int64_t sequence = 0;
        for (size_t i = w; i < order.size(); i += kWorkers) {
          std::vector<float> gradient(kElems);
          gradient[static_cast<size_t>(order[i] % kElems)] =
              static_cast<float>(order[i] + 1);
          auto pushed = harness.PushNow(*model, session, ++sequence, gradient);
          EXPECT_TRUE(pushed.ok()) << pushed.status();
        }
      };
      std::vector<std::future<void>> workers;
      for (size_t w = 0; w < kWorkers; ++w) {
        workers.push_back(std::async(std::launch::async, work, w));
      }
      for (std::future<void>& worker : workers) worker.get();
      EXPECT_EQ(harness.Parameters(*model), want)
          << "k = " << k << ", round " << round;
    }
  }
}

}  // namespace
}  // namespace accrue
