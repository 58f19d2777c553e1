// A model that a start had to leave out is restored from a checkpoint, by a
// disk that fails again, or by a process that is about to end.
#include <filesystem>
#include <future>
#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/durability/checkpoint_directory.h"
#include "server/durability/journal_format.h"
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

  struct Aged {
    CheckpointInfo older;
    int64_t folded_pushes;
  };
  // Three pushes, a checkpoint of them, and it is left out again.
  Aged Age() {
    auto model = *process_->store().Find("m");
    Aged aged = {(*process_->data().Find("m"))->newest(), 0};
    Harness& harness = process_->harness();
    const auto session = harness.Open(*model, "a");
    for (int64_t i = 1; i <= 3; ++i) {
      const auto pushed = harness.PushNow(
          *model, session->id, session->last_sequence + i, {1, 2, 3, 4, 5});
      EXPECT_TRUE(pushed.ok()) << pushed.status();
    }
    const auto newest = process_->Checkpoint("m");
    EXPECT_TRUE(newest.ok()) << newest.status();
    aged.folded_pushes = newest->folded_pushes;
    model.reset();
    LeaveOut();
    return aged;
  }
  // But for what the next segment of a journal replaces.
  int64_t CountOfFiles() const {
    int64_t count = 0;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(data_.path())) {
      if (entry.path().filename() != journal::kUnfinishedName) ++count;
    }
    return count;
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

// Whichever change of the disk fails.
TEST_P(RevivalTest, OneThatIsRefusedNeverHappens) {
  StartAgain();
  int refused = 0;
  bool met = true;
  for (int64_t steps = 0; met; ++steps) {
    SCOPED_TRACE(testing::Message() << steps << " changes go well");
    const Aged aged = Age();
    const int64_t files = CountOfFiles();
    met = false;
    files_.faults().Add({.operation = "change",
                         .path_part = "/models/",
                         .after = steps,
                         .first = [&] { met = true; }});
    const bool restored = process_->Restore("m", aged.older.name).ok();
    files_.faults().Clear();
    if (!restored) {
      ++refused;
      EXPECT_EQ(CountOfFiles(), files);
    }
    StartAgain();
    ASSERT_EQ(Find(), absl::OkStatus());
    if (restored) {
      ASSERT_EQ(Describe().folded_pushes, aged.older.folded_pushes);
    } else {
      ASSERT_EQ(Describe().folded_pushes, aged.folded_pushes);
      ASSERT_EQ(Describe().lost_pushes, 0);
    }
    ASSERT_LT(steps, 100);
  }
  EXPECT_GT(refused, 5);
}

// One that has been overtaken by another is not taken for it.
TEST_P(RevivalTest, OneIsNotAnsweredWithWhatAnotherHasRestored) {
  StartAgain();
  const Aged aged = Age();
  std::promise<void> reached, go_on;
  files_.faults().Add({.operation = "open",
                       .path_part = "/checkpoint-",
                       .code = absl::StatusCode::kOk,
                       .first = [&] {
                         reached.set_value();
                         go_on.get_future().wait();
                       }});
  auto newest = std::async(std::launch::async, [this] {
    return process_->Restore("m", "").status();
  });
  reached.get_future().wait();
  EXPECT_EQ(process_->Restore("m", aged.older.name).status(), absl::OkStatus());
  go_on.set_value();
  const absl::Status overtaken = newest.get();
  EXPECT_EQ(overtaken.code(), absl::StatusCode::kUnavailable);
  EXPECT_GT(GetErrorInfo(overtaken).retry_after, absl::ZeroDuration());
  EXPECT_EQ(Describe().folded_pushes, aged.older.folded_pushes);
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
