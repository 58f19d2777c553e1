// A process ends without notice: what its next one takes up is the same model,
// bit for bit, with its sessions; or, under MEMORY, the newest checkpoint, and
// what was lost is counted.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "tests/durability/keeping_process.h"
#include "tests/durability/model_directory.h"
#include "tests/durability/restart_fixture.h"
#include "tests/model/harness.h"
#include "tests/model/kept_models.h"

namespace accrue {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class RecoveryTest : public RestartFixture {
 protected:
  std::string FileOf(const std::string& prefix) const {
    const std::string directory = ModelDirectory(data_.path(), "m");
    std::string found;
    for (const auto& entry : fs::directory_iterator(directory)) {
      const std::string name = entry.path().filename();
      if (name.starts_with(prefix)) found = std::max(found, name);
    }
    return directory + "/" + found;
  }
  void FlipByte(const std::string& path, int64_t offset) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(offset);
    const char byte = static_cast<char>(file.get() ^ 0x10);
    file.seekp(offset);
    file.put(byte);
  }
};

class RecoveredOptimizerTest : public RecoveryTest,
                               public ::testing::WithParamInterface<KeptModel> {
};

TEST_P(RecoveredOptimizerTest, AJournalBringsBackEveryBit) {
  ModelSpec spec = Spec(Durability::kJournal);
  GetParam().change(spec);
  Create(spec);
  Push(7);
  ASSERT_TRUE(process_->Checkpoint("m").ok());  // amid both cycles
  Push(6);
  ASSERT_TRUE(harness().EndCycle(*model_).ok());
  Push(5);
  const StateImage before = harness().Image(*model_);
  const ModelDescription was = model_->Describe();

  StartAgain();
  ASSERT_NE(model_, nullptr);
  EXPECT_EQ(harness().Image(*model_), before);
  const ModelDescription is = model_->Describe();
  EXPECT_EQ(is.last_loss, was.last_loss);
  EXPECT_EQ(is.received_bytes, was.received_bytes);
  EXPECT_EQ(is.lost_pushes, 0);
  EXPECT_EQ(is.restored_folded_pushes, was.folded_pushes);
  for (size_t g = 0; g < was.groups.size(); ++g) {
    EXPECT_EQ(is.groups[g].k, was.groups[g].k);
    EXPECT_EQ(is.groups[g].clip_norm_seen, was.groups[g].clip_norm_seen);
  }

  // The last push, sent again, is known; and it trains on as if nothing had
  // happened: the journal alone, then, brings back what came since.
  const Turn& last = turns_[(pushes_ - 1) % 2];
  const auto again =
      harness().PushNow(*model_, last.session, last.sequence, last_);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->duplicate);
  Push(9);
  const StateImage later = harness().Image(*model_);
  StartAgain();
  EXPECT_EQ(harness().Image(*model_), later);
}

INSTANTIATE_TEST_SUITE_P(Optimizers, RecoveredOptimizerTest,
                         ::testing::ValuesIn(KeptModels()),
                         [](const auto& info) { return info.param.name; });

TEST_F(RecoveryTest, SessionsAndHyperparametersAreInTheJournal) {
  Create(Spec(Durability::kJournal));
  Push(1);
  ASSERT_TRUE(harness().CloseSession(*model_, turns_[1].session).ok());
  const std::string taken = harness().Open(*model_, "a")->id;
  ASSERT_TRUE(SetLearningRate(0.25).ok());
  StartAgain();
  ASSERT_EQ(model_->Sessions().size(), 1);
  EXPECT_EQ(model_->Sessions()[0].id, taken);
  EXPECT_EQ(model_->Describe().spec.groups[1].hyper.learning_rate, 0.25);
  EXPECT_EQ(model_->Describe().spec.groups[0].hyper.learning_rate, 0.05);
}

// Who was taken over must not take over in turn.
TEST_F(RecoveryTest, WhatWasFencedStaysFenced) {
  for (const Durability durability :
       {Durability::kMemory, Durability::kJournal}) {
    SCOPED_TRACE(static_cast<int>(durability));
    for (Turn& turn : turns_) turn.sequence = 0;
    Create(Spec(durability));
    Push(2);
    ASSERT_TRUE(harness().Open(*model_, "a").ok());
    ASSERT_TRUE(process_->Checkpoint("m").ok());
    for (int starts = 0; starts < 2; ++starts) {
      StartAgain();
      const auto refused =
          harness().PushNow(*model_, turns_[0].session, 2, Gradient());
      EXPECT_EQ(GetErrorInfo(refused.status()).reason, Reason::kSessionFenced);
    }
    ASSERT_TRUE(process_->store().Delete("m").ok());
  }
}

