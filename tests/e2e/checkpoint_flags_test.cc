// The flags of checkpoints and journals, as the real daemon obeys them.
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "accrue/client.h"
#include "tests/durability/file_faults.h"
#include "tests/durability/model_directory.h"
#include "tests/durability/temporary_directory.h"
#include "tests/e2e/acked_pushes.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/faulty_daemon.h"
#include "tests/e2e/scrape.h"
#include "tests/e2e/training.h"
#include "tests/e2e/twin.h"
#include "tests/faults/fail_points.h"

namespace accrue {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Le;
using ::testing::Not;
using ::testing::SizeIs;

constexpr int64_t kPushBytes = AckedPushes::kElems * 4;
// Of ten pushes.
constexpr int64_t kJournalLimit = 10 * kPushBytes;

class CheckpointFlagsTest : public testing::Test {
 protected:
  void Start(std::vector<std::string> flags) {
    flags.push_back("--data_dir=" + data_);
    daemon_ = Daemon::Start(flags, kFaultyProgram, Environment());
    ASSERT_NE(daemon_, nullptr);
  }
  // From now on; none: it is a sound disk.
  void Fail(const std::vector<FileFault>& faults) {
    FileFaults::Save(place_ / "faults", faults);
  }
  void ExpectComesBack(AckedPushes& pushes) {
    daemon_->Kill();
    ASSERT_TRUE(daemon_->Restart(Environment())) << daemon_->Log();
    pushes.Resume();
    pushes.ExpectHolds();
    pushes.PushAll(1);
    pushes.ExpectHolds();
  }
  // Waits for a checkpoint of so many pushes: its name.
  static std::string AwaitCheckpoint(AckedPushes& pushes, int64_t count) {
    const absl::Time deadline = absl::Now() + Daemon::kPatience;
    v1::Checkpoint newest;
    do {
      newest = pushes.wire().Describe(pushes.model()).checkpoint();
    } while (newest.folded_pushes() < count && absl::Now() < deadline);
    EXPECT_GE(newest.folded_pushes(), count);
    return newest.name();
  }
  // Of its checkpoints since the first push, newest first: how many they have.
  static std::vector<int64_t> Checkpointed(AckedPushes& pushes) {
    BoundedContext context;
    v1::ListCheckpointsRequest request;
    request.set_model(pushes.model());
    v1::ListCheckpointsResponse response;
    const grpc::Status status =
        pushes.wire().models().ListCheckpoints(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    std::vector<int64_t> counts;
    for (const v1::Checkpoint& checkpoint : response.checkpoints()) {
      if (checkpoint.folded_pushes() == 0) continue;
      counts.push_back(checkpoint.folded_pushes());
    }
    return counts;
  }
  int64_t JournalBytes(const std::string& model) const {
    int64_t bytes = 0;
    for (const auto& entry :
         std::filesystem::directory_iterator(ModelDirectory(data_, model))) {
      if (!entry.path().filename().string().starts_with("journal-")) continue;
      std::error_code gone;  // one that is dropped has no size
      const auto size = std::filesystem::file_size(entry.path(), gone);
      if (!gone) bytes += static_cast<int64_t>(size);
    }
    return bytes;
  }

  TemporaryDirectory place_;
  const std::string data_ = place_ / "data";
  std::unique_ptr<Daemon> daemon_;

 private:
  std::vector<std::string> Environment() const {
    return {faults::ShadowVariable(place_ / "shadow"),
            faults::FileFaultsVariable(place_ / "faults")};
  }
};

TEST_F(CheckpointFlagsTest, TheyComeByThemselvesAndAsManyStayAsAreKept) {
  Start({"--checkpoint_period=50ms", "--checkpoint_keep=3"});
  for (const auto durability :
       {v1::DURABILITY_MEMORY, v1::DURABILITY_JOURNAL}) {
    AckedPushes pushes(*daemon_, "model", durability);
    std::vector<std::string> made;
    for (int i = 0; i < 5; ++i) {
      pushes.PushAll(1);
      made.push_back(AwaitCheckpoint(pushes, pushes.count()));
    }
    ExpectComesBack(pushes);
    made.push_back(AwaitCheckpoint(pushes, pushes.count()));
    // It waits until what is not kept is gone.
    ASSERT_TRUE(pushes.Checkpoint().status.ok());
    const std::vector<std::string> kept = pushes.Checkpoints();
    EXPECT_THAT(kept, SizeIs(3));
    EXPECT_THAT(kept, Contains(made.back()));
    EXPECT_THAT(kept, Not(Contains(made.front())));
    EXPECT_TRUE(pushes.wire().Delete("model").status.ok());
  }
}

// An update is two pushes.
TEST_F(CheckpointFlagsTest, TheyComeWithEveryFourthUpdateAndNoOther) {
  Start({"--checkpoint_every_updates=4", "--checkpoint_period=inf",
         "--checkpoint_keep=20"});
  for (const auto durability :
       {v1::DURABILITY_MEMORY, v1::DURABILITY_JOURNAL}) {
    AckedPushes pushes(*daemon_, "model", durability);
    for (int i = 0; i < 2; ++i) {
      pushes.PushAll(8);
      AwaitCheckpoint(pushes, pushes.count());
    }
    // Those that came too early would be among them.
    EXPECT_THAT(Checkpointed(pushes), ElementsAre(16, 8));
    EXPECT_TRUE(pushes.wire().Delete("model").status.ok());
  }
}

TEST_F(CheckpointFlagsTest, AJournalAtItsLimitIsCheckpointedAndItsSegmentsGo) {
  Start({absl::StrCat("--journal_limit=", kJournalLimit),
         "--checkpoint_period=inf"});
  AckedPushes pushes(*daemon_, "model", v1::DURABILITY_JOURNAL);
  pushes.PushAll(11);
  AwaitCheckpoint(pushes, 10);
  // A push that meets twice the limit is refused, and sent again.
  while (pushes.count() < 100) {
    const Ending ending = pushes.Push();
    if (ending.status.ok()) continue;
    ExpectRefused(ending, grpc::StatusCode::UNAVAILABLE,
                  v1::ErrorDetail::REASON_JOURNAL_FAILED);
  }
  const absl::Time deadline = absl::Now() + Daemon::kPatience;
  while (JournalBytes("model") > 3 * kJournalLimit) {
    ASSERT_LT(absl::Now(), deadline) << JournalBytes("model") << " bytes";
  }
  ExpectComesBack(pushes);
}

TEST_F(CheckpointFlagsTest, AtTwiceItsLimitPushesAreRefusedUntilThereIsOne) {
  Start({absl::StrCat("--journal_limit=", kJournalLimit),
         "--checkpoint_period=inf"});
  AckedPushes pushes(*daemon_, "model", v1::DURABILITY_JOURNAL);
  Fail({{.operation = "append", .path_part = "/tmp-"}});
  for (int i = 0; i < 2; ++i) {
    const Ending ending = pushes.PushUntilRefused();
    ExpectRefused(ending, grpc::StatusCode::UNAVAILABLE,
                  v1::ErrorDetail::REASON_JOURNAL_FAILED);
    EXPECT_THAT(ending.status.error_message(),
                HasSubstr(absl::StrCat("more than twice its limit of ",
                                       kJournalLimit)));
    EXPECT_GT(ending.detail.retry_after().seconds(), 0);
  }
  EXPECT_THAT(pushes.count(), AllOf(Ge(18), Le(20)));
  pushes.ExpectHolds();
  Fail({});
  ASSERT_TRUE(pushes.Checkpoint().status.ok());
  pushes.PushAll(3);
  ExpectComesBack(pushes);
}

// Of a model whose moments are four times as large, under pushes that are all
// alike, so that nothing but their number decides.
class CheckpointMemoryTest : public testing::TestWithParam<client::Durability> {
 protected:
  static constexpr int64_t kElems = 2 << 20;

