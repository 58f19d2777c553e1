// The crash loop, in short; and with daemons that make mistakes, each of which
// it has to notice.
#include "tests/faults/crash_loop.h"

#include <cstdint>
#include <iostream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"

namespace accrue::faults {
namespace {

using client::Durability;
using testing::IsEmpty;

constexpr uint64_t kSeed = 2;
constexpr int64_t kKills = kKillsForEach;

CrashLoopResult Loop(const CrashLoopOptions& options) {
  CrashLoop loop(options);
  const auto result = loop.Run();
  std::cout << "seed " << options.seed << ": " << loop.description() << "\n";
  EXPECT_TRUE(result.ok()) << result.status() << "\n" << loop.Log();
  return result.value_or(CrashLoopResult());
}

class CrashLoopTest : public testing::TestWithParam<Durability> {};

TEST_P(CrashLoopTest, ThePromiseIsKept) {
  const CrashLoopResult result =
      Loop({.kills = kKills, .durability = GetParam(), .seed = kSeed});
  EXPECT_EQ(result.kills, kKills);
  EXPECT_GE(result.least_acks, kAcksBetween);
  for (const FailPoint point : result.missed()) {
    ADD_FAILURE() << "no kill at " << Name(point);
  }
  EXPECT_GE(result.verdict.acked, kKills * kAcksBetween);
  EXPECT_GT(result.verdict.moments_compared, 1);
  EXPECT_TRUE(result.held(GetParam()));
  EXPECT_THAT(result.verdict.complaints, IsEmpty());
  EXPECT_GT(result.power_cuts, 0);
  EXPECT_GT(result.orderly_ends, 0);
  EXPECT_GT(result.checkpoints, 0);
  EXPECT_GT(result.quiet_kills, 0);
  if (GetParam() == Durability::kJournal) {
    EXPECT_EQ(result.verdict.lost, 0);
    EXPECT_GT(result.restarts_killed, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Durabilities, CrashLoopTest,
                         testing::Values(Durability::kJournal,
                                         Durability::kMemory));

// On data connections, and written past the page cache.
TEST(LargePushTest, ThePromiseIsKept) {
  const CrashLoopResult result = Loop({.kills = 8,
                                       .durability = Durability::kJournal,
                                       .seed = kSeed,
                                       .size = kLargeSize});
  EXPECT_EQ(result.kills, 8);
  EXPECT_TRUE(result.held(Durability::kJournal));
  EXPECT_THAT(result.verdict.complaints, IsEmpty());
  EXPECT_GT(result.power_cuts, 0);
}

// The same runs as below.
TEST(MistakeTest, WithoutOneNothingIsNoticed) {
  const CrashLoopResult result =
      Loop({.kills = 0, .durability = Durability::kMemory});
  EXPECT_TRUE(result.held(Durability::kMemory));
  EXPECT_GT(result.verdict.acked, 0);
}

TEST(MistakeTest, APushThatIsFoldedTwiceIsNoticed) {
  const CrashLoopResult result = Loop({.kills = 0,
                                       .durability = Durability::kMemory,
                                       .mistake = FailPoint::kFoldTwice,
                                       .mistake_every = 7});
  EXPECT_GT(result.verdict.twice, 0);
  EXPECT_GT(result.verdict.mismatched_bytes, 0);
  EXPECT_EQ(result.verdict.lost, 0);
  EXPECT_FALSE(result.held(Durability::kMemory));
}

// A power cut takes them back. Where it takes all of a segment, or a model's
// beginning, the daemon says so by itself; in some run before long no marker
// tells it, and then the histories do.
TEST(MistakeTest, APushThatIsAnsweredBeforeItIsDurableIsNoticed) {
  bool told_by_histories = false;
  for (uint64_t seed = 1; seed <= 20 && !told_by_histories; ++seed) {
    CrashLoop loop({.kills = 12,
                    .durability = Durability::kJournal,
                    .seed = seed,
                    .mistake = FailPoint::kAckUnsynced,
                    .mistake_every = 1});
    const auto result = loop.Run();
    if (absl::IsDataLoss(result.status())) continue;
    ASSERT_TRUE(result.ok()) << result.status() << "\n" << loop.Log();
    EXPECT_GT(result->power_cuts, 0);
    EXPECT_GT(result->verdict.lost, 0);
    EXPECT_FALSE(result->held(Durability::kJournal));
    told_by_histories = true;
  }
  EXPECT_TRUE(told_by_histories);
}

// The push on its way is then folded again, or the one after it refused, or
// told to be a duplicate and so lost.
TEST(MistakeTest, ADroppedEntryOfASessionIsNoticed) {
  const CrashLoopResult result =
      Loop({.kills = 60,  // it ends once it has noticed
            .durability = Durability::kJournal,
            .seed = 1,
            .mistake = FailPoint::kDropEntry,
            .mistake_every = 3});
  EXPECT_GT(result.verdict.twice + result.verdict.lost +
                static_cast<int64_t>(result.verdict.complaints.size()),
            0);
  EXPECT_FALSE(result.held(Durability::kJournal));
}

}  // namespace
}  // namespace accrue::faults
