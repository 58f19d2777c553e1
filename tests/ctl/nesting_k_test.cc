#include "client/ctl/nesting_k.h"

#include <cstdint>
#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace accrue::ctl {
namespace {

using ::testing::ElementsAre;

TEST(NestingKTest, AWishIsRoundedUpToAMultipleOfTheShortest) {
  EXPECT_THAT(Nest({{.k = 5}, {.k = 2}, {.k = 8}}, 1, true).k,
              ElementsAre(6, 2, 8));
  EXPECT_THAT(Nest({{.k = 5}, {.k = 2}}, 4, true).k, ElementsAre(8, 4));
  EXPECT_THAT(Nest({{.k = 5}, {.k = 2}}, 3, false).k, ElementsAre(6, 3));
  EXPECT_THAT(Nest({{.k = kMaxK}, {.k = 3}}, 1, true).k,
              ElementsAre(kMaxK / 3 * 3, 3));
}

TEST(NestingKTest, WhatIsFixedStaysAndIsNestedWith) {
  const NestingK with = Nest({{.k = 12, .fixed = true}, {.k = 5}}, 1, true);
  EXPECT_THAT(with.k, ElementsAre(12, 6));
  EXPECT_TRUE(with.nests);
  const NestingK below = Nest({{.k = 4, .fixed = true}, {.k = 5}}, 1, true);
  EXPECT_THAT(below.k, ElementsAre(4, 8));
  EXPECT_TRUE(below.nests);
  EXPECT_FALSE(
      Nest({{.k = 4, .fixed = true}, {.k = 6, .fixed = true}}, 1, true).nests);
  // No multiple of the micro-steps.
  EXPECT_FALSE(Nest({{.k = 4, .fixed = true}, {.k = 5}}, 3, true).nests);
}

TEST(NestingKTest, WithoutFixedOnesThereAlwaysIsOne) {
  const uint64_t seed = 1;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 1000; ++round) {
    std::vector<KWish> wishes(1 + random() % 4);
    for (KWish& wish : wishes) {
      wish.k = 1 + static_cast<int64_t>(random() % 60);
    }
    const auto micro_steps = static_cast<int64_t>(1 + random() % 5);
    const NestingK nesting = Nest(wishes, micro_steps, true);
    EXPECT_TRUE(nesting.nests);
    for (size_t g = 0; g < wishes.size(); ++g) {
      EXPECT_GE(nesting.k[g], wishes[g].k);
    }
  }
}

}  // namespace
}  // namespace accrue::ctl
