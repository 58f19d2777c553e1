#include "server/base/telling_rate.h"

#include <cstdint>

#include <gtest/gtest.h>

#include "absl/time/time.h"

namespace accrue {
namespace {

TEST(TellingRateTest, TellsOfAFewASecondAndCountsTheOthers) {
  TellingRate rate;
  const absl::Time start = absl::FromUnixSeconds(1'000'000);
  int64_t untold = -1;
  for (int i = 0; i < TellingRate::kPerSecond; ++i) {
    EXPECT_TRUE(rate.Allow(start, &untold));
    EXPECT_EQ(untold, 0);
  }
  for (int i = 0; i < 5; ++i) {
    EXPECT_FALSE(rate.Allow(start + absl::Milliseconds(999), &untold));
  }
  EXPECT_TRUE(rate.Allow(start + absl::Seconds(1), &untold));
  EXPECT_EQ(untold, 5);
  EXPECT_TRUE(rate.Allow(start + absl::Seconds(1), &untold));
  EXPECT_EQ(untold, 0);
}

}  // namespace
}  // namespace accrue
