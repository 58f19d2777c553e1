// A model is deleted, and another of its name is created, while the disk is not
// done with the first one.
#include <future>
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "tests/durability/forgetful_files.h"
#include "tests/durability/keeping_process.h"
#include "tests/durability/temporary_directory.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

ModelSpec Spec(Durability durability) {
  ModelSpec spec = SimpleSpec(5, 2);
  spec.name = "m";
  spec.durability = durability;
  FillDefaults(spec);
  return spec;
}

class IncarnationTest : public ::testing::Test {
 protected:
  IncarnationTest() { StartAgain(); }

  void StartAgain() {
    process_.reset();
    process_ = std::make_unique<KeepingProcess>(data_.path(),
                                                DurabilityOptions(), &files_);
    const absl::Status started = process_->Start();
    ASSERT_TRUE(started.ok()) << started;
  }
  std::shared_ptr<Model> Create(Durability durability) {
    auto made = process_->Create(Spec(durability));
    EXPECT_TRUE(made.ok()) << made.status();
    return *made;
  }
  // The next call of that kind waits for LetGo.
  void HoldUp(const std::string& operation, const std::string& path_part) {
    files_.faults().Add({.operation = operation,
                         .path_part = path_part,
                         .code = absl::StatusCode::kOk,
                         .first = [this] {
                           reached_.set_value();
                           let_go_.get_future().wait();
                         }});
  }
  void AwaitHeldUp() { reached_.get_future().wait(); }
  void LetGo() { let_go_.set_value(); }

  Harness& harness() { return process_->harness(); }

  const TemporaryDirectory data_;
  const TemporaryDirectory shadow_;
  ForgetfulFiles files_{shadow_ / "shadow"};
  std::promise<void> reached_;
  std::promise<void> let_go_;
  std::unique_ptr<KeepingProcess> process_;
};

TEST_F(IncarnationTest, ACheckpointOfADeletedModelIsNotTheNextOnes) {
  auto model = Create(Durability::kMemory);
  ASSERT_TRUE(harness().Initialize(*model, 1).ok());
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
