// A disk that fails under the real daemon: nothing is acknowledged that is not
// kept, what is there is served, and it all goes on when the disk does. At a
// start, what cannot be read is left out, and the others serve.
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/durability/file_faults.h"
#include "tests/durability/forgetful_files.h"
#include "tests/durability/temporary_directory.h"
#include "tests/e2e/acked_pushes.h"
#include "tests/e2e/ctl_program.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/faulty_daemon.h"
#include "tests/e2e/twin.h"
#include "tests/e2e/wire.h"
#include "tests/faults/fail_points.h"

namespace accrue {
namespace {

using ::testing::HasSubstr;

constexpr auto kReadOnly = absl::StatusCode::kFailedPrecondition;

class FailingDiskTest : public testing::Test {
 protected:
  FailingDiskTest()
      : daemon_(Daemon::Start({"--data_dir=" + data_}, kFaultyProgram,
                              Environment())) {}

  // From now on; none: it is a sound disk.
  void Fail(const std::vector<FileFault>& faults) {
    FileFaults::Save(place_ / "faults", faults);
  }
  AckedPushes Make(v1::Durability durability,
                   const std::string& model = "model") {
    return {*daemon_, model, durability};
  }
  void Restart() {
    daemon_->Kill();
    ASSERT_TRUE(daemon_->Restart(Environment())) << daemon_->Log();
  }
  std::vector<std::string> Environment() const {
    return {faults::ShadowVariable(shadow_),
            faults::FileFaultsVariable(place_ / "faults")};
  }

