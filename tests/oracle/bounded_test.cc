#include "tests/oracle/bounded.h"

#include <cmath>
#include <cstdint>
#include <iostream>
#include <random>

#include "gtest/gtest.h"

namespace accrue::oracle {
namespace {

constexpr uint32_t kSeed = 8634;

TEST(BoundedTest, AFloatIsExact) {
  const Bounded x = Bounded::Exact(0.1f);
  EXPECT_EQ(x.error, 0);
  EXPECT_TRUE(x.Contains(0.1f));
  EXPECT_FALSE(x.Contains(std::nextafter(0.1f, 1.0f)));
}

TEST(BoundedTest, OneOperationIsOneRounding) {
  const Bounded third = Bounded::Exact(1.0f) / Bounded::Exact(3.0f);
  EXPECT_TRUE(third.Contains(1.0f / 3.0f));
  EXPECT_LT(third.error, 0x1p-24 * 0.34);
  // Two units in the last place away is no rounding any more.
  EXPECT_FALSE(third.Contains(1.0f / 3.0f + 0x1p-24f));
}

TEST(BoundedTest, NaNIsNeverWithin) {
  const Bounded wild = {0.0, 1e300};
  EXPECT_FALSE(wild.Contains(std::nanf("")));
}

TEST(BoundedTest, DenormalResultsRoundByHalfTheSmallestFloat) {
  const Bounded x = Bounded::Exact(0x1p-149f) * Bounded::Exact(0.5f);
  EXPECT_TRUE(x.Contains(0x1p-149f * 0.5f));
  EXPECT_GE(x.error, 0x1p-150);
}

TEST(BoundedTest, ADivisorThatMightBeZeroHasNoBound) {
  const Bounded y = {1e-3, 1e-3};
  EXPECT_TRUE(std::isinf((Bounded::Exact(1.0f) / y).error));
}

TEST(BoundedTest, RootsReachBelowNoZero) {
  const Bounded root = Sqrt({1e-8, 1e-6});
  EXPECT_TRUE(std::isfinite(root.error));
  EXPECT_TRUE(root.Contains(0.0f));
  EXPECT_TRUE(root.Contains(std::sqrt(1e-8f + 9.9e-7f)));
}

TEST(BoundedTest, ASignIsExactUnlessZeroIsWithinTheBound) {
  EXPECT_EQ(Sign({-1e-6, 0.9e-6}).value, -1);
  EXPECT_EQ(Sign({-1e-6, 0.9e-6}).error, 0);
  EXPECT_EQ(Sign({0, 0}).error, 0);
  for (const float any : {-1.0f, 0.0f, 1.0f}) {
    EXPECT_TRUE(Sign({1e-6, 1e-6}).Contains(any));
    EXPECT_TRUE(Sign({-1e-9, 1e-6}).Contains(any));
    EXPECT_TRUE(Sign({0, 1e-6}).Contains(any));
  }
}

// Random expressions in float stay within the bounds of the same in double.
TEST(BoundedTest, LongComputationsStayWithinTheirBounds) {
  std::cout << "seed " << kSeed << "\n";
  std::mt19937 random(kSeed);
  std::uniform_real_distribution<float> uniform(-2.0f, 2.0f);
  std::uniform_int_distribution<int> which(0, 4);
  for (int run = 0; run < 2000; ++run) {
    float x = uniform(random);
    Bounded bounded = Bounded::Exact(x);
    for (int step = 0; step < 40; ++step) {
      const float y = uniform(random);
      const Bounded other = Bounded::Exact(y);
      switch (which(random)) {
        case 0:
          x = x + y;
          bounded = bounded + other;
          break;
        case 1:
          x = x - y;
          bounded = bounded - other;
          break;
        case 2:
          x = x * y;
          bounded = bounded * other;
          break;
        case 3:
          x = x / (y * y + 1.0f);
          bounded = bounded / (other * other + Bounded::Exact(1.0f));
          break;
        default:
          x = std::sqrt(x * x + 1.0f);
          bounded = Sqrt(bounded * bounded + Bounded::Exact(1.0f));
      }
      ASSERT_TRUE(bounded.Contains(x))
          << "run " << run << ", step " << step << ": " << x << " against "
          << bounded.value << " within " << bounded.error;
    }
  }
}

}  // namespace
}  // namespace accrue::oracle
