// A disk without room, and one that is read-only, under the real daemon: what
// cannot be kept is refused, what is there is served, also after a restart, and
// it all goes on by itself once there is room again.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/base/telling_rate.h"
#include "tests/e2e/acked_pushes.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/small_disk.h"
#include "tests/e2e/training.h"
#include "tests/e2e/twin.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kNoSpace[] = "No space left on device";
// Room for a push and half of another, or for one of a checkpoint's two files.
constexpr int64_t kLeftBytes = AckedPushes::kElems * 4 * 3 / 2;

class FullDiskTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!SmallDisk::WhyNot().empty()) {
      GTEST_SKIP() << "no disk can be mounted: " << SmallDisk::WhyNot();
    }
    disk_ = std::make_unique<SmallDisk>(int64_t{16} << 20);
    daemon_ = Daemon::Start({"--data_dir=" + disk_->path()});
  }

  AckedPushes Make(v1::Durability durability,
                   const std::string& model = "model") {
    return {*daemon_, model, durability};
  }
  static v1::ModelSpec Journaled(const std::string& model) {
    v1::ModelSpec spec = Wire::Spec(model, /*elems=*/10, /*k=*/1);
    spec.set_durability(v1::DURABILITY_JOURNAL);
    return spec;
  }
  // On the disk.
  std::string DirectoryOf(const std::string& model) const {
    std::string found;
    for (const auto& entry :
         std::filesystem::directory_iterator(disk_->path() + "/models")) {
      const std::string name = entry.path().filename();
      if (name.starts_with(model + "@")) found = "models/" + name;
    }
    return found;
  }
  void Kill() {
    daemon_->Kill();
    ASSERT_TRUE(daemon_->Restart()) << daemon_->Log();
  }
  static void ExpectNoSpace(const Ending& ending,
                            v1::ErrorDetail::Reason reason) {
    ExpectRefused(ending, grpc::StatusCode::UNAVAILABLE, reason);
    EXPECT_THAT(ending.status.error_message(), HasSubstr(kNoSpace));
  }

  std::unique_ptr<SmallDisk> disk_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(FullDiskTest, PushesAreRefusedPulledAllTheSameAndGoOn) {
  AckedPushes pushes = Make(v1::DURABILITY_JOURNAL);
  pushes.PushAll(3);
  disk_->Fill(kLeftBytes);
  for (int i = 0; i < 3; ++i) {
    ExpectNoSpace(pushes.PushUntilRefused(),
                  v1::ErrorDetail::REASON_JOURNAL_FAILED);
  }
  EXPECT_EQ(pushes.count(), 4);
  pushes.ExpectHolds();
  disk_->Free();
  pushes.PushAll(4);
  pushes.ExpectHolds();
  Kill();
  pushes.Resume();
  pushes.ExpectHolds();
}

// However often clients come again: the log is on a disk, too.
TEST_F(FullDiskTest, TheLogDoesNotTellOfEachRefusedPush) {
  AckedPushes pushes = Make(v1::DURABILITY_JOURNAL);
  disk_->Fill();
  const absl::Time start = absl::Now();
  for (int i = 0; i < 100; ++i) pushes.PushUntilRefused();
  const int64_t seconds = absl::ToInt64Seconds(absl::Now() - start) + 2;
  const std::vector<std::string> told =
      absl::StrSplit(daemon_->Log(), "error journal: ");
  EXPECT_GT(told.size(), 1);
  EXPECT_LE(told.size() - 1, TellingRate::kPerSecond * seconds);
}

// The SDK repeats what is refused, and says nothing of it.
TEST_F(FullDiskTest, WorkersRideThrough) {
  constexpr int64_t kVersions = 20;
  Gate full(10);
  Training training;
  training.gate = &full;
  const client::Model model = accrue::Make(daemon_->tcp(), training);
  const auto trained = Train(daemon_->tcp(), training, kVersions, [&] {
    client::Watcher watcher = model.Watch();
    AwaitVersion(watcher, 7);
    disk_->Fill();
    full.MoveTo(kVersions);
    const absl::Time deadline = absl::Now() + Daemon::kPatience;
    while (!absl::StrContains(daemon_->Log(), kNoSpace) &&
           absl::Now() < deadline) {
    }
    EXPECT_THAT(daemon_->Log(), HasSubstr(kNoSpace));
    Parameters(daemon_->tcp(), training);
    disk_->Free();
  });
  for (const Trained& worker : trained) {
    EXPECT_TRUE(worker.status.ok()) << worker.status;
    EXPECT_EQ(worker.accepted, kVersions);
    EXPECT_THAT(worker.refusals, IsEmpty());
  }
  const auto twin = Daemon::Start();
  training.durability = client::Durability::kMemory;
  accrue::Make(twin->tcp(), training);
  Train(twin->tcp(), training, kVersions);
  EXPECT_TRUE(Parameters(daemon_->tcp(), training) ==
              Parameters(twin->tcp(), training));
}