  static client::Model Make(const Daemon& daemon,
                            client::Durability durability) {
    client::ModelSpec spec;
    spec.name = "model";
    spec.tensors = {{.name = "w", .shape = {kElems}}};
    spec.groups = {{.name = "all", .hyperparameters = {.learning_rate = 0.01}}};
    spec.max_staleness = -1;
    spec.stale_policy = client::StalePolicy::kAccept;
    spec.durability = durability;
    client::Model model =
        Value(Value(client::Client::Connect(daemon.uds())).CreateModel(spec));
    EXPECT_TRUE(model.InitializeWith({{.tensor = "w"}}, /*seed=*/0).ok());
    return model;
  }
  static void Push(const client::Model& model,
                   const std::function<bool()>& another) {
    client::Worker worker = Value(model.OpenWorker());
    std::vector<float> parameters(kElems), gradient(kElems);
    ASSERT_TRUE(worker.Pull(&parameters).ok());
    for (size_t i = 0; i < gradient.size(); ++i) {
      gradient[i] = 1 + static_cast<float>(i % 1009);
    }
    while (another()) {
      const client::PushResult pushed = Value(worker.Push(gradient));
      ASSERT_TRUE(pushed.accepted) << pushed.message;
    }
  }
  static void PushCount(const client::Model& model, int64_t count) {
    Push(model, [&] { return count-- > 0; });
  }
  static std::vector<float> Parameters(const client::Model& model) {
    std::vector<float> parameters(kElems);
    EXPECT_TRUE(model.Pull(&parameters).ok());
    return parameters;
  }
};

TEST_P(CheckpointMemoryTest, ACheckpointUnderLoadIsWholeIfMomentsDoNotFit) {
  const TemporaryDirectory data;
  const auto daemon =
      Daemon::Start({"--data_dir=" + data.path(), "--checkpoint_memory=4MiB",
                     "--checkpoint_period=inf"});
  const client::Model model = Make(*daemon, GetParam());
  std::atomic<bool> enough{false};
  std::vector<std::thread> workers(3);
  for (std::thread& worker : workers) {
    worker = std::thread([&] { Push(model, [&] { return !enough; }); });
  }
  client::Watcher watcher = model.Watch();
  AwaitVersion(watcher, 3);
  const auto made = Value(model.Checkpoint());
  enough = true;
  for (std::thread& worker : workers) worker.join();
  EXPECT_GT(Value(model.Describe()).folded_pushes, made.folded_pushes);
  const Scrape scrape = ScrapeOf(*daemon);
  EXPECT_GT(scrape.At("accrue_checkpoint_memory_waits_total"), 0);
  EXPECT_GT(scrape.At("accrue_checkpoint_memory_wait_seconds_total"), 0);

  // The moments show in what follows.
  ASSERT_TRUE(model.Restore(made.name).ok());
  PushCount(model, 1);
  const auto twin = Daemon::Start();
  const client::Model twin_model = Make(*twin, client::Durability::kMemory);
  PushCount(twin_model, made.folded_pushes + 1);
  EXPECT_TRUE(Parameters(model) == Parameters(twin_model));
}

INSTANTIATE_TEST_SUITE_P(All, CheckpointMemoryTest,
                         testing::Values(client::Durability::kMemory,
                                         client::Durability::kJournal),
                         [](const auto& info) {
                           return info.param == client::Durability::kMemory
                                      ? "Memory"
                                      : "Journal";
                         });

}  // namespace
}  // namespace accrue
