#include "server/kernels/trust_rate.h"

#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "server/kernels/pass_check.h"

namespace accrue::kernels {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();

float Rate(double theta_squares, double direction_squares) {
  return TrustRate(0.125,
                   {.theta = theta_squares, .direction = direction_squares});
}

TEST(TrustRateTest, IsTheQuotientOfTheNorms) {
  EXPECT_EQ(Rate(25, 100), 0.0625f);
  EXPECT_EQ(Rate(100, 25), 0.25f);
}

TEST(TrustRateTest, IsTheLearningRateWhereThereIsNoRatio) {
  for (const double bad : {0.0, kInfinity, kNoNumber}) {
    for (const double other : {4.0, 0.0, kInfinity, kNoNumber}) {
      EXPECT_EQ(Rate(bad, other), 0.125f) << bad << ", " << other;
      EXPECT_EQ(Rate(other, bad), 0.125f) << other << ", " << bad;
    }
  }
}

TEST(TrustRateTest, IsAtMostTheLargestFloat) {
  EXPECT_EQ(Rate(0x1p250, 0x1p-250), std::numeric_limits<float>::max());
}

// Two tensors of lamb with one of sgd between them, which is not looked at.
TEST(TrustRateTest, SumsABlockIntoItsTensor) {
  const BlockMap blocks = MakeBlockMap({2 * kBlockElems, 5, 7}, {0, 1, 0}, 2);
  Pass pass;
  pass.groups.resize(2);
  pass.groups[0].optimizer = rule::Optimizer::kLamb;
  pass.groups[0].update = {.rate = 0.5};
  pass.groups[1].update = {.rate = 100};
  const std::vector<float> rates = TrustRates(blocks, pass,
                                              {{.theta = 9, .direction = 1},
                                               {.theta = 7, .direction = 3},
                                               {.theta = 1e9, .direction = 1},
                                               {.theta = 1, .direction = 16}});
  ASSERT_EQ(rates.size(), 3);
  EXPECT_EQ(rates[0], 1.0f);
  EXPECT_EQ(rates[1], 0.0f);
  EXPECT_EQ(rates[2], 0.125f);
}

TEST(TrustRateTest, ARateIsOfLambsUpdatesOnly) {
  GroupPass group;
  group.optimizer = rule::Optimizer::kLamb;
  EXPECT_FALSE(IsTrusted(group));
  group.update.emplace();
  EXPECT_TRUE(IsTrusted(group));
  group.optimizer = rule::Optimizer::kAdam;
  EXPECT_FALSE(IsTrusted(group));
}

}  // namespace
}  // namespace accrue::kernels