TEST_F(FullDiskTest, WhatNeedsTheDiskIsRefusedAndChangesNothing) {
  AckedPushes pushes = Make(v1::DURABILITY_JOURNAL);
  pushes.PushAll(3);
  const auto checkpoints = pushes.Checkpoints();
  ASSERT_TRUE(pushes.wire().Create(Journaled("empty")).status.ok());
  disk_->Fill();
  ExpectNoSpace(pushes.PushUntilRefused(),
                v1::ErrorDetail::REASON_JOURNAL_FAILED);
  ExpectNoSpace(pushes.wire().TryOpen("model", "other", ""),
                v1::ErrorDetail::REASON_JOURNAL_FAILED);
  ExpectNoSpace(pushes.wire().Initialize("empty"),
                v1::ErrorDetail::REASON_JOURNAL_FAILED);
  ExpectNoSpace(pushes.Restore(), v1::ErrorDetail::REASON_JOURNAL_FAILED);
  ExpectNoSpace(pushes.Checkpoint(), v1::ErrorDetail::REASON_CHECKPOINT_FAILED);
  ExpectNoSpace(pushes.wire().Create(Journaled("new")),
                v1::ErrorDetail::REASON_CHECKPOINT_FAILED);
  EXPECT_EQ(pushes.Checkpoints(), checkpoints);
  pushes.ExpectHolds();
  disk_->Free();
  EXPECT_TRUE(pushes.wire().Create(Journaled("new")).status.ok());
  EXPECT_TRUE(pushes.wire().Initialize("empty").status.ok());
  pushes.PushAll(3);
  EXPECT_TRUE(pushes.Checkpoint().status.ok());
  Kill();
  pushes.Resume();
  pushes.ExpectHolds();
}

TEST_F(FullDiskTest, ItStartsAndServesAndGoesOn) {
  AckedPushes journal = Make(v1::DURABILITY_JOURNAL);
  AckedPushes quiet = Make(v1::DURABILITY_JOURNAL, "quiet");
  AckedPushes memory = Make(v1::DURABILITY_MEMORY, "memory");
  journal.PushAll(5);
  memory.PushAll(2);
  ASSERT_TRUE(memory.Checkpoint().status.ok());
  disk_->Fill(kLeftBytes);
  journal.PushUntilRefused();
  disk_->Fill();
  // The second start finds what the first has left.
  for (int start = 0; start < 2; ++start) {
    Kill();
    EXPECT_THAT(daemon_->Log(), HasSubstr(kNoSpace));
    for (AckedPushes* pushes : {&journal, &quiet, &memory}) {
      pushes->ExpectHolds();
    }
  }
  for (AckedPushes* pushes : {&journal, &quiet}) {
    for (int i = 0; i < 2; ++i) {
      ExpectNoSpace(pushes->PushUntilRefused(),
                    v1::ErrorDetail::REASON_JOURNAL_FAILED);
    }
  }
  disk_->Free();
  for (AckedPushes* pushes : {&journal, &quiet, &memory}) {
    pushes->Resume();
    pushes->PushAll(3);
    EXPECT_TRUE(pushes->Checkpoint().status.ok());
    pushes->PushAll(3);
    pushes->ExpectHolds();
  }
  Kill();
  memory.TakeBackTo(5);
  for (AckedPushes* pushes : {&journal, &quiet, &memory}) {
    pushes->Resume();
    pushes->ExpectHolds();
  }
}

