// A process ends in order: what its models have come to is on the disk, under
// MEMORY too, and nothing changes behind that.
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "tests/durability/restart_fixture.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

using EndingTest = RestartFixture;

TEST_F(EndingTest, MemoryLosesNothingInOrder) {
  Create(Spec(Durability::kMemory));
  Push(5);
  const StateImage before = harness().Image(*model_);
  process_->Drain();
  StartAgain();
  EXPECT_EQ(harness().Image(*model_), before);
  EXPECT_EQ(model_->Describe().lost_pushes, 0);
  Push(2);
  EXPECT_EQ(model_->Describe().folded_pushes, 7);
}

TEST_F(EndingTest, MemoryLosesNothingInOrderThoughNobodyPushedSinceALoss) {
  Create(Spec(Durability::kMemory));
  Push(4);
  ASSERT_TRUE(process_->Checkpoint("m").ok());
  Push(1);
  StartAgain();
  ASSERT_EQ(model_->Describe().lost_pushes, 1);
  const std::string session = harness().Open(*model_, "a")->id;
  const StateImage before = harness().Image(*model_);
  process_->Drain();
  StartAgain();
  EXPECT_EQ(harness().Image(*model_), before);
  ASSERT_EQ(model_->Sessions().size(), 1);
  EXPECT_EQ(model_->Sessions()[0].id, session);
}

// The last checkpoint may not have it.
TEST_F(EndingTest, NothingChangesOnceTheProcessEnds) {
  for (const Durability durability :
       {Durability::kMemory, Durability::kJournal}) {
    Create(Spec(durability));
    Push(5);
    const StateImage before = harness().Image(*model_);
    process_->Drain();
    const absl::Status refused[] = {
        SetLearningRate(0.25), harness().EndCycle(*model_).status(),
        harness().CloseSession(*model_, turns_[0].session),
        harness().Open(*model_, "c").status(),
        process_->Restore("m", "").status()};
    for (const absl::Status& status : refused) {
      EXPECT_EQ(GetErrorInfo(status).reason, Reason::kDraining) << status;
    }
    EXPECT_TRUE(process_->data().Unkept().empty());
    StartAgain();
    EXPECT_EQ(harness().Image(*model_), before);
    // Sequences begin anew with the next model's sessions.
    for (Turn& turn : turns_) turn.sequence = 0;
    pushes_ = 0;
    ASSERT_TRUE(process_->store().Delete("m").ok());
  }
}

TEST_F(EndingTest, ASlowModelKeepsNoOtherFromItsLastCheckpoint) {
  Create(Spec(Durability::kMemory));
  Push(5);
  ModelSpec other = Spec(Durability::kMemory);
  other.name = "a";
  const auto slow = process_->Create(other);
  ASSERT_TRUE(slow.ok()) << slow.status();
  std::future<void> drained;
  {
    const Hold hold(**slow);
    drained = std::async(std::launch::async, [this] { process_->Drain(); });
    const absl::Time late = absl::Now() + absl::Seconds(20);
    while (process_->data().Checkpoints("m")->front().folded_pushes < 5) {
      ASSERT_LT(absl::Now(), late);
      std::this_thread::yield();
    }
  }
  drained.get();
}

}  // namespace
}  // namespace accrue
