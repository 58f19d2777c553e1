// The check of a history against a model that was never there: what it must
// notice, and what it must not take for a mistake.
#include "tests/faults/replay_check.h"

#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/faults/gradient.h"
#include "tests/faults/replay.h"
#include "tests/faults/replayed_spec.h"

namespace accrue::faults {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using Outcome = PushRecord::Outcome;

constexpr uint64_t kSeed = 3;
constexpr int kWorkers = 3;
constexpr char kLineage[] = "first";

// A daemon that does all as it should: folds each push and answers it.
class FabricatedRun {
 public:
  FabricatedRun()
      : made_(MakeReplayedSpec("m", kSeed, 1)),
        replay_(made_.spec, made_.initial) {}

  // The next push, of any of the workers.
  PushRecord Push(const std::string& worker) {
    PushRecord push = {.worker = worker,
                       .session = worker,
                       .sequence = ++sequence_,
                       .from = {lineage_, replay_.version()},
                       .seed = static_cast<uint64_t>(sequence_),
                       .micro_steps = made_.micro_steps};
    return push;
  }

  void Fold(PushRecord& push) {
    push.published = replay_.Push(
        {.gradient =
             Gradient::Random(push.seed, push.encoding,
                              static_cast<int64_t>(made_.initial.size()))
                 .floats(),
         .version = push.from.number,
         .micro_steps = push.micro_steps});
    push.t = t_ = t_ + push.micro_steps;
    push.version = {lineage_, replay_.version()};
  }

  void Acknowledge(PushRecord push) {
    push.outcome = Outcome::kAcknowledged;
    history_.Add(std::move(push));
  }

  // Of each worker in turn.
  void Train(int pushes) {
    for (int i = 0; i < pushes; ++i) {
      PushRecord push = Push(absl::StrCat(i % kWorkers));
      Fold(push);
      Acknowledge(push);
    }
  }

  // Of one whose answer nobody waited for.
  void Abandon(bool folds) {
    PushRecord push = Push("0");
    PushRecord folded = push;
    if (folds) Fold(folded);
    history_.Add(push);
  }

  void Pull() {
    history_.AddPull({lineage_, replay_.version()}, replay_.theta());
  }

  FinalState Final() const {
    return {.version = {lineage_, replay_.version()},
            .t = t_,
            .theta = replay_.theta(),
            .momentum = replay_.momentum(),
            .variance = replay_.variance()};
  }

  // The state at a checkpoint, and the return to it.
  struct Checkpoint {
    Replay replay;
    int64_t t;
    std::string lineage;
  };
  Checkpoint Save() const { return {replay_, t_, lineage_}; }
  Rollback Restore(const Checkpoint& checkpoint, int64_t lost) {
    replay_ = checkpoint.replay;
    t_ = checkpoint.t;
    lineage_ += "'";
    return {.lineage = checkpoint.lineage,
            .t = t_,
            .version = replay_.version(),
            .lost = lost,
            .next = lineage_};
  }

  Verdict Check(
      const FinalState& state, const std::vector<Rollback>& rollbacks = {},
      const std::vector<FinalState>& stored = {},
      client::Durability durability = client::Durability::kMemory) const {
    Subject subject = {
        .spec = made_.spec, .initial = made_.initial, .lineage = kLineage};
    subject.spec.durability = durability;
    return CheckReplay(subject, history_, rollbacks, state, stored);
  }

  History& history() { return history_; }
  Replay& replay() { return replay_; }

