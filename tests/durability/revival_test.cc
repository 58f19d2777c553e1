// A model that a start had to leave out is restored from a checkpoint, by a
// disk that fails again, or by a process that is about to end.
#include <future>
#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "tests/durability/forgetful_files.h"
#include "tests/durability/keeping_process.h"
#include "tests/durability/temporary_directory.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

class RevivalTest : public ::testing::TestWithParam<Durability> {
 protected:
  // A model at t=5, with a checkpoint of t=3; the disk could not be read when
  // the process began, and can be now.
  RevivalTest() {
    StartAgain();
    ModelSpec spec = SimpleSpec(5, 2);
    spec.name = "m";
    spec.durability = GetParam();
    FillDefaults(spec);
    std::shared_ptr<Model> model = *process_->Create(spec);
    Harness& harness = process_->harness();
    EXPECT_TRUE(harness.Initialize(*model, 0.5).ok());
    const std::string session = harness.Open(*model, "a")->id;
    for (int64_t i = 1; i <= 5; ++i) {
      EXPECT_TRUE(harness.PushNow(*model, session, i, {1, 2, 3, 4, 5}).ok());
      if (i != 3) continue;
      EXPECT_TRUE(process_->Checkpoint("m").ok());
    }
    model.reset();
    files_.faults().Add(
        {.operation = "open", .path_part = "/checkpoint-", .times = kAlways});
    StartAgain();
    files_.faults().Clear();
  }

  void StartAgain() {
    process_.reset();
    process_ = std::make_unique<KeepingProcess>(data_.path(),
                                                DurabilityOptions(), &files_);
    ASSERT_EQ(process_->Start(), absl::OkStatus());
  }
  absl::Status Find() { return process_->store().Find("m").status(); }
  ModelDescription Describe() {
    return (*process_->store().Find("m"))->Describe();
  }

  const TemporaryDirectory data_;
  const TemporaryDirectory shadow_;
  ForgetfulFiles files_{shadow_ / "shadow"};
  std::unique_ptr<KeepingProcess> process_;
};

INSTANTIATE_TEST_SUITE_P(All, RevivalTest,
                         ::testing::Values(Durability::kMemory,
                                           Durability::kJournal),
                         [](const auto& info) {
                           return info.param == Durability::kMemory ? "Memory"
                                                                    : "Journal";
                         });

TEST_P(RevivalTest, WhoIsToldToRestoreIsToldWhatThatCosts) {
  EXPECT_EQ(Find().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(Find().message()),
              ::testing::HasSubstr("give up what came behind"));
  ASSERT_TRUE(process_->Restore("m", "").ok());
  EXPECT_EQ(Describe().folded_pushes, 3);
}

TEST_P(RevivalTest, OneThatFailsChangesNothingOfWhatIsThere) {
  files_.faults().Add({.operation = "rename", .path_part = "/tmp-"});
  ASSERT_FALSE(process_->Restore("m", "").ok());
  StartAgain();
  ASSERT_EQ(Find(), absl::OkStatus());
  const bool journal = GetParam() == Durability::kJournal;
  EXPECT_EQ(Describe().folded_pushes, journal ? 5 : 3);
  EXPECT_EQ(Describe().lost_pushes, journal ? 0 : 2);
}

TEST_P(RevivalTest, WhoHasPushedTowardTheNextVersionStaysKnown) {
  ASSERT_TRUE(process_->Restore("m", "").ok());
  for (int start = 0; start < 2; ++start) {
    ASSERT_EQ(Find(), absl::OkStatus());
    auto model = *process_->store().Find("m");
    ASSERT_TRUE(process_->harness().Open(*model, "a").ok());
    ASSERT_EQ(model->Sessions().size(), 1);
    EXPECT_EQ(model->Sessions()[0].pushes_this_version, 1) << start;
    model.reset();
    StartAgain();
  }
}

TEST_P(RevivalTest, NoneComesBehindADrain) {
  std::promise<void> reached, go_on;
  files_.faults().Add({.operation = "rename",
                       .path_part = "/tmp-",
                       .code = absl::StatusCode::kOk,
                       .first = [&] {
                         reached.set_value();
                         go_on.get_future().wait();
                       }});
  auto restored = std::async(std::launch::async, [this] {
    return process_->Restore("m", "").status();
  });
  reached.get_future().wait();
  process_->Drain();
  go_on.set_value();
  EXPECT_EQ(GetErrorInfo(restored.get()).reason, Reason::kDraining);
  EXPECT_EQ(GetErrorInfo(process_->Restore("m", "").status()).reason,
            Reason::kDraining);
  EXPECT_FALSE(Find().ok());
  StartAgain();
  ASSERT_EQ(Find(), absl::OkStatus());
  EXPECT_EQ(Describe().folded_pushes, 3);
}

}  // namespace
}  // namespace accrue
