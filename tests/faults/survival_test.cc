// What a restart says that it lost, against what was acknowledged.
#include "tests/faults/survival.h"

#include <cstdint>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace accrue::faults {
namespace {

using client::Reason;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using Outcome = PushRecord::Outcome;

constexpr int64_t kStored = 20;  // t of the checkpoint
constexpr int64_t kLost = 5;

// Pushes of one worker, or of two, in one lineage; then the daemon is killed
// and goes back to its checkpoint.
class SurvivalTest : public testing::Test {
 protected:
  void Acknowledge(const std::string& worker, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      Add(worker, Outcome::kAcknowledged);
      pushes_.back().t = ++t_;
      pushes_.back().version = pushes_.back().from;
    }
  }

  void Add(const std::string& worker, Outcome outcome,
           Reason reason = Reason::kUnspecified) {
    pushes_.push_back({.worker = worker,
                       .from = {.lineage = "first", .number = 1},
                       .outcome = outcome,
                       .reason = reason});
  }

  Survivors GoBack(int64_t said, bool power_cut = false) const {
    return FindSurvivors(pushes_, {.lineage = "first"},
                         {{.lineage = "first",
                           .t = kStored,
                           .version = 1,
                           .lost = said,
                           .power_cut = power_cut,
                           .next = "second"}});
  }

  void ExpectAtMost(int64_t most) const {
    EXPECT_THAT(GoBack(most).complaints, IsEmpty());
    EXPECT_THAT(GoBack(most + 1).complaints,
                Contains(HasSubstr("a restart said that it lost")));
  }

  std::vector<PushRecord> pushes_;
  int64_t t_ = 0;
};

TEST_F(SurvivalTest, AfterAKillWhatIsSaidIsExact) {
  Acknowledge("a", kStored + kLost);
  EXPECT_THAT(GoBack(kLost).pushes, SizeIs(kStored));
  EXPECT_EQ(GoBack(kLost).unreported, 0);
  EXPECT_EQ(GoBack(kLost - 1).unreported, 1);
  ExpectAtMost(kLost);
}

TEST_F(SurvivalTest, AfterAPowerCutItIsAtLeastAsMuch) {
  Acknowledge("a", kStored + kLost);
  EXPECT_EQ(GoBack(0, /*power_cut=*/true).unreported, 0);
  EXPECT_THAT(GoBack(kLost, /*power_cut=*/true).complaints, IsEmpty());
  EXPECT_THAT(GoBack(kLost + 1, /*power_cut=*/true).complaints, SizeIs(1));
}

TEST_F(SurvivalTest, APushThatNobodyWasToldOfMayBeAmongIt) {
  Acknowledge("a", kStored + kLost);
  Add("a", Outcome::kUnknown);
  ExpectAtMost(kLost + 1);
}

// It may have come before, without an answer.
TEST_F(SurvivalTest, SoMayOneThatCameToTheNextLineage) {
  Acknowledge("a", kStored + kLost);
  Add("a", Outcome::kRefused, Reason::kLineageChanged);
  ExpectAtMost(kLost + 1);
}

TEST_F(SurvivalTest, ARefusedOneIsNot) {
  Acknowledge("a", kStored + kLost);
  Add("a", Outcome::kRefused, Reason::kStale);
  Add("a", Outcome::kRefused);
  ExpectAtMost(kLost);
}

TEST_F(SurvivalTest, NorOneBeforeWhatTheCheckpointHoldsOfItsWorker) {
  Acknowledge("a", kStored - 1);
  Add("b", Outcome::kUnknown);
  Add("c", Outcome::kUnknown);
  Acknowledge("b", 1);
  Acknowledge("a", kLost);
  ExpectAtMost(kLost + 1);
}

TEST_F(SurvivalTest, NorOneOfALineageThatIsAllThere) {
  Add("a", Outcome::kUnknown);
  pushes_.back().from.lineage = "zeroth";
  Acknowledge("a", kStored + kLost);
  const Survivors survivors =
      FindSurvivors(pushes_, {.lineage = "zeroth"},
                    {{.lineage = "zeroth", .t = 0, .next = "first"},
                     {.lineage = "first",
                      .t = kStored,
                      .lost = kLost + 1,
                      .next = "second"}});
  EXPECT_THAT(survivors.complaints, SizeIs(1));
}

}  // namespace
}  // namespace accrue::faults
