// A daemon that was killed has lost what came after a MEMORY model's newest
// checkpoint: what workers are told, once, and how they go on.
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "accrue/client.h"
#include "tests/durability/temporary_directory.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/damage.h"
#include "tests/e2e/scrape.h"
#include "tests/e2e/training.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

using client::Buffering;
using client::Durability;
using client::Model;
using client::PushResult;
using client::Reason;
using client::Watcher;
using client::Worker;
using ::testing::AnyOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr Training kTraining = {.durability = Durability::kMemory,
                                .buffering = Buffering::kEmbedded,
                                .workers = 2};

class RestartLossTest : public testing::Test {
 protected:
  RestartLossTest()
      : daemon_(Daemon::Start({"--data_dir=" + data_.path()})),
        model_(Make(daemon_->tcp(), kTraining)) {}

  Worker Open(const std::string& name) {
    Worker worker = Value(model_.OpenWorker({.name = name}));
    EXPECT_TRUE(worker.Pull(&parameters_).ok());
    return worker;
  }
  // At what this worker pulled last; accepted.
  void Push(Worker& worker) {
    const PushResult pushed = Value(worker.Push(parameters_));
    EXPECT_TRUE(pushed.accepted) << pushed.message;
  }
  // One version: a push of each.
  void Cycle(Worker& one, Worker& other) {
    EXPECT_TRUE(one.Pull(&parameters_).ok());
    EXPECT_TRUE(other.Pull(&parameters_).ok());
    Push(one);
    Push(other);
  }
  void Checkpoint() {
    BoundedContext context;
    v1::CheckpointRequest request;
    request.set_model(Training::kModel);
    v1::CheckpointResponse response;
    Wire wire(daemon_->tcp());
    const auto status = wire.models().Checkpoint(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  void Kill() {
    daemon_->Kill();
    ASSERT_TRUE(daemon_->Restart()) << daemon_->Log();
  }
  // The worker's next push, of the lineage that is gone, is refused; the one
  // after it is not.
  void ExpectToldOnce(Worker& worker) {
    const PushResult refused = Value(worker.Push(parameters_));
    EXPECT_FALSE(refused.accepted);
    EXPECT_EQ(refused.reason, Reason::kLineageChanged) << refused.message;
    EXPECT_EQ(refused.version.lineage, Lineage());
    ExpectGoesOn(worker);
  }
  void ExpectGoesOn(Worker& worker) {
    ASSERT_TRUE(worker.Pull(&parameters_).ok());
    EXPECT_EQ(worker.version()->lineage, Lineage());
    Push(worker);
  }
  std::string Lineage() { return Value(model_.Describe()).version->lineage; }
  int64_t Folded() { return Value(model_.Describe()).folded_pushes; }
  int64_t Lost() { return Value(model_.Describe()).lost_pushes; }
  double LostByMetrics() const {
    return ScrapeOf(*daemon_).At("accrue_lost_pushes_total", Training::kModel);
  }
  double UncertainByMetrics() const {
    return ScrapeOf(*daemon_).At("accrue_lost_pushes_uncertain",
                                 Training::kModel);
  }
  // Lines of the log that tell of a loss.
  std::vector<std::string> LossLines() const {
    std::vector<std::string> lines;
    for (const auto line : absl::StrSplit(daemon_->Log(), '\n')) {
      if (absl::StrContains(line, "are lost: ")) {
        lines.emplace_back(line.substr(line.find("lost: ")));
      }
    }
    return lines;
  }

  TemporaryDirectory data_;
  std::unique_ptr<Daemon> daemon_;
  Model model_;
  std::vector<float> parameters_ =
      std::vector<float>(static_cast<size_t>(kTraining.elements));
};

TEST_F(RestartLossTest, EachWorkerIsToldOnceAndTrainsOn) {
  Worker one = Open("one");
  Worker other = Open("other");
  Cycle(one, other);
  const std::string lineage = Lineage();
  Checkpoint();
  Cycle(one, other);
  Cycle(one, other);
  Kill();
  EXPECT_EQ(Folded(), 2);
  EXPECT_EQ(Lost(), 4);
  EXPECT_THAT(LossLines(), ElementsAre("lost: 4"));
  EXPECT_EQ(LostByMetrics(), 4);
  EXPECT_EQ(UncertainByMetrics(), 0);
  EXPECT_NE(Lineage(), lineage);
  ExpectToldOnce(one);
  ExpectToldOnce(other);
  Cycle(one, other);
  EXPECT_EQ(Folded(), 6);
}

// Whose session the checkpoint does not have.
TEST_F(RestartLossTest, SoIsAWorkerThatCameAfterTheCheckpoint) {
  Worker one = Open("one");
  Checkpoint();
  Worker other = Open("other");
  Cycle(one, other);
  Kill();
  ExpectToldOnce(other);
  ExpectToldOnce(one);
}

// Its sequences go back with the model's state, whether or not a push was ever
// refused.
TEST_F(RestartLossTest, AWorkerThatPulledFirstIsNotTold) {
  Worker one = Open("one");
  Worker other = Open("other");
  Checkpoint();
  Cycle(one, other);
  Kill();
  ExpectGoesOn(one);
  EXPECT_EQ(one.last_sequence(), 1);
  ExpectGoesOn(other);
}

TEST_F(RestartLossTest, APushOnItsWayIsRefusedLikeAnyOther) {
  Worker one = Open("one");
  Worker other = Open("other");
  Cycle(one, other);
  Checkpoint();
  Cycle(one, other);
  ASSERT_TRUE(one.Pull(&parameters_).ok());
  daemon_->Signal(SIGSTOP);
  client::PendingPush pending = one.PushAsync(parameters_);
  Kill();
  const PushResult refused = Value(pending.Wait());
  EXPECT_FALSE(refused.accepted);
  EXPECT_EQ(refused.reason, Reason::kLineageChanged) << refused.message;
  ExpectGoesOn(one);
}

// Nothing but its session is lost, and that might have folded the push.
TEST_F(RestartLossTest, SoIsAFirstPushOnItsWay) {
  Worker one = Open("one");
  daemon_->Signal(SIGSTOP);
  client::PendingPush pending = one.PushAsync(parameters_);
  Kill();
  const PushResult refused = Value(pending.Wait());
  EXPECT_FALSE(refused.accepted);
  EXPECT_EQ(refused.reason, Reason::kLineageChanged) << refused.message;
  ExpectGoesOn(one);
}

TEST_F(RestartLossTest, OneOfUnknownSizeIsAnAlertToo) {
  Worker one = Open("one");
  Push(one);
  daemon_->Kill();
  std::filesystem::remove(
      NewestFile(data_.path(), Training::kModel, "/progress"));
  ASSERT_TRUE(daemon_->Restart()) << daemon_->Log();
  EXPECT_THAT(LossLines(), ElementsAre("lost: an unknown number"));
  EXPECT_EQ(LostByMetrics(), 0);
  EXPECT_EQ(UncertainByMetrics(), 1);
  // Of what is known again.
  Push(one = Open("one"));
  Kill();
  EXPECT_EQ(LostByMetrics(), 1);
  EXPECT_EQ(UncertainByMetrics(), 0);
}

// Without a push, but somebody may have pulled it.
TEST_F(RestartLossTest, AVersionThatWasLostIsOfALineageOfItsOwn) {
  Worker one = Open("one");
  Push(one);
  Checkpoint();
  ASSERT_EQ(Value(model_.EndCycle()).version.number, 1);
  ASSERT_TRUE(one.Pull(&parameters_).ok());
  Kill();
  EXPECT_EQ(Lost(), 0);
  ASSERT_TRUE(one.PullNewer(&parameters_, absl::ZeroDuration()).ok());
  EXPECT_EQ(one.version()->number, 0);
}

TEST_F(RestartLossTest, AWatcherHearsOfTheNewLineage) {
  Worker one = Open("one");
  Worker other = Open("other");
  Cycle(one, other);
  Watcher watcher = model_.Watch();
  const std::string lineage =
      Value(watcher.Next(absl::Seconds(60))).version.lineage;
  Kill();
  const auto notice = Value(watcher.Next(absl::Seconds(60)));
  EXPECT_NE(notice.version.lineage, lineage);
  EXPECT_EQ(notice.version.number, 0);
}

TEST_F(RestartLossTest, ATrainingGoesOnThroughOneAfterAnother) {
  // So many that the training has not ended when the last kill comes, however
  // late that is.
  constexpr int64_t kVersions = 400;
  int64_t kills = 0;
  const auto trained = Train(daemon_->tcp(), kTraining, kVersions, [&] {
    Watcher watcher = model_.Watch();
    for (const int64_t at : {7, 18, 29}) {
      AwaitVersion(watcher, at);
      if (kills == 1) Checkpoint();
      Kill();
      ++kills;
    }
  });
  for (const Trained& worker : trained) {
    EXPECT_TRUE(worker.status.ok()) << worker.status;
    EXPECT_LE(std::count(worker.refusals.begin(), worker.refusals.end(),
                         Reason::kLineageChanged),
              kills);
    // STALE: a checkpoint in the middle of a cycle has this worker's push, and
    // the other one ends it.
    EXPECT_THAT(worker.refusals,
                Each(AnyOf(Reason::kLineageChanged, Reason::kStale)));
  }
  EXPECT_EQ(Value(model_.Describe()).version->number, kVersions);
  EXPECT_EQ(static_cast<int64_t>(LossLines().size()), kills);
}

TEST_F(RestartLossTest, ADrainLosesNothing) {
  Worker one = Open("one");
  Worker other = Open("other");
  Cycle(one, other);
  const std::string lineage = Lineage();
  ASSERT_TRUE(one.Pull(&parameters_).ok());
  ASSERT_EQ(daemon_->Terminate(), 0) << daemon_->Log();
  ASSERT_TRUE(daemon_->Restart()) << daemon_->Log();
  EXPECT_EQ(Lineage(), lineage);
  EXPECT_EQ(Lost(), 0);
  EXPECT_EQ(LostByMetrics(), 0);
  EXPECT_THAT(LossLines(), IsEmpty());
  const std::string session = one.session_id();
  Push(one);
  EXPECT_EQ(one.session_id(), session);
  EXPECT_EQ(one.last_sequence(), 2);
}

}  // namespace
}  // namespace accrue
