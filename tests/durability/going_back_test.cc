// A model goes back to one of its checkpoints while it serves: what came since
// is gone, its sessions stay.
#include <string>
#include <tuple>
#include <utility>

#include "gtest/gtest.h"
#include "server/base/error.h"
#include "tests/durability/restart_fixture.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

using GoingBackTest = RestartFixture;

TEST_F(GoingBackTest, AModelGoesBackAndItsSessionsGoOn) {
  for (const Durability durability :
       {Durability::kMemory, Durability::kJournal}) {
    SCOPED_TRACE(static_cast<int>(durability));
    for (Turn& turn : turns_) turn.sequence = 0;
    Create(Spec(durability));
    Push(5);
    const auto checkpoint = process_->Checkpoint("m");
    ASSERT_TRUE(checkpoint.ok());
    const StateImage kept = harness().Image(*model_);
    Push(8);
    auto stale = harness().NewPush(*model_, turns_[0].session,
                                   turns_[0].sequence + 1, Gradient());
    ASSERT_TRUE(process_->Restore("m", checkpoint->name).ok());
    StateImage now = harness().Image(*model_);
    EXPECT_EQ(now.momentum, kept.momentum);
    EXPECT_EQ(now.parameters, kept.parameters);
    EXPECT_EQ(now.cycles, kept.cycles);
    EXPECT_EQ(now.folded_pushes, 5);
    const auto refused = harness().PushNow(*model_, std::move(stale));
    EXPECT_EQ(GetErrorInfo(refused.status()).reason, Reason::kLineageChanged);
    Push(3);  // the next sequences
    now = harness().Image(*model_);
    if (durability == Durability::kMemory) process_->Drain();
    StartAgain();
    EXPECT_EQ(harness().Image(*model_), now);
    EXPECT_EQ(process_->Restore("m", "checkpoint-7").status().code(),
              absl::StatusCode::kNotFound);
    ASSERT_TRUE(process_->store().Delete("m").ok());
  }
}

TEST_F(GoingBackTest, NoModelGoesBackToBeforeItsParameters) {
  for (const Durability durability :
       {Durability::kMemory, Durability::kJournal}) {
    SCOPED_TRACE(static_cast<int>(durability));
    ASSERT_TRUE(process_->Create(Spec(durability)).ok());
    StartAgain();
    const auto empty = process_->Checkpoint("m");
    ASSERT_TRUE(empty.ok()) << empty.status();
    ASSERT_TRUE(harness().Initialize(*model_, 0.5).ok());
    const StateImage before = harness().Image(*model_);
    const absl::Status refused = process_->Restore("m", empty->name).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(GetErrorInfo(refused).reason, Reason::kNotInitialized) << refused;
    EXPECT_EQ(harness().Image(*model_), before);
    ASSERT_TRUE(process_->store().Delete("m").ok());
  }
}

TEST_F(GoingBackTest, WhoHasPushedIsAsItWasWhenAModelGoesBack) {
  for (const Durability durability :
       {Durability::kMemory, Durability::kJournal}) {
    SCOPED_TRACE(static_cast<int>(durability));
    for (Turn& turn : turns_) turn.sequence = 0;
    pushes_ = 0;
    Create(Spec(durability));
    Push(5);
    const auto checkpoint = process_->Checkpoint("m");
    ASSERT_TRUE(checkpoint.ok());
    Push(4);
    ASSERT_TRUE(process_->Restore("m", checkpoint->name).ok());
    const StateImage now = harness().Image(*model_);
    ASSERT_EQ(now.sessions.size(), 2);
    EXPECT_EQ(std::get<3>(now.sessions[0]), 1);  // the fifth is a's
    EXPECT_EQ(std::get<3>(now.sessions[1]), 0);
    if (durability == Durability::kMemory) process_->Drain();
    StartAgain();
    EXPECT_EQ(harness().Image(*model_), now);
    ASSERT_TRUE(process_->store().Delete("m").ok());
  }
}

}  // namespace
}  // namespace accrue