TEST_F(FullDiskTest, CheckpointsAreNotMadeAndNoPushIsRefusedInMemory) {
  AckedPushes pushes = Make(v1::DURABILITY_MEMORY);
  pushes.PushAll(3);
  ASSERT_TRUE(pushes.Checkpoint().status.ok());
  const auto checkpoints = pushes.Checkpoints();
  disk_->Fill(kLeftBytes);  // one of its files fits
  for (int i = 0; i < 3; ++i) {
    pushes.PushAll(2);
    ExpectNoSpace(pushes.Checkpoint(),
                  v1::ErrorDetail::REASON_CHECKPOINT_FAILED);
  }
  EXPECT_EQ(pushes.Checkpoints(), checkpoints);
  pushes.ExpectHolds();
  Kill();
  pushes.TakeBackTo(3);
  pushes.Resume();
  pushes.ExpectHolds();
  pushes.PushAll(2);
  disk_->Free();
  ASSERT_TRUE(pushes.Checkpoint().status.ok());
  Kill();
  pushes.Resume();
  pushes.ExpectHolds();
}

TEST_F(FullDiskTest, ADrainWithoutRoomForALastCheckpointSaysWhatIsLost) {
  AckedPushes journal = Make(v1::DURABILITY_JOURNAL);
  AckedPushes memory = Make(v1::DURABILITY_MEMORY, "memory");
  journal.PushAll(3);
  memory.PushAll(3);
  disk_->Fill();
  ASSERT_EQ(daemon_->Terminate(), EXIT_FAILURE) << daemon_->Log();
  EXPECT_THAT(daemon_->Log(),
              AllOf(HasSubstr(kNoSpace),
                    HasSubstr("model \"memory\": its last checkpoint is not "
                              "durable; what was acknowledged after"),
                    Not(HasSubstr("model \"model\": its last checkpoint"))));
  disk_->Free();
  ASSERT_TRUE(daemon_->Restart()) << daemon_->Log();
  memory.TakeBackTo(0);
  for (AckedPushes* pushes : {&journal, &memory}) {
    pushes->Resume();
    pushes->ExpectHolds();
  }
}

TEST_F(FullDiskTest, ADeleteMakesRoom) {
  AckedPushes pushes = Make(v1::DURABILITY_JOURNAL);
  AckedPushes other = Make(v1::DURABILITY_JOURNAL, "other");
  other.PushAll(10);
  disk_->Fill();
  ExpectNoSpace(pushes.Push(), v1::ErrorDetail::REASON_JOURNAL_FAILED);
  EXPECT_TRUE(pushes.wire().Delete("other").status.ok());
  pushes.PushAll(3);
  pushes.ExpectHolds();
}

TEST_F(FullDiskTest, AReadOnlyDirectoryOfOneModelLeavesThatOneOut) {
  AckedPushes pushes = Make(v1::DURABILITY_JOURNAL);
  AckedPushes other = Make(v1::DURABILITY_JOURNAL, "other");
  pushes.PushAll(3);
  other.PushAll(3);
  daemon_->Kill();
  const std::string directory = DirectoryOf("model");
  disk_->SetReadOnly(directory);
  ASSERT_TRUE(daemon_->Restart()) << daemon_->Log();
  const Ending ending = pushes.Describe();
  ExpectRefused(ending, grpc::StatusCode::UNAVAILABLE,
                v1::ErrorDetail::REASON_UNSPECIFIED);
  for (const std::string& said :
       {ending.status.error_message(), daemon_->Log()}) {
    EXPECT_THAT(said, HasSubstr("model \"model\" is left out: cannot open"));
    EXPECT_THAT(said, HasSubstr("Read-only file system"));
  }
  other.Resume();
  other.PushAll(3);
  other.ExpectHolds();
  daemon_->Kill();
  disk_->SetWritable(directory);
  ASSERT_TRUE(daemon_->Restart()) << daemon_->Log();
  for (AckedPushes* all : {&pushes, &other}) {
    all->Resume();
    all->PushAll(3);
    all->ExpectHolds();
  }
}

TEST_F(FullDiskTest, AReadOnlyDataDirectoryStopsTheStart) {
  AckedPushes pushes = Make(v1::DURABILITY_JOURNAL);
  pushes.PushAll(3);
  daemon_->Kill();
  disk_->SetReadOnly("");
  EXPECT_FALSE(daemon_->Restart());
  EXPECT_EQ(daemon_->AwaitExit(), 1);
  EXPECT_THAT(daemon_->Log(), HasSubstr("accrued cannot start: cannot lock"));
  EXPECT_THAT(daemon_->Log(), HasSubstr("Read-only file system"));
  disk_->SetWritable("");
  ASSERT_TRUE(daemon_->Restart()) << daemon_->Log();
  pushes.Resume();
  pushes.ExpectHolds();
}

}  // namespace
}  // namespace accrue