  TemporaryDirectory place_;
  const std::string data_ = place_ / "data";
  const std::string shadow_ = place_ / "shadow";
  std::unique_ptr<Daemon> daemon_;
};

struct Trouble {
  std::string name;
  std::vector<FileFault> faults;  // of any model whose name has "model" in it
  // Nothing that is refused comes back, even if nothing follows it.
  bool cuts = true;
};

FileFault Of(const std::string& operation,
             absl::StatusCode code = absl::StatusCode::kUnavailable) {
  return {.operation = operation, .path_part = "/model@", .code = code};
}

class FailingJournalTest : public FailingDiskTest,
                           public testing::WithParamInterface<Trouble> {
 protected:
  void ExpectRefusesPushes(AckedPushes& pushes) {
    Fail(GetParam().faults);
    for (int i = 0; i < 3; ++i) {
      const Ending ending = pushes.Push();
      ExpectRefused(ending, grpc::StatusCode::UNAVAILABLE,
                    v1::ErrorDetail::REASON_JOURNAL_FAILED);
      EXPECT_THAT(ending.status.error_message(), HasSubstr("as a test wants"));
    }
    pushes.ExpectHolds();
  }
};

TEST_P(FailingJournalTest, RefusesPushesAndGoesOnByItself) {
  AckedPushes pushes = Make(v1::DURABILITY_JOURNAL);
  AckedPushes other = Make(v1::DURABILITY_JOURNAL, "other");
  pushes.PushAll(3);
  ExpectRefusesPushes(pushes);
  other.PushAll(3);
  Fail({});
  pushes.PushAll(3);
  pushes.ExpectHolds();
  for (const uint64_t seed : {1, 2, 3}) {
    SCOPED_TRACE(absl::StrCat("power cut of seed ", seed));
    daemon_->Kill();
    ForgetfulFiles::CutPower(shadow_, seed);
    Restart();
    for (AckedPushes* all : {&pushes, &other}) {
      all->Resume();
      all->ExpectHolds();
      all->PushAll(1);
    }
  }
}

TEST_P(FailingJournalTest, ARestartFindsWhatWasAcknowledged) {
  AckedPushes pushes = Make(v1::DURABILITY_JOURNAL);
  pushes.PushAll(3);
  ExpectRefusesPushes(pushes);
  if (!GetParam().cuts) return;
  daemon_->Kill();
  ForgetfulFiles::CutPower(shadow_, /*seed=*/1);
  Fail({});
  Restart();
  pushes.Resume();
  pushes.ExpectHolds();
  pushes.PushAll(3);
  pushes.ExpectHolds();
}

INSTANTIATE_TEST_SUITE_P(
    All, FailingJournalTest,
    testing::Values(Trouble{"WriteFails", {Of("append")}},
                    Trouble{"SyncFails", {Of("sync")}},
                    Trouble{"MarkerFails", {Of("overwrite")}},
                    Trouble{"SyncAndCutFail",
                            {Of("sync"), Of("truncate")},
                            /*cuts=*/false},
                    Trouble{"ReadOnly", {Of("change", kReadOnly)}}),
    [](const auto& info) { return info.param.name; });

TEST_F(FailingDiskTest, ACheckpointThatFailsLeavesTheOlderOnesAndPushesGoOn) {
  for (const auto durability :
       {v1::DURABILITY_MEMORY, v1::DURABILITY_JOURNAL}) {
    AckedPushes pushes = Make(durability);
    pushes.PushAll(2);
    ASSERT_TRUE(pushes.Checkpoint().status.ok());
    for (const char* operation :
         {"make directory", "append", "sync", "rename", "sync directory"}) {
      SCOPED_TRACE(operation);
      const auto checkpoints = pushes.Checkpoints();
      pushes.PushAll(1);
      Fail({{.operation = operation, .path_part = "/tmp-"}});
      const Ending ending = pushes.Checkpoint();
      ExpectRefused(ending, grpc::StatusCode::UNAVAILABLE,
                    v1::ErrorDetail::REASON_CHECKPOINT_FAILED);
      EXPECT_EQ(pushes.Checkpoints(), checkpoints);
      if (durability == v1::DURABILITY_MEMORY) pushes.PushAll(1);
      pushes.ExpectHolds();
      Fail({});
      EXPECT_TRUE(pushes.Checkpoint().status.ok());
    }
    Restart();
    pushes.Resume();
    pushes.ExpectHolds();
    EXPECT_TRUE(pushes.wire().Delete("model").status.ok());
  }
}

// What cannot be told of a loss is not told; but pushes go on without it.
TEST_F(FailingDiskTest, ALossThatCouldNotBeWrittenDownIsOfAnUnknownNumber) {
  AckedPushes pushes = Make(v1::DURABILITY_MEMORY);
  pushes.PushAll(2);
  Fail({Of("overwrite")});
  pushes.PushAll(3);
  pushes.ExpectHolds();
  EXPECT_THAT(daemon_->Log(), HasSubstr("will not know what was lost"));
  Fail({});
  Restart();
  EXPECT_THAT(daemon_->Log(), HasSubstr("are lost: an unknown number"));
  pushes.TakeBackTo(0);
  pushes.Resume();
  pushes.PushAll(3);
  pushes.ExpectHolds();
  Restart();
  EXPECT_THAT(daemon_->Log(), HasSubstr("are lost: 3"));
}

TEST_F(FailingDiskTest, AModelThatCannotBeReadIsLeftOutAndBackAtTheNextStart) {
  for (const auto durability :
       {v1::DURABILITY_MEMORY, v1::DURABILITY_JOURNAL}) {
    AckedPushes pushes = Make(durability);
    AckedPushes other = Make(v1::DURABILITY_JOURNAL, "other");
    pushes.PushAll(3);
    ASSERT_TRUE(pushes.Checkpoint().status.ok());
    for (const char* operation : {"list", "open", "read"}) {
      SCOPED_TRACE(operation);
      Fail({{.operation = operation, .path_part = "/models/model"}});
      Restart();
      const Ending ending = pushes.Describe();
      ExpectRefused(ending, grpc::StatusCode::UNAVAILABLE,
                    v1::ErrorDetail::REASON_UNSPECIFIED);
      EXPECT_EQ(ending.detail.subject(), "model");
      for (const std::string& said :
           {ending.status.error_message(), daemon_->Log()}) {
        EXPECT_THAT(said, HasSubstr(absl::StrCat(
                              "model \"model\" is left out: cannot ", operation,
                              " \"", data_, "/models/model")));
      }
      ExpectRefused(pushes.wire().Create(Wire::Spec("model", 10, 1)),
                    grpc::StatusCode::UNAVAILABLE,
                    v1::ErrorDetail::REASON_UNSPECIFIED);
      other.Resume();
      other.PushAll(1);
      other.ExpectHolds();
      Fail({});
      Restart();
      pushes.ExpectHolds();
    }
    for (AckedPushes* all : {&pushes, &other}) {
      EXPECT_TRUE(all->wire().Delete(all->model()).status.ok());
    }
  }
}

TEST_F(FailingDiskTest, AModelThatIsLeftOutIsRestoredOrDeleted) {
  AckedPushes pushes = Make(v1::DURABILITY_JOURNAL);
  AckedPushes other = Make(v1::DURABILITY_JOURNAL, "other");
  pushes.PushAll(3);
  ASSERT_TRUE(pushes.Checkpoint().status.ok());
  pushes.PushAll(2);
  Fail({{.operation = "read", .path_part = "journal-"}});
  Restart();
  EXPECT_FALSE(pushes.Describe().status.ok());
  EXPECT_FALSE(other.Describe().status.ok());
  for (const v1::Model& model : pushes.wire().Models()) {
    EXPECT_EQ(model.state(), v1::Model::STATE_LEFT_OUT);
    EXPECT_THAT(model.unavailable_reason(), HasSubstr("/journal-"));
  }
  EXPECT_THAT(pushes.wire().Models(), testing::SizeIs(2));
  EXPECT_THAT(pushes.Checkpoints(), testing::SizeIs(2));
  EXPECT_TRUE(other.wire().Delete("other").status.ok());
  EXPECT_EQ(other.Describe().status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(pushes.wire().Models(), testing::SizeIs(1));
  // The journal that fails is not in the way.
  const Ending restored = pushes.Restore();
  ASSERT_TRUE(restored.status.ok()) << restored.status.error_message();
  pushes.TakeBackTo(3);
  pushes.Resume();
  pushes.PushAll(3);
  Fail({});
  Restart();
  pushes.Resume();
  pushes.ExpectHolds();
}

TEST_F(FailingDiskTest, AccruectlDeletesAgainWhatIsHalfDeleted) {
  AckedPushes pushes = Make(v1::DURABILITY_JOURNAL);
  const std::vector<std::string> again = {
      "accruectl", "--target", daemon_->tcp(), "delete",
      "model",     "--yes",    "--timeout=1s"};
  Fail({{.operation = "sync directory", .path_part = "/models"}});
  const Finished half = RunProgram(again);
  EXPECT_EQ(half.exit_code, 1);
  EXPECT_THAT(half.err, HasSubstr("CHECKPOINT_FAILED"));
  EXPECT_EQ(pushes.Describe().status.error_code(), grpc::StatusCode::NOT_FOUND);
  Fail({});
  const Finished deleted = RunProgram(again);
  EXPECT_EQ(deleted.exit_code, 0) << deleted.err;
  pushes.wire().Make(Wire::Spec("model", 10, 1));
}

TEST_F(FailingDiskTest, ARestoreThatFailsIsRefusedAndTriedAgain) {
  AckedPushes pushes = Make(v1::DURABILITY_JOURNAL);
  pushes.PushAll(3);
  ASSERT_TRUE(pushes.Checkpoint().status.ok());
  Fail({{.operation = "read", .path_part = "journal-"}});
  Restart();
  for (const char* operation : {"read", "create", "append", "sync"}) {
    Fail({{.operation = operation, .path_part = "/model@"}});
    ExpectRefused(pushes.Restore(), grpc::StatusCode::UNAVAILABLE,
                  v1::ErrorDetail::REASON_CHECKPOINT_FAILED);
  }
  Fail({});
  EXPECT_TRUE(pushes.Restore().status.ok());
  pushes.Resume();
  pushes.PushAll(1);
  pushes.ExpectHolds();
}

TEST(LittleMemoryTest, AModelWithoutMemoryIsLeftOut) {
  const TemporaryDirectory data;
  const auto daemon = Daemon::Start({"--data_dir=" + data.path()});
  std::vector<std::unique_ptr<AckedPushes>> models;
  for (const char* name : {"a", "b", "c", "d", "e", "f"}) {
    models.push_back(
        std::make_unique<AckedPushes>(*daemon, name, v1::DURABILITY_JOURNAL));
    models.back()->PushAll(3);
  }
  daemon->Kill();
  // 200,000 bytes each: enough for five.
  ASSERT_TRUE(daemon->Restart({"ACCRUED_STATE_MEMORY=1MiB"})) << daemon->Log();
  ExpectRefused(models.back()->Describe(), grpc::StatusCode::RESOURCE_EXHAUSTED,
                v1::ErrorDetail::REASON_STATE_MEMORY);
  EXPECT_THAT(daemon->Log(), HasSubstr("model \"f\" is left out: "));
  models.front()->ExpectHolds();
  daemon->Kill();
  ASSERT_TRUE(daemon->Restart()) << daemon->Log();
  models.back()->Resume();
  models.back()->PushAll(3);
  models.back()->ExpectHolds();
}

}  // namespace
}  // namespace accrue