TEST_F(RecoveryTest, AModelWithoutParametersIsThereAgain) {
  for (const Durability durability :
       {Durability::kMemory, Durability::kJournal}) {
    ASSERT_TRUE(process_->Create(Spec(durability)).ok());
    StartAgain();
    ASSERT_NE(model_, nullptr);
    EXPECT_EQ(model_->Describe().state, ModelState::kUninitialized);
    EXPECT_TRUE(harness().Initialize(*model_, 1).ok());
    StartAgain();
    EXPECT_EQ(model_->Describe().state, ModelState::kReady);
    ASSERT_TRUE(process_->store().Delete("m").ok());
    StartAgain();
    EXPECT_EQ(model_, nullptr);
  }
}

TEST_F(RecoveryTest, MemoryGoesBackToTheNewestCheckpointAndCountsTheLoss) {
  Create(Spec(Durability::kMemory));
  Push(4);
  const StateImage kept = harness().Image(*model_);
  ASSERT_TRUE(process_->Checkpoint("m").ok());
  Push(3);
  StartAgain();
  const ModelDescription is = model_->Describe();
  EXPECT_EQ(is.folded_pushes, 4);
  EXPECT_EQ(is.lost_pushes, 3);
  EXPECT_EQ(is.restored_folded_pushes, 4);
  EXPECT_EQ(harness().Parameters(*model_), kept.parameters);
  EXPECT_NE(is.version->lineage, kept.version->lineage);
  EXPECT_EQ(is.version->number, kept.version->number);
  EXPECT_TRUE(model_->Sessions().empty());
  // Nothing more is lost by another end.
  StartAgain();
  EXPECT_EQ(model_->Describe().lost_pushes, 0);
  EXPECT_EQ(model_->Describe().folded_pushes, 4);
}

TEST_F(RecoveryTest, WhereNothingHasChangedTheNewestCheckpointServes) {
  for (const Durability durability :
       {Durability::kMemory, Durability::kJournal}) {
    Create(Spec(durability));
    const auto made = process_->Checkpoint("m");
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(process_->Checkpoint("m")->name, made->name);
    ASSERT_TRUE(harness().Open(*model_, "c").ok());
    EXPECT_NE(process_->Checkpoint("m")->name, made->name);
    ASSERT_TRUE(process_->store().Delete("m").ok());
  }
}

TEST_F(RecoveryTest, MemoryIsCheckpointedForChangedHyperparametersAlone) {
  options_.checkpoint_period = absl::Milliseconds(5);
  StartAgain();
  Create(Spec(Durability::kMemory));
  ASSERT_TRUE(process_->Checkpoint("m").ok());
  const auto newest = [this] {
    return (*process_->data().Find("m"))->newest().lsn;
  };
  const int64_t before = newest();
  ASSERT_TRUE(SetLearningRate(0.25).ok());
  while (newest() == before) std::this_thread::yield();
  StartAgain();
  EXPECT_EQ(model_->Describe().spec.groups[1].hyper.learning_rate, 0.25);
}

TEST_F(RecoveryTest, CheckpointsComeAfterSoManyUpdates) {
  options_.checkpoint_every_updates = 2;
  options_.checkpoint_keep = 3;
  StartAgain();
  Create(Spec(Durability::kJournal));
  const auto log = *process_->data().Find("m");
  const int64_t first = log->newest().lsn;
  // It is made beside the pushes.
  for (int i = 0; i < 400 && log->newest().lsn == first; ++i) Push(4);
  ASSERT_NE(log->newest().lsn, first);
  EXPECT_GT(log->newest().folded_pushes, 0);
  EXPECT_LE(process_->data().Checkpoints("m")->size(), 3);
}

TEST_F(RecoveryTest, AJournalThatIsTooLargeStartsACheckpoint) {
  options_.journal_limit_bytes = 64 << 10;
  options_.journal_segment_bytes = 16 << 10;
  StartAgain();
  Create(Spec(Durability::kJournal));
  auto log = *process_->data().Find("m");
  const int64_t first = log->newest().lsn;
  for (int i = 0; i < 400 && log->newest().lsn == first; ++i) Push(1);
  EXPECT_GT(log->newest().lsn, first);
  log.reset();
  const StateImage before = harness().Image(*model_);
  StartAgain();
  EXPECT_EQ(harness().Image(*model_), before);
}

TEST_F(RecoveryTest, AJournalOfOneLargeRecordIsCheckpointedAndGoesOn) {
  options_.journal_limit_bytes = 3000;  // less than an empty segment
  StartAgain();
  Create(Spec(Durability::kJournal));
  for (int i = 0; i < 40; ++i) {
    Turn& turn = turns_[0];
    const auto outcome =
        harness().PushNow(*model_, turn.session, turn.sequence + 1, Gradient());
    if (outcome.ok()) {
      ++turn.sequence;
      continue;
    }
    EXPECT_EQ(GetErrorInfo(outcome.status()).reason, Reason::kJournalFailed);
    ASSERT_TRUE(process_->Checkpoint("m").ok());
  }
  EXPECT_GE(turns_[0].sequence, 20);  // no two are refused in a row
}