 private:
  const ReplayedSpec made_;
  Replay replay_;
  History history_;
  std::string lineage_ = kLineage;
  int64_t t_ = 0;
  int64_t sequence_ = 0;
};

void ExpectClean(const Verdict& verdict) {
  EXPECT_EQ(verdict.lost, 0);
  EXPECT_EQ(verdict.unreported, 0);
  EXPECT_EQ(verdict.twice, 0);
  EXPECT_EQ(verdict.mismatched_bytes, 0);
  EXPECT_THAT(verdict.complaints, IsEmpty());
}

TEST(ReplayCheckTest, ARunWithoutFaultsIsClean) {
  FabricatedRun run;
  run.Pull();
  run.Train(20);
  run.Pull();
  run.Train(17);
  const Verdict verdict = run.Check(run.Final());
  ExpectClean(verdict);
  EXPECT_EQ(verdict.acked, 37);
}

TEST(ReplayCheckTest, AnAcknowledgedPushThatWasNotFoldedIsLost) {
  FabricatedRun run;
  run.Train(20);
  PushRecord push = run.Push("0");
  push.t = run.Final().t + 1;
  push.version = run.Final().version;
  run.Acknowledge(push);
  const Verdict verdict = run.Check(run.Final());
  EXPECT_EQ(verdict.lost, 1);
  EXPECT_EQ(verdict.unreported, 1);
}

TEST(ReplayCheckTest, SoIsOneWhosePlaceWasGivenToAnother) {
  FabricatedRun run;
  run.Train(20);
  PushRecord push = run.Push("0");
  push.t = run.Final().t;
  push.version = run.Final().version;
  run.Acknowledge(push);
  run.Train(10);
  EXPECT_EQ(run.Check(run.Final()).lost, 1);
}

TEST(ReplayCheckTest, APushThatWasFoldedTwiceIsNoticedByT) {
  FabricatedRun run;
  run.Train(20);
  PushRecord push = run.Push("0");
  run.Fold(push);
  run.Fold(push);
  run.Acknowledge(push);
  run.Train(10);
  const Verdict verdict = run.Check(run.Final());
  EXPECT_EQ(verdict.twice, 1);
  EXPECT_GT(verdict.mismatched_bytes, 0);
}

TEST(ReplayCheckTest, AndWhereTDoesNotTellByItsBits) {
  FabricatedRun run;
  run.Train(20);
  const FinalState right = run.Final();
  PushRecord push = run.Push("0");
  run.Fold(push);
  FinalState wrong = run.Final();
  wrong.t = right.t;
  wrong.version = right.version;
  EXPECT_GT(run.Check(wrong).mismatched_bytes, 0);
}

TEST(ReplayCheckTest, AWrongBitIsNoticedWhereverItIs) {
  FabricatedRun run;
  run.Train(20);
  for (std::vector<float> FinalState::*array :
       {&FinalState::theta, &FinalState::momentum, &FinalState::variance}) {
    FinalState state = run.Final();
    float& number = (state.*array)[7];
    number = std::bit_cast<float>(std::bit_cast<uint32_t>(number) ^ 1u);
    EXPECT_EQ(run.Check(state).mismatched_bytes, 1);
  }
}

TEST(ReplayCheckTest, MomentsThatNobodyToldAreNotCountedAsCompared) {
  FabricatedRun run;
  run.Train(20);
  FinalState state = run.Final();
  EXPECT_EQ(run.Check(state).moments_compared, 1);
  state.momentum.clear();
  state.variance.clear();
  EXPECT_EQ(run.Check(state).moments_compared, 0);
}

TEST(ReplayCheckTest, SoIsOneOfAVersionInBetween) {
  FabricatedRun run;
  run.Train(20);
  std::vector<float> theta = run.replay().theta();
  theta[7] = -theta[7];
  run.history().AddPull(run.Final().version, theta);
  run.Train(10);
  EXPECT_EQ(run.Check(run.Final()).mismatched_bytes, 1);
}

// Whichever of two of the same state has it.
TEST(ReplayCheckTest, SoIsOneOfAStateThatWasStored) {
  FabricatedRun run;
  run.Train(20);
  const FinalState right = run.Final();
  FinalState wrong = right;
  wrong.momentum[7] = -wrong.momentum[7];
  run.Train(10);
  ExpectClean(run.Check(run.Final(), {}, {right, right}));
  for (const auto& stored : {std::vector<FinalState>{right, wrong},
                             std::vector<FinalState>{wrong, right}}) {
    const Verdict verdict = run.Check(run.Final(), {}, stored);
    EXPECT_EQ(verdict.mismatched_bytes, 1);
    EXPECT_EQ(verdict.moments_compared, 3);
  }
}

TEST(ReplayCheckTest, APushOfUnknownFateMayHaveBeenFoldedOrNot) {
  for (const bool folds : {false, true}) {
    FabricatedRun run;
    run.Train(20);
    run.Abandon(folds);
    run.Train(11);
    ExpectClean(run.Check(run.Final()));
  }
}

TEST(ReplayCheckTest, OfManyThoseAreFoundThatExplainTheBits) {
  FabricatedRun run;
  for (int i = 0; i < 12; ++i) {
    run.Train(2);
    run.Abandon(i % 3 != 0);
    run.Abandon(i % 3 == 1);
    run.Pull();
  }
  run.Train(5);
  ExpectClean(run.Check(run.Final()));
}

// A wrong guess in a long run is not followed to its end.
TEST(ReplayCheckTest, SoTheyAreInALongRun) {
  FabricatedRun run;
  for (int i = 0; i < 200; ++i) {
    run.Train(2);
    run.Abandon(i % 2 == 0);
    run.Abandon(i % 2 == 1);
    run.Pull();
  }
  ExpectClean(run.Check(run.Final()));
}

TEST(ReplayCheckTest, AnUnknownFateDoesNotExplainAnotherPushFoldedTwice) {
  FabricatedRun run;
  run.Train(20);
  PushRecord push = run.Push("0");
  run.Fold(push);
  run.Fold(push);
  run.Acknowledge(push);
  run.Abandon(/*folds=*/false);
  run.Train(10);
  const Verdict verdict = run.Check(run.Final());
  EXPECT_GT(verdict.mismatched_bytes + verdict.twice, 0);
}

TEST(ReplayCheckTest, CyclesAreClosedWhereSomebodyAskedForIt) {
  FabricatedRun run;
  while (run.Final().t % 7 != 3) run.Train(1);
  const client::Version before = run.Final().version;
  ASSERT_TRUE(run.replay().Close());
  run.Pull();
  run.Train(10);
  EXPECT_THAT(run.Check(run.Final()).complaints, testing::Not(IsEmpty()));
  run.history().AddClose(before);
  ExpectClean(run.Check(run.Final()));
}

TEST(ReplayCheckTest, WhatARestartLostAndSaidIsNoOtherLoss) {
  FabricatedRun run;
  run.Train(20);
  const FabricatedRun::Checkpoint checkpoint = run.Save();
  run.Train(5);
  run.Pull();
  const Rollback first = run.Restore(checkpoint, 5);
  run.Train(4);
  const Rollback second = run.Restore(checkpoint, 4);
  run.Train(7);
  run.Pull();
  const Verdict verdict = run.Check(run.Final(), {first, second});
  EXPECT_EQ(verdict.lost, 9);
  EXPECT_EQ(verdict.unreported, 0);
  EXPECT_EQ(verdict.twice, 0);
  EXPECT_EQ(verdict.mismatched_bytes, 0);
  EXPECT_THAT(verdict.complaints, IsEmpty());
}

TEST(ReplayCheckTest, WhatARestartLostBeyondThatIsUnreported) {
  FabricatedRun run;
  run.Train(20);
  const FabricatedRun::Checkpoint checkpoint = run.Save();
  run.Train(5);
  const Rollback rollback = run.Restore(checkpoint, 3);
  run.Train(4);
  EXPECT_EQ(run.Check(run.Final(), {rollback}).unreported, 2);
}

TEST(ReplayCheckTest, AfterAPowerCutNobodyHasToKnowHowMuchIsLost) {
  FabricatedRun run;
  run.Train(20);
  const FabricatedRun::Checkpoint checkpoint = run.Save();
  run.Train(5);
  Rollback rollback = run.Restore(checkpoint, 3);
  rollback.power_cut = true;
  run.Train(4);
  const Verdict verdict = run.Check(run.Final(), {rollback});
  EXPECT_EQ(verdict.lost, 5);
  EXPECT_EQ(verdict.unreported, 0);
  EXPECT_THAT(verdict.complaints, IsEmpty());
}

TEST(ReplayCheckTest, ARestartThatSaysTooMuchIsWrongToo) {
  FabricatedRun run;
  run.Train(20);
  const FabricatedRun::Checkpoint checkpoint = run.Save();
  run.Train(5);
  const Rollback rollback = run.Restore(checkpoint, 6);
  EXPECT_THAT(run.Check(run.Final(), {rollback}).complaints,
              Contains(HasSubstr("it was 5")));
}

// All pushes are there, and it says that none is lost.
TEST(ReplayCheckTest, UnderJournalARestartThatEndsALineageIsWrong) {
  FabricatedRun run;
  run.Train(20);
  const Rollback rollback = run.Restore(run.Save(), /*lost=*/0);
  run.Train(7);
  ExpectClean(run.Check(run.Final(), {rollback}));
  const Verdict verdict =
      run.Check(run.Final(), {rollback}, {}, client::Durability::kJournal);
  EXPECT_EQ(verdict.lost, 0);
  EXPECT_THAT(verdict.complaints, Contains(HasSubstr("under JOURNAL")));
}

TEST(ReplayCheckTest, ALineageThatNobodySpokeOfIsNoticed) {
  FabricatedRun run;
  run.Train(20);
  const FabricatedRun::Checkpoint checkpoint = run.Save();
  run.Train(5);
  (void)run.Restore(checkpoint, 5);
  const Verdict verdict = run.Check(run.Final());
  EXPECT_EQ(verdict.lost, 5);
  EXPECT_EQ(verdict.unreported, 5);
  EXPECT_THAT(verdict.complaints, Contains(HasSubstr("lineage")));
}

}  // namespace
}  // namespace accrue::faults
