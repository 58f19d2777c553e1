// A model begins anew on a disk that fails: either it has, and whoever asked
// for it is told so; or it never has, whatever is left of it, and what the
// model was goes on, in the process that runs and in the next.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/durability/checkpoint_directory.h"
#include "server/durability/journal_format.h"
#include "tests/durability/forgetful_files.h"
#include "tests/durability/keeping_process.h"
#include "tests/durability/model_directory.h"
#include "tests/durability/temporary_directory.h"
#include "tests/model/harness.h"
#include "tests/model/kept_models.h"

namespace accrue {
namespace {

ModelSpec Spec() {
  ModelSpec spec = TwoGroups("m");
  spec.durability = Durability::kJournal;
  FillDefaults(spec);
  return spec;
}

// A model with a checkpoint of t=5, at t=8.
class KeptModelOfAge {
 public:
  KeptModelOfAge() {
    StartAgain();
    model_ = *process_->Create(Spec());
    EXPECT_TRUE(harness().Initialize(*model_, 0.5).ok());
    session_ = harness().Open(*model_, "a")->id;
    Push(5);
    checkpoint_ = process_->Checkpoint("m")->name;
    Push(3);
  }

  // The process that runs ends without notice; with `cut`, so does the power.
  void StartAgain(bool cut = false, uint64_t seed = 0) {
    model_.reset();
    process_.reset();
    files_.reset();
    if (cut) ForgetfulFiles::CutPower(place_ / "shadow", seed);
    files_ = std::make_unique<ForgetfulFiles>(place_ / "shadow");
    Start();
  }
  // The next one, whose disk cannot be read when it begins, leaves it out.
  void LeaveOut() {
    model_.reset();
    process_.reset();
    files_->faults().Add(
        {.operation = "open", .path_part = "/checkpoint-", .times = kAlways});
    Start();
    files_->faults().Clear();
  }
  void Start() {
    process_ = std::make_unique<KeepingProcess>(data(), DurabilityOptions(),
                                                files_.get());
    ASSERT_EQ(process_->Start(), absl::OkStatus());
    if (auto found = process_->store().Find("m"); found.ok()) model_ = *found;
  }
  void Push(int count) {
    std::normal_distribution<float> normal;
    for (int i = 0; i < count; ++i) {
      std::vector<float> gradient(kTwoGroupsElems);
      for (float& g : gradient) g = normal(random_);
      const auto outcome =
          harness().PushNow(*model_, session_, ++sequence_, gradient);
      ASSERT_TRUE(outcome.ok()) << outcome.status();
    }
  }
  absl::Status GoBack() { return GoBackTo(checkpoint_); }
  absl::Status GoBackTo(const std::string& checkpoint) {
    auto restored = process_->Restore("m", checkpoint);
    if (restored.ok()) model_ = *restored;
    return restored.status();
  }
  absl::StatusOr<CheckpointInfo> Checkpoint() {
    return process_->Checkpoint("m");
  }
  // Asked for before a push is refused, and made behind that.
  absl::StatusOr<CheckpointInfo> CheckpointWhileAPushIsRefused() {
    std::promise<void> reached, refuse;
    files_->faults().Add(
        {.operation = "create", .path_part = "/journal.tmp", .first = [&] {
           reached.set_value();
           refuse.get_future().wait();
         }});
    auto pushed = std::async(std::launch::async, [this] {
      return harness()
          .PushNow(*model_, session_, sequence_ + 1,
                   std::vector<float>(kTwoGroupsElems, 1))
          .status();
    });
    reached.get_future().wait();
    std::promise<absl::StatusOr<CheckpointInfo>> made;
    (*process_->data().Find("m"))->Checkpoint([&](auto checkpoint) {
      made.set_value(std::move(checkpoint));
    });
    refuse.set_value();
    EXPECT_FALSE(pushed.get().ok());
    return made.get_future().get();
  }
  // The same where the executor goes on in the journal's very job, which
  // refuses the push: the checkpoint is queued behind that.
  absl::StatusOr<CheckpointInfo> CheckpointBehindARefusedPush() {
    std::promise<absl::StatusOr<CheckpointInfo>> made;
    std::future<absl::StatusOr<PushOutcome>> pushed;
    {
      const Hold hold(*model_);
      pushed = harness().Send(
          *model_, harness().NewPush(*model_, session_, sequence_ + 1,
                                     std::vector<float>(kTwoGroupsElems, 1)));
      (*process_->data().Find("m"))->Checkpoint([&](auto checkpoint) {
        made.set_value(std::move(checkpoint));
      });
    }
    EXPECT_FALSE(pushed.get().ok());
    return made.get_future().get();
  }
  // To less than the header of its newest segment.
  void CutJournal() {
    int64_t newest = 0;
    const auto entries = *files_->List(directory());
    for (const std::string& entry : entries) {
      newest = std::max(newest, journal::LsnOfName(entry).value_or(0));
    }
    std::filesystem::resize_file(
        directory() + "/" + journal::SegmentName(newest), 30);
  }
  void RemoveJournal() {
    const auto entries = *files_->List(directory());
    for (const std::string& entry : entries) {
      if (!journal::LsnOfName(entry).has_value()) continue;
      std::filesystem::remove(directory() + "/" + entry);
    }
  }
  // So many records that begin a segment: those behind the next beginning's
  // checkpoint.
  void RefuseRecords(int64_t times) {
    files_->faults().Add(
        {.operation = "create", .path_part = "/journal.tmp", .times = times});
  }
  // A restore that is refused, before its checkpoint is there, by a disk that
  // then takes no segment of a journal so many times.
  absl::Status GoBackInVain(int64_t times) {
    files_->faults().Add({.operation = "make directory", .path_part = "/tmp-"});
    RefuseRecords(times);
    return GoBack();
  }
  // A checkpoint is captured before the model goes back, and durable while that
  // is half way.
  absl::Status GoBackWhileACheckpointIsMade() {
    std::promise<void> captured, made, half_way, go_on;
    const auto hold_up = [this](const std::string& operation,
                                std::promise<void>& reached,
                                std::promise<void>& until) {
      files_->faults().Add(
          {.operation = operation, .code = absl::StatusCode::kOk, .first = [&] {
             reached.set_value();
             until.get_future().wait();
           }});
    };
    hold_up("rename", captured, made);
    auto checkpoint =
        std::async(std::launch::async, [this] { return Checkpoint(); });
    captured.get_future().wait();
    hold_up("link", half_way, go_on);
    auto restored = std::async(std::launch::async, [this] { return GoBack(); });
    half_way.get_future().wait();
    made.set_value();
    EXPECT_TRUE(checkpoint.get().ok());
    go_on.set_value();
    return restored.get();
  }
  // That the model can be restored from, newest first.
  std::vector<CheckpointInfo> Checkpoints() {
    return *process_->data().Checkpoints("m");
  }
  StateImage Image() { return harness().Image(*model_); }