TEST_F(RecoveryTest, AnyNameIsKept) {
  ModelSpec spec = Spec(Durability::kJournal);
  spec.name = "tmp-1";
  ASSERT_TRUE(process_->Create(spec).ok());
  StartAgain();
  EXPECT_TRUE(process_->store().Find("tmp-1").ok());
}

TEST_F(RecoveryTest, HyperparametersMayChangeBeforeParametersCome) {
  ASSERT_TRUE(process_->Create(Spec(Durability::kJournal)).ok());
  model_ = *process_->store().Find("m");
  ASSERT_TRUE(harness()
                  .Update(*model_, {{.group = "",
                                     .change =
                                         [](rule::Hyperparameters& hyper) {
                                           hyper.learning_rate = 0.25;
                                         }}})
                  .ok());
  ASSERT_TRUE(harness().Initialize(*model_, 1).ok());
  StartAgain();
  EXPECT_EQ(model_->Describe().spec.groups[0].hyper.learning_rate, 0.25);
}

TEST_F(RecoveryTest, WithoutItsJournalAModelIsDamaged) {
  Create(Spec(Durability::kJournal));
  Push(1);
  fs::remove(FileOf("journal-"));
  StartAgain();
  EXPECT_EQ(process_->store().Find("m").status().code(),
            absl::StatusCode::kDataLoss);
}

TEST_F(RecoveryTest, WhatIsNoModelsIsLeftAlone) {
  for (const std::string name : {"m", "m@1", "my notes@1", "\xff@1"}) {
    fs::create_directories(data_ / "models/" + name);
    std::ofstream(data_ / "models/" + name + "/thesis.tex") << "all of it";
  }
  StartAgain();
  EXPECT_EQ(process_->store().Find("m").status().code(),
            absl::StatusCode::kDataLoss);
  for (const std::string name : {"my notes", "\xff"}) {
    EXPECT_EQ(process_->store().Find(name).status().code(),
              absl::StatusCode::kNotFound);
  }
  EXPECT_TRUE(fs::exists(data_ / "models/m/thesis.tex"));
  EXPECT_TRUE(fs::exists(data_ / "models/m@1/thesis.tex"));
}

TEST_F(RecoveryTest, NobodyGuessesWhichOfTwoDirectoriesIsTheModels) {
  Create(Spec(Durability::kMemory));
  fs::copy(ModelDirectory(data_.path(), "m"), data_ / "models/m@copy",
           fs::copy_options::recursive);
  model_.reset();
  process_.reset();
  const absl::Status started = KeepingProcess(data_.path()).Start();
  EXPECT_EQ(started.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(started.message()), HasSubstr("m@copy"));
}

TEST_F(RecoveryTest, ADamagedJournalIsSaidToBeAndRevived) {
  Create(Spec(Durability::kJournal));
  Push(4);
  const auto checkpoint = process_->Checkpoint("m");
  ASSERT_TRUE(checkpoint.ok());
  const StateImage kept = harness().Image(*model_);
  Push(3);
  const std::string journal = FileOf("journal-");
  FlipByte(journal, 5000);
  StartAgain();
  ASSERT_EQ(model_, nullptr);
  const absl::Status why = process_->store().Find("m").status();
  EXPECT_EQ(why.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(GetErrorInfo(why).reason, Reason::kDamaged);
  EXPECT_THAT(std::string(why.message()), HasSubstr(journal));
  EXPECT_EQ(process_->Create(Spec(Durability::kJournal)).status().code(),
            absl::StatusCode::kDataLoss);

  ASSERT_TRUE(process_->Restore("m", checkpoint->name).ok());
  model_ = *process_->store().Find("m");
  EXPECT_EQ(harness().Parameters(*model_), kept.parameters);
  EXPECT_NE(model_->Describe().version->lineage, kept.version->lineage);
  for (Turn& turn : turns_) {
    turn = {harness().Open(*model_, &turn == turns_ ? "a" : "b")->id, 0};
  }
  Push(5);
  const StateImage before = harness().Image(*model_);
  StartAgain();
  ASSERT_NE(model_, nullptr) << process_->store().Find("m").status();
  EXPECT_EQ(harness().Image(*model_), before);
}

TEST_F(RecoveryTest, ADirectoryIsOneProcesses) {
  KeepingProcess other(data_.path());
  const absl::Status locked = other.Start();
  EXPECT_EQ(locked.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(locked.message()), HasSubstr(data_.path()));
}

}  // namespace
}  // namespace accrue
