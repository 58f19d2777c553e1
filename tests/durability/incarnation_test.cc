// A model is deleted, and another of its name is created, while the disk is not
// done with the first one; or a process ends before it is done with a new one.
#include <future>

#include "gtest/gtest.h"
#include "server/base/error.h"
#include "tests/durability/slow_disk.h"

namespace accrue {
namespace {

using IncarnationTest = SlowDiskTest;

TEST_F(IncarnationTest, ACheckpointOfADeletedModelIsNotTheNextOnes) {
  auto model = Create(Durability::kMemory);
  ASSERT_TRUE(harness().Initialize(*model, 1).ok());
  ASSERT_TRUE(harness().Open(*model, "a").ok());
  HoldUp("make directory", "/tmp-");
  auto checkpoint =
      std::async(std::launch::async, [&] { return process_->Checkpoint("m"); });
  AwaitHeldUp();
  ASSERT_TRUE(process_->store().Delete("m").ok());
  model = Create(Durability::kMemory);
  LetGo();
  EXPECT_EQ(checkpoint.get().status().code(), absl::StatusCode::kNotFound);

  EXPECT_EQ(process_->data().Checkpoints("m")->size(), 1);
  model.reset();
  StartAgain();
  const auto found = process_->store().Find("m");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ((*found)->Describe().state, ModelState::kUninitialized);
}

TEST_F(IncarnationTest, AJournalOfADeletedModelDoesNotReplaceTheNextOnes) {
  auto model = Create(Durability::kJournal);
  ASSERT_TRUE(harness().Initialize(*model, 1).ok());
  ASSERT_TRUE(harness().Open(*model, "a").ok());
  // With the next record its journal begins a segment.
  ASSERT_TRUE(process_->Checkpoint("m").ok());
  HoldUp("create", "/journal.tmp");
  auto opened = std::async(std::launch::async,
                           [&, model] { return harness().Open(*model, "a"); });
  AwaitHeldUp();
  ASSERT_TRUE(process_->store().Delete("m").ok());
  model = Create(Durability::kJournal);
  ASSERT_TRUE(harness().Initialize(*model, 2).ok());
  ASSERT_TRUE(harness().Open(*model, "b").ok());
  LetGo();
  EXPECT_FALSE(opened.get().ok());

  model.reset();
  StartAgain();
  const auto found = process_->store().Find("m");
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ((*found)->Sessions().size(), 1);
  EXPECT_EQ((*found)->Sessions()[0].worker, "b");
}

TEST_F(IncarnationTest, OneThatADrainRefusesNeverWas) {
  for (const Durability durability :
       {Durability::kMemory, Durability::kJournal}) {
    std::promise<void> reached, go_on, ended;
    files_.faults().Add({.operation = "sync directory",
                         .path_part = "/models/m@",
                         .code = absl::StatusCode::kOk,
                         .first = [&] {
                           reached.set_value();
                           go_on.get_future().wait();
                         }});
    auto created = std::async(std::launch::async, [&] {
      return process_->Create(Spec(durability)).status();
    });
    reached.get_future().wait();
    process_->data().Drain(
        process_->store(), [] {}, [&] { ended.set_value(); });
    go_on.set_value();
    EXPECT_EQ(GetErrorInfo(created.get()).reason, Reason::kDraining);
    ended.get_future().wait();
    EXPECT_TRUE(process_->data().Unkept().empty());
    StartAgain();
    ASSERT_EQ(process_->store().Find("m").status().code(),
              absl::StatusCode::kNotFound);
  }
}

TEST_F(IncarnationTest, WhatCouldNotBeKeptIsNotInTheWayOfTheNextOne) {
  // Nothing can be removed again.
  files_.faults().Add({.operation = "sync directory",
                       .path_part = "/models",
                       .after = 3,
                       .times = kAlways});
  EXPECT_FALSE(process_->Create(Spec(Durability::kMemory)).ok());
  EXPECT_FALSE(process_->Create(Spec(Durability::kMemory)).ok());
  files_.faults().Clear();
  Create(Durability::kMemory);
  StartAgain();
  EXPECT_TRUE(process_->store().Find("m").ok());
}

}  // namespace
}  // namespace accrue
