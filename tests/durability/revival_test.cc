// A model that a start had to leave out is restored from a checkpoint, by a
// disk that fails again, or by a process that is about to end.
#include <future>
#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "tests/durability/left_out_fixture.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

class RevivalTest : public LeftOutFixture,
                    public ::testing::WithParamInterface<Durability> {
 protected:
  // A model at t=5, with a checkpoint of t=3.
  RevivalTest() {
    std::shared_ptr<Model> model = *process_->Create(Spec("m", GetParam()));
    Harness& harness = process_->harness();
    EXPECT_TRUE(harness.Initialize(*model, 0.5).ok());
    const std::string session = harness.Open(*model, "a")->id;
    for (int64_t i = 1; i <= 5; ++i) {
      EXPECT_TRUE(harness.PushNow(*model, session, i, {1, 2, 3, 4, 5}).ok());
      if (i != 3) continue;
      EXPECT_TRUE(process_->Checkpoint("m").ok());
    }
    model.reset();
    LeaveOut();
  }

  absl::Status Find() { return LeftOutFixture::Find("m"); }
  ModelDescription Describe() {
    return (*process_->store().Find("m"))->Describe();
  }
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