  bool is_there() const { return model_ != nullptr; }
  absl::Status Why() { return process_->store().Find("m").status(); }
  ForgetfulFiles& files() { return *files_; }
  std::string directory() const { return ModelDirectory(data(), "m"); }
  std::string newest() const {
    return ListCheckpoints(*files_, directory())->front();
  }

 private:
  Harness& harness() { return process_->harness(); }
  std::string data() const { return place_ / "data"; }

  TemporaryDirectory place_;
  std::unique_ptr<ForgetfulFiles> files_;
  std::unique_ptr<KeepingProcess> process_;
  std::shared_ptr<Model> model_;
  std::mt19937 random_{3};
  std::string session_;
  std::string checkpoint_;
  int64_t sequence_ = 0;
};

struct Trouble {
  int64_t times;  // so many changes of the disk fail, one after another
  bool goes_on;   // pushes come before the process ends
  bool cuts_power;
};

class BeginningTest : public ::testing::TestWithParam<Trouble> {};

TEST_P(BeginningTest, WhatWasRefusedNeverHappened) {
  const Trouble trouble = GetParam();
  bool done = false;
  int refused = 0;
  for (int64_t steps = 0; !done; ++steps) {
    SCOPED_TRACE(testing::Message() << steps << " changes go well");
    KeptModelOfAge model;
    const StateImage before = model.Image();
    model.files().faults().Add({.operation = "change",
                                .path_part = model.directory(),
                                .after = steps,
                                .times = trouble.times});
    const bool restored = model.GoBack().ok();
    // What fails behind that is not the restore's.
    model.files().faults().Clear();
    const StateImage now = model.Image();
    if (!restored) {
      ++refused;
      ASSERT_EQ(now, before);
    } else {
      ASSERT_EQ(now.folded_pushes, 5);
    }
    if (trouble.goes_on) model.Push(3);
    const StateImage last = model.Image();
    model.StartAgain(trouble.cuts_power, static_cast<uint64_t>(steps));
    ASSERT_TRUE(model.is_there()) << model.Why();
    // As of any record that was refused last, of its record all may be there.
    if (restored || trouble.goes_on || model.Image().folded_pushes != 5) {
      ASSERT_EQ(model.Image(), last);
    }
    model.Push(2);
    done = restored;
    ASSERT_LT(steps, 100);
  }
  EXPECT_GT(refused, 5);
}

INSTANTIATE_TEST_SUITE_P(
    Disks, BeginningTest,
    ::testing::Values(Trouble{1, true, false}, Trouble{1, false, false},
                      Trouble{2, true, false}, Trouble{2, false, false},
                      Trouble{3, true, false}, Trouble{3, true, true}),
    [](const auto& info) {
      const Trouble& trouble = info.param;
      return std::to_string(trouble.times) +
             (trouble.goes_on ? "AndGoesOn" : "AndEnds") +
             (trouble.cuts_power ? "WithoutPower" : "");
    });

// Where it is not removed at once, for lack of a record behind it, it is before
// the next checkpoint.
TEST(BeginningTest, WhatWasRefusedIsInNobodysWay) {
  for (const int64_t times : {1, 2}) {
    SCOPED_TRACE(testing::Message() << times << " segments cannot be begun");
    KeptModelOfAge model;
    const StateImage before = model.Image();
    const std::string newest = model.newest();
    model.RefuseRecords(times);
    ASSERT_FALSE(model.GoBack().ok());
    EXPECT_EQ(model.newest() == newest, times == 1);
    EXPECT_EQ(model.Checkpoints().front().name, newest);

    const auto checkpoint = model.Checkpoint();
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    EXPECT_EQ(checkpoint->folded_pushes, 8);
    ASSERT_EQ(model.Checkpoints().size(), 2);
    EXPECT_EQ(model.Checkpoints()[0].name, checkpoint->name);
    EXPECT_EQ(model.Checkpoints()[1].name, newest);
    model.StartAgain();
    ASSERT_TRUE(model.is_there()) << model.Why();
    EXPECT_EQ(model.Image(), before);
    model.Push(2);
  }
}

TEST(BeginningTest, WhatWasRefusedGoesBeforeTheNextBeginning) {
  KeptModelOfAge model;
  const std::string newest = model.newest();
  model.RefuseRecords(2);
  ASSERT_FALSE(model.GoBack().ok());
  ASSERT_NE(model.newest(), newest);

  ASSERT_EQ(model.GoBack(), absl::OkStatus());
  ASSERT_EQ(model.Checkpoints().size(), 2);
  EXPECT_EQ(model.Checkpoints()[0].name, model.newest());
  EXPECT_EQ(model.Checkpoints()[1].name, newest);
}

TEST(BeginningTest, NothingIsWrittenBesideWhatWasRefusedAndCannotGo) {
  for (const bool begins : {false, true}) {
    SCOPED_TRACE(testing::Message() << begins);
    KeptModelOfAge model;
    const StateImage before = model.Image();
    const std::string newest = model.newest();
    model.RefuseRecords(1);
    model.files().faults().Add(
        {.operation = "rename", .path_part = "/checkpoint-", .times = 2});
    ASSERT_FALSE(model.GoBack().ok());
    ASSERT_NE(model.newest(), newest);
    const absl::Status written =
        begins ? model.GoBack() : model.Checkpoint().status();
    EXPECT_EQ(GetErrorInfo(written).reason, Reason::kCheckpointFailed);
    EXPECT_EQ(model.Image(), before);

    const auto checkpoint = model.Checkpoint();
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    ASSERT_EQ(model.Checkpoints().size(), 2);
    EXPECT_EQ(model.Checkpoints()[1].name, newest);
    model.StartAgain();
    ASSERT_TRUE(model.is_there()) << model.Why();
    EXPECT_EQ(model.Image(), before);
  }
}

TEST(BeginningTest, NoLeftOutModelGoesBackToWhatWasRefused) {
  KeptModelOfAge model;
  const auto newest = model.Checkpoint();
  ASSERT_TRUE(newest.ok()) << newest.status();
  model.Push(1);
  model.RefuseRecords(2);
  ASSERT_FALSE(model.GoBack().ok());
  const std::string refused = model.newest();
  ASSERT_NE(refused, newest->name);
  model.LeaveOut();
  ASSERT_FALSE(model.is_there());
  EXPECT_EQ(model.Checkpoints().front().name, newest->name);
  EXPECT_EQ(GetErrorInfo(model.GoBackTo(refused)).reason,
            Reason::kCheckpointUnknown);
  ASSERT_EQ(model.GoBackTo(""), absl::OkStatus());
  EXPECT_EQ(model.Image().folded_pushes, 8);
}

// Where the journal cannot tell whether the model ever began so.
TEST(BeginningTest, NoDamagedModelGoesBackToOneUnlessItIsNamed) {
  for (const bool removed : {false, true}) {
    SCOPED_TRACE(testing::Message() << "journal removed: " << removed);
    KeptModelOfAge model;
    ASSERT_EQ(model.GoBack(), absl::OkStatus());
    const std::string begun = model.newest();
    removed ? model.RemoveJournal() : model.CutJournal();
    model.StartAgain();
    ASSERT_FALSE(model.is_there());
    EXPECT_EQ(model.Checkpoints().front().name, begun);
    const absl::Status untold = model.GoBackTo("");
    EXPECT_EQ(untold.code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(GetErrorInfo(untold).reason, Reason::kDamaged);
    ASSERT_EQ(model.GoBackTo(begun), absl::OkStatus());
    EXPECT_EQ(model.Image().folded_pushes, 5);
  }
}

TEST(BeginningTest, WhatAModelGoesBackToIsNotRetiredMeanwhile) {
  KeptModelOfAge model;
  ASSERT_TRUE(model.Checkpoint().ok());
  model.Push(2);
  EXPECT_EQ(model.GoBackWhileACheckpointIsMade(), absl::OkStatus());
  EXPECT_EQ(model.Image().folded_pushes, 5);
}

TEST(BeginningTest, ACheckpointOfWhatWasRefusedIsTheNewestThatThereIs) {
  KeptModelOfAge model;
  const auto newest = model.Checkpoint();
  ASSERT_TRUE(newest.ok()) << newest.status();
  const auto again = model.CheckpointWhileAPushIsRefused();
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->name, newest->name);
  model.Push(2);
}

TEST(BeginningTest, ACheckpointDoesNotWaitForTheJournalThatWaitsForIt) {
  KeptModelOfAge model;
  const StateImage before = model.Image();
  ASSERT_FALSE(model.GoBackInVain(kAlways).ok());
  EXPECT_EQ(model.CheckpointBehindARefusedPush().status().code(),
            absl::StatusCode::kUnavailable);
  model.files().faults().Clear();
  EXPECT_EQ(model.Image(), before);
  model.Push(2);
  EXPECT_TRUE(model.Checkpoint().ok());
}

// As long as that has the number that the next checkpoint would have, there is
// no next one.
TEST(BeginningTest, NoCheckpointTakesThePlaceOfWhatWasRefused) {
  KeptModelOfAge model;
  ASSERT_FALSE(model.GoBackInVain(/*times=*/2).ok());
  const std::string newest = model.newest();
  EXPECT_EQ(model.Checkpoint().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(model.newest(), newest);

  ASSERT_TRUE(model.Checkpoint().ok());
  model.Push(3);
  const StateImage last = model.Image();
  model.files().faults().Add(
      {.operation = "make directory", .path_part = "/tmp-"});
  EXPECT_FALSE(model.Checkpoint().ok());
  model.StartAgain();
  ASSERT_TRUE(model.is_there()) << model.Why();
  EXPECT_EQ(model.Image(), last);
}

// Its checkpoint is gone: what came behind it is of another lineage than what
// an older one would make of it.
TEST(BeginningTest, WhatHappenedIsNotReplayedAcross) {
  KeptModelOfAge model;
  ASSERT_EQ(model.GoBack(), absl::OkStatus());
  const std::string gone = model.newest();
  ASSERT_TRUE(RemoveCheckpoint(model.files(), model.directory(), gone).ok());
  model.StartAgain();
  EXPECT_FALSE(model.is_there());
  EXPECT_EQ(model.Why().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace accrue
