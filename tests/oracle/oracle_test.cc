#include "tests/oracle/oracle.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/oracle/combinations.h"
#include "tests/oracle/float_model.h"

namespace accrue::oracle {
namespace {

constexpr uint32_t kSeed = 39;

std::vector<float> Normals(size_t count, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> x(count);
  for (float& e : x) e = normal(random);
  return x;
}

// What the combinations' clips are made for.
std::vector<float> Gradient(std::mt19937& random) {
  std::vector<float> x = Normals(kGroupElems, random);
  for (float& e : x) e += kGradientMean;
  return x;
}

std::string Difference(const Oracle& oracle, const FloatModel& model) {
  std::string why = Mismatch("theta", oracle.theta(0), model.theta.data(),
                             model.theta.size());
  if (why.empty()) {
    why = Mismatch("m", oracle.m(0), model.m.data(), model.m.size());
  }
  if (why.empty()) {
    why = Mismatch("v", oracle.v(0), model.v.data(), model.v.size());
  }
  return why;
}

// The test of the bounds: plain floats are within them, over hundreds of
// pushes with short cycles and changed hyperparameters, in every combination
// of a set that has every pair of choices.
TEST(OracleTest, PlainFloatsStayWithinItsBounds) {
  std::mt19937 random(kSeed);
  std::cout << "seed " << kSeed << "\n";
  for (const Combination& c : PairwiseSubset(AllowedCombinations())) {
    SCOPED_TRACE(c.Name());
    const std::vector<float> theta = Normals(kGroupElems, random);
    FloatModel model(c.Rule(), theta);
    Oracle oracle({{c.Rule(), theta}});
    for (int64_t push = 0; push < 300; ++push) {
      const std::vector<float> g = Gradient(random);
      model.Push(g, c.Facts(push));
      oracle.Push({g}, c.Facts(push));
      if (push % 50 == 20 && model.cycle.position > 0) {
        model.Close();
        oracle.Close();
      }
      if (push == 150) {
        model.spec.hyper.learning_rate *= 0.5;
        oracle.SetHyperparameters(0, model.spec.hyper);
      }
      // Sums of the noise have a norm's last bits in them, and the model's
      // clips.
      rule::CycleState cycle = model.cycle;
      cycle.noise = oracle.cycle(0).noise;
      ASSERT_EQ(oracle.cycle(0), cycle);
      ASSERT_EQ(Difference(oracle, model), "") << "after push " << push;
    }
    EXPECT_EQ(IdleClip(c, oracle), "");
  }
}

// And of their worth: a bound that lets anything pass would show nothing.
// After hundreds of pushes it is below a hundredth of the way walked, even
// where a schedule has made the steps so small that the rounding of theta
// itself, 2^-24*|theta| an update, is the most of it.
TEST(OracleTest, BoundsAreSmallBesideTheWayWalked) {
  std::cout << "seed " << kSeed << "\n";
  std::mt19937 random(kSeed);
  double largest = 0;
  for (const Combination& c : PairwiseSubset(AllowedCombinations())) {
    const std::vector<float> theta = Normals(kGroupElems, random);
    Oracle oracle({{c.Rule(), theta}});
    std::vector<double> way(theta.size());
    std::vector<Bounded> last = oracle.theta(0);
    for (int64_t push = 0; push < 300; ++push) {
      oracle.Push({Gradient(random)}, c.Facts(push));
      for (size_t e = 0; e < way.size(); ++e) {
        way[e] += std::abs(oracle.theta(0)[e].value - last[e].value);
      }
      last = oracle.theta(0);
    }
    for (size_t e = 0; e < way.size(); ++e) {
      largest = std::max(largest, last[e].error / way[e]);
    }
  }
  std::cout << "largest bound, of the way walked: " << largest << "\n";
  EXPECT_LT(largest, 0.01);
}

// Pushes 103 and 104 stand on two sides of an update: within a cycle PER_CYCLE
// does not care for their order.
TEST(OracleTest, FindsOneLostOrDoubledOrReorderedPush) {
  std::cout << "seed " << kSeed << "\n";
  enum class Fault { kLost, kDoubled, kReordered };
  for (const rule::Decay decay :
       {rule::Decay::kPerCycle, rule::Decay::kPerPush, rule::Decay::kSliding,
        rule::Decay::kSlidingExact}) {
    rule::RuleSpec spec;
    spec.optimizer = rule::Optimizer::kAdam;
    spec.decay = decay;
    spec.k = spec.update_every = 4;
    for (const Fault fault :
         {Fault::kLost, Fault::kDoubled, Fault::kReordered}) {
      std::mt19937 random(kSeed);
      const std::vector<float> theta = Normals(40, random);
      std::vector<std::vector<float>> pushes(200);
      for (std::vector<float>& g : pushes) g = Normals(40, random);
      Oracle oracle({{spec, theta}});
      for (const std::vector<float>& g : pushes) oracle.Push({g}, {});

      const auto at = pushes.begin() + 103;
      if (fault == Fault::kLost) pushes.erase(at);
      if (fault == Fault::kDoubled) pushes.insert(at, std::vector<float>(*at));
      if (fault == Fault::kReordered) std::iter_swap(at, at + 1);
      FloatModel model(spec, theta);
      for (const std::vector<float>& g : pushes) model.Push(g);
      // Whole cycles are compared: what was lost came to nothing, of what was
      // doubled the last push is still open.
      if (fault == Fault::kLost) model.Push(std::vector<float>(40));
      EXPECT_NE(Mismatch("theta", oracle.theta(0), model.theta.data(), 40), "");
    }
  }
}

TEST(OracleTest, FindsAGainThatIsOffByATenThousandth) {
  std::cout << "seed " << kSeed << "\n";
  rule::RuleSpec spec;
  spec.optimizer = rule::Optimizer::kSgd;
  spec.k = spec.update_every = 4;
  std::mt19937 random(kSeed);
  const std::vector<float> theta = Normals(40, random);
  Oracle oracle({{spec, theta}});
  FloatModel model(spec, theta);
  for (int64_t push = 0; push < 200; ++push) {
    const std::vector<float> g = Normals(40, random);
    oracle.Push({g}, {});
    rule::PushFacts facts;
    facts.weight = 1.0001;
    model.Push(g, facts);
  }
  EXPECT_NE(Difference(oracle, model), "");
}

// Groups go their own ways, but one norm over all of them sees all.
TEST(OracleTest, ClipsOverAllGroupsTogether) {
  rule::RuleSpec spec;
  spec.optimizer = rule::Optimizer::kSgd;
  spec.buffering = rule::Buffering::kClassic;
  spec.clip_scope = rule::ClipScope::kModel;
  spec.hyper.beta1 = 0;
  spec.hyper.learning_rate = 1;
  spec.hyper.clip_norm = 1;
  Oracle oracle({{spec, {0.0f}}, {spec, {0.0f}}});
  oracle.Push({{3.0f}, {4.0f}}, {});
  EXPECT_NEAR(oracle.theta(0)[0].value, -0.6, 1e-7);
  EXPECT_NEAR(oracle.theta(1)[0].value, -0.8, 1e-7);
  EXPECT_EQ(oracle.clipped_updates(), 2);
}

// Each tensor is scaled to its own norm: 5/10, 2/4, and 1 where one is 0.
TEST(OracleTest, TrustsTensorByTensor) {
  rule::RuleSpec spec;
  spec.optimizer = rule::Optimizer::kLamb;
  spec.hyper.beta1 = spec.hyper.beta2 = 0;
  spec.hyper.learning_rate = 0.5;
  spec.hyper.epsilon = 1e-20;
  // m/sqrt(v) is a sign: |r| is the root of how many signs there are.
  Oracle oracle({{spec, {3.0f, 4.0f, 0, 0, 2.0f, 0, 0}, {4, 1, 2}}});
  oracle.Push({{1.0f, -2.0f, 4.0f, 8.0f, -1.0f, 1.0f, 1.0f}}, {});
  const double want[] = {1.75, 5.25, -1.25, -1.25, 3, -0.5, -0.5};
  for (size_t e = 0; e < 7; ++e) {
    EXPECT_NEAR(oracle.theta(0)[e].value, want[e], 1e-6) << e;
    EXPECT_LT(oracle.theta(0)[e].error, 1e-5) << e;
  }
}

TEST(OracleTest, ClosesTheNearestCyclesAndSkipsInTheOthers) {
  rule::RuleSpec inner, outer;
  inner.k = inner.update_every = 2;
  outer.k = outer.update_every = 4;
  Oracle oracle({{inner, {0.0f}}, {outer, {0.0f}}});
  oracle.Push({{1.0f}, {1.0f}}, {});
  oracle.CloseNearest();
  EXPECT_EQ(oracle.cycle(0).updates, 1);
  EXPECT_EQ(oracle.cycle(1).updates, 0);
  EXPECT_EQ(oracle.cycle(1).position, 2);
  oracle.Push({{1.0f}, {1.0f}}, {});
  oracle.Close();
  EXPECT_EQ(oracle.cycle(0).updates, 2);
  EXPECT_EQ(oracle.cycle(1).updates, 1);
  oracle.Close();  // nothing is open
  EXPECT_EQ(oracle.cycle(0).updates, 2);
}

TEST(OracleTest, MismatchNamesTheElement) {
  const std::vector<Bounded> want = {Bounded::Exact(1.0f),
                                     Bounded::Exact(1.25f)};
  const std::vector<float> good = {1.0f, 1.25f}, bad = {1.0f, 1.5f};
  EXPECT_EQ(Mismatch("m", want, good.data(), 2), "");
  EXPECT_EQ(Mismatch("m", want, bad.data(), 2),
            "m[1]: got 1.5, want 1.25 within 0");
  EXPECT_EQ(Mismatch("m", want, bad.data(), 1), "m: got 1 elements, want 2");
}

}  // namespace
}  // namespace accrue::oracle
