// Workers ride through restarts of the daemon: what the training script sees.
#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "accrue/client.h"
#include "tests/durability/temporary_directory.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/training.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

using client::Buffering;
using client::Client;
using client::Durability;
using client::Encoding;
using client::Model;
using client::PushResult;
using client::Reason;
using client::Watcher;
using client::Worker;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kVersions = 40;

class RestartTest : public testing::Test {
 protected:
  RestartTest() : daemon_(Daemon::Start({"--data_dir=" + data_.path()})) {}

  void Restart(int signal) {
    daemon_->Signal(signal);
    ASSERT_EQ(daemon_->AwaitExit(), signal == SIGKILL ? -SIGKILL : 0)
        << daemon_->Log();
    ASSERT_TRUE(daemon_->Restart()) << daemon_->Log();
  }

  // Trains once while the daemon gets this signal again and again, and once
  // undisturbed, in a daemon without a disk.
  void ExpectRidesThrough(Training training, int signal, bool uds = false) {
    const std::string target = uds ? daemon_->uds() : daemon_->tcp();
    const Model model = Make(target, training);
    Gate gate(0);
    training.gate = &gate;
    const auto trained = Train(target, training, kVersions, [&] {
      Watcher watcher = model.Watch();
      for (int64_t at = 7; at < kVersions; at += 11) {
        gate.MoveTo(at + 4);
        AwaitVersion(watcher, at);
        Restart(signal);
      }
      gate.MoveTo(kVersions);
    });
    for (const Trained& worker : trained) {
      EXPECT_TRUE(worker.status.ok()) << worker.status;
      EXPECT_EQ(worker.accepted, kVersions);
      EXPECT_THAT(worker.refusals, IsEmpty());
    }
    const auto described = Value(model.Describe());
    EXPECT_EQ(described.version->number, kVersions);
    EXPECT_EQ(described.folded_pushes, kVersions * training.workers);
    EXPECT_EQ(described.lost_pushes, 0);

    const auto twin = Daemon::Start();
    training.durability = Durability::kMemory;
    Make(twin->tcp(), training);
    Train(twin->tcp(), training, kVersions);
    EXPECT_TRUE(Parameters(target, training) ==
                Parameters(twin->tcp(), training));
  }

  TemporaryDirectory data_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(RestartTest, WithAJournalNoWorkerNoticesThatTheDaemonWasKilled) {
  ExpectRidesThrough({}, SIGKILL);
}

TEST_F(RestartTest, NorOverAUnixSocket) {
  ExpectRidesThrough({}, SIGKILL, /*uds=*/true);
}

TEST_F(RestartTest, NorWherePushesAreFoldedAsTheyCome) {
  ExpectRidesThrough({.buffering = Buffering::kEmbedded, .workers = 1},
                     SIGKILL);
}

// 2 MiB: on data connections.
TEST_F(RestartTest, NorWherePayloadsHaveConnectionsOfTheirOwn) {
  ExpectRidesThrough({.elements = 1 << 19}, SIGKILL);
}

// A push that was folded twice, or whose residual was kept, would show.
TEST_F(RestartTest, NorWherePushesAreCompressed) {
  ExpectRidesThrough({.encoding = Encoding::kInt8}, SIGKILL);
}

TEST_F(RestartTest, NorThatItDrained) { ExpectRidesThrough({}, SIGTERM); }

TEST_F(RestartTest, ADrainLosesNothingInMemoryEither) {
  ExpectRidesThrough({.durability = Durability::kMemory}, SIGTERM);
}

TEST_F(RestartTest, APushWhoseAnswerWasLostIsADuplicateAfterwards) {
  const Training training = {.buffering = Buffering::kEmbedded, .workers = 1};
  const Model model = Make(daemon_->tcp(), training);
  Worker worker = Value(model.OpenWorker({.name = "w"}));
  std::vector<float> parameters(static_cast<size_t>(training.elements));
  ASSERT_TRUE(worker.Pull(&parameters).ok());
  const std::vector<float> gradient = Gradient(parameters, 0, 0);
  // The worker's first attempt, of whose answer it never hears.
  {
    Wire wire(daemon_->tcp());
    const Ending folded = wire.Push(
        wire.Header(Training::kModel, worker.session_id(), 1, gradient),
        FloatBytes(gradient));
    ASSERT_TRUE(folded.status.ok()) << folded.status.error_message();
  }
  daemon_->Signal(SIGSTOP);
  client::PendingPush pending = worker.PushAsync(gradient);
  Restart(SIGKILL);
  const PushResult pushed = Value(pending.Wait());
  EXPECT_TRUE(pushed.accepted);
  EXPECT_TRUE(pushed.duplicate);
  EXPECT_EQ(pushed.folded_pushes, 1);
  EXPECT_EQ(Value(model.Describe()).folded_pushes, 1);
  // And the next one is none.
  ASSERT_TRUE(worker.Pull(&parameters).ok());
  EXPECT_FALSE(Value(worker.Push(gradient)).duplicate);
  EXPECT_EQ(worker.last_sequence(), 2);
}

TEST_F(RestartTest, APushThatWasNeverReadIsSentAgain) {
  const Training training = {.buffering = Buffering::kEmbedded, .workers = 1};
  const Model model = Make(daemon_->tcp(), training);
  Worker worker = Value(model.OpenWorker({.name = "w"}));
  std::vector<float> parameters(static_cast<size_t>(training.elements));
  ASSERT_TRUE(worker.Pull(&parameters).ok());
  const std::vector<float> gradient = Gradient(parameters, 0, 0);
  daemon_->Signal(SIGSTOP);
  client::PendingPush pending = worker.PushAsync(gradient);
  Restart(SIGKILL);
  const PushResult pushed = Value(pending.Wait());
  EXPECT_TRUE(pushed.accepted);
  EXPECT_EQ(pushed.folded_pushes, 1);
}

TEST_F(RestartTest, AModelThatIsGoneIsSaidAtOnce) {
  const Training training;
  const Model model = Make(daemon_->tcp(), training);
  Worker worker = Value(model.OpenWorker({.name = "w"}));
  std::vector<float> parameters(static_cast<size_t>(training.elements));
  ASSERT_TRUE(worker.Pull(&parameters).ok());
  Watcher watcher = model.Watch();
  ASSERT_TRUE(watcher.Next(absl::Seconds(60)).ok());
  daemon_->Kill();
  std::filesystem::remove_all(data_ / "models");
  ASSERT_TRUE(daemon_->Restart()) << daemon_->Log();
  for (const absl::Status& status :
       {worker.Push(parameters).status(), worker.Pull(&parameters).status(),
        worker.PullNewer(&parameters, absl::Seconds(60)).status(),
        watcher.Next(absl::Seconds(60)).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
    EXPECT_EQ(client::GetReason(status), Reason::kModelUnknown) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("\"model\""));
  }
}

}  // namespace
}  // namespace accrue
