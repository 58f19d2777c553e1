// A model is deleted on a disk that fails half way, and the power is cut: what
// was answered is there again, or the model is gone and nobody was told that
// anything more was kept of it.
#include <cstdint>
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "server/base/error.h"
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

class DeletionTest : public ::testing::TestWithParam<Durability> {
 protected:
  DeletionTest() {
    StartAgain();
    model_ = *process_->Create(Spec(GetParam()));
    EXPECT_TRUE(process_->harness().Initialize(*model_, 0.5).ok());
    session_ = process_->harness().Open(*model_, "a")->id;
    EXPECT_TRUE(Push().ok());
  }

  void StartAgain() {
    model_.reset();
    process_.reset();
    files_ = std::make_unique<ForgetfulFiles>(place_ / "shadow");
    process_ = std::make_unique<KeepingProcess>(
        place_ / "data", DurabilityOptions(), files_.get());
    ASSERT_EQ(process_->Start(), absl::OkStatus());
  }
  void CutPower(uint64_t seed) {
    model_.reset();
    process_.reset();
    ForgetfulFiles::CutPower(place_ / "shadow", seed);
    StartAgain();
  }
  absl::Status Push() {
    return process_->harness()
        .PushNow(*model_, session_, ++sequence_, {1, 2, 3, 4, 5})
        .status();
  }
  absl::Status Delete() { return process_->store().Delete("m"); }
  absl::Status Find() { return process_->store().Find("m").status(); }
  // The next call of that kind.
  void Fail(const std::string& operation) {
    files_->faults().Add({.operation = operation, .path_part = "/models"});
  }

  TemporaryDirectory place_;
  std::unique_ptr<ForgetfulFiles> files_;
  std::unique_ptr<KeepingProcess> process_;
  std::shared_ptr<Model> model_;
  std::string session_;
  int64_t sequence_ = 0;
};

INSTANTIATE_TEST_SUITE_P(All, DeletionTest,
                         ::testing::Values(Durability::kMemory,
                                           Durability::kJournal),
                         [](const auto& info) {
                           return info.param == Durability::kMemory ? "Memory"
                                                                    : "Journal";
                         });

TEST_P(DeletionTest, AModelThatCannotBeMovedLivesOn) {
  Fail("rename");
  EXPECT_EQ(Delete().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Find(), absl::OkStatus());
  EXPECT_EQ(Push(), absl::OkStatus());
  EXPECT_EQ(Delete(), absl::OkStatus());
}

TEST_P(DeletionTest, WhatHasBegunIsNotTakenBack) {
  Fail("sync directory");
  const absl::Status deleted = Delete();
  EXPECT_EQ(deleted.code(), absl::StatusCode::kUnavailable) << deleted;
  EXPECT_EQ(GetErrorInfo(deleted).reason, Reason::kCheckpointFailed);
  // The disk may keep that it is gone, and nothing else.
  EXPECT_FALSE(Push().ok());
  EXPECT_EQ(Find().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(process_->Create(Spec(GetParam())).ok());
  EXPECT_FALSE(process_->Restore("m", "").ok());

  EXPECT_EQ(Delete(), absl::OkStatus());
  EXPECT_EQ(Find().code(), absl::StatusCode::kNotFound);
  CutPower(1);
  EXPECT_EQ(Find().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(process_->Create(Spec(GetParam())).ok());
}

TEST_P(DeletionTest, AfterAPowerCutAllThatWasAnsweredIsThereOrNothing) {
  int64_t there = 0;
  for (uint64_t seed = 0; seed < 16; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Fail("sync directory");
    ASSERT_FALSE(Delete().ok());
    if (seed % 2 == 1) StartAgain();  // takes what is left away
    CutPower(seed);
    const auto found = process_->store().Find("m");
    if (absl::IsNotFound(found.status())) {
      ASSERT_TRUE(process_->Create(Spec(GetParam())).ok());
      continue;
    }
    ++there;
    ASSERT_TRUE(found.ok()) << found.status();
  }
  EXPECT_GT(there, 0);
}

}  // namespace
}  // namespace accrue
