// What a worker knows of its session where that ends, is resumed or is waited
// for.

#include <atomic>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "accrue/client.h"
#include "accrue/local_accumulation.h"
#include "client/cpp/src/openings.h"
#include "tests/client/fake_daemon.h"
#include "tests/client/fixture.h"

namespace accrue::client {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class WorkerSessionTest : public SdkTest {
 protected:
  absl::StatusOr<PushResult> Push(Worker& worker, const Version& version,
                                  absl::Duration timeout = absl::Seconds(60)) {
    return worker.Push(gradient_, {.version = version, .timeout = timeout});
  }

  // That of the daemon's model.
  Version Newest() const {
    const v1::Version version = daemon_.version();
    return {.lineage = version.lineage(), .number = version.number()};
  }

  const std::vector<float> gradient_ = Ramp(17);
};

// A thread that waits for something: its state as the kernel has it.
void AwaitAsleep(const std::atomic<pid_t>& thread) {
  const absl::Time deadline = absl::Now() + absl::Seconds(60);
  while (absl::Now() < deadline) {
    std::ifstream stat(
        absl::StrCat("/proc/self/task/", thread.load(), "/stat"));
    std::string id, name, state;
    if (stat >> id >> name >> state && state == "S") return;
    std::this_thread::yield();
  }
  ADD_FAILURE() << "thread " << thread << " does not wait";
}

TEST_F(WorkerSessionTest, APushWhoseSessionExpiredIsNotSentAgain) {
  Worker worker = OpenWorker();
  daemon_.Script("Push", {{Fate::kServeForgetAndCut}});
  const absl::Status status = Push(worker, Newest()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnknown) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(absl::StrCat("push 1 of worker \"", worker.name())));
  EXPECT_THAT(std::string(status.message()), HasSubstr("not sent again"));
  EXPECT_EQ(daemon_.calls("Push"), 1);
  EXPECT_EQ(daemon_.folded().size(), 1);
  // That is all there is to know; training goes on in a new session.
  EXPECT_FALSE(worker.in_doubt());
  EXPECT_TRUE(ValueOf(Push(worker, Newest())).accepted);
  EXPECT_EQ(daemon_.folded().size(), 2);
}

// The daemon may see a call that was given up after the next one.
TEST_F(WorkerSessionTest, ASessionIsAskedForWithOneOpeningUntilItIsThere) {
  Worker worker = OpenWorker();
  daemon_.ForgetSessions();
  daemon_.Script("OpenSession", {{Fate::kServeAndCut}, {Fate::kHang}});
  EXPECT_FALSE(Push(worker, Newest(), absl::Milliseconds(300)).ok());
  EXPECT_TRUE(ValueOf(Push(worker, Newest())).accepted);
  daemon_.EndHangs();
  daemon_.ForgetSessions();
  EXPECT_TRUE(ValueOf(Push(worker, Newest())).accepted);

  const std::vector<std::string> openings = daemon_.openings();
  ASSERT_EQ(openings.size(), 5);
  EXPECT_NE(openings[1], openings[0]);
  EXPECT_EQ(openings[2], openings[1]);
  EXPECT_EQ(openings[3], openings[1]);
  EXPECT_NE(openings[4], openings[1]);
  EXPECT_THAT(openings, Each(SizeIs(32)));
}

TEST_F(WorkerSessionTest, WhoeverOpensTheWorkerNextAsksWithTheSameOpening) {
  ClientOptions options = QuickOptions();
  options.call_timeout = absl::Milliseconds(500);
  const Model model = OpenModel(options);
  daemon_.Script("OpenSession", {{Fate::kHang}});
  EXPECT_FALSE(model.OpenWorker({.name = "w"}).ok());
  daemon_.EndHangs();
  EXPECT_TRUE(model.OpenWorker({.name = "other"}).ok());
  EXPECT_TRUE(model.OpenWorker({.name = "w"}).ok());
  EXPECT_TRUE(model.OpenWorker({.name = "w"}).ok());
  const std::vector<std::string> openings = daemon_.openings();
  ASSERT_EQ(openings.size(), 4);
  EXPECT_EQ(openings[2], openings[0]);
  EXPECT_THAT(std::set<std::string>(openings.begin(), openings.end()),
              SizeIs(3));
}

// They would push in one session.
TEST(OpeningsTest, NoTwoAtTheSameTimeAskWithTheSame) {
  internal::Openings openings;
  const internal::Openings::Of of = {.model = "m", .worker = "w"};
  const std::string first = openings.Take(of);
  EXPECT_NE(openings.Take(of), first);
  openings.PutBack(of, first);
  EXPECT_EQ(openings.Take(of), first);
  EXPECT_NE(openings.Take(of), first);
}

TEST_F(WorkerSessionTest, NorIsTheSumThatItWasMadeOf) {
  Worker worker = OpenWorker();
  LocalAccumulation sum(static_cast<int64_t>(gradient_.size()));
  ASSERT_TRUE(sum.Add(gradient_).ok());
  daemon_.Script("Push", {Refuse(grpc::StatusCode::INVALID_ARGUMENT,
                                 v1::ErrorDetail::REASON_WRONG_SHAPE),
                          {Fate::kServeForgetAndCut}});
  EXPECT_FALSE(sum.PushTo(worker, {.version = Newest()}).ok());
  EXPECT_EQ(sum.count(), 1) << "it was not folded, and may be pushed again";
  const absl::Status status =
      sum.PushTo(worker, {.version = Newest()}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnknown) << status;
  EXPECT_EQ(sum.count(), 0);
  EXPECT_EQ(sum.PushTo(worker, {.version = Newest()}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(daemon_.folded().size(), 1);
}

TEST_F(WorkerSessionTest, OfAnotherLineageItIsSentAgainToBeRefused) {
  Worker worker = OpenWorker();
  daemon_.Script("Push", {{Fate::kServeForgetAndCut},
                          Refuse(grpc::StatusCode::ABORTED,
                                 v1::ErrorDetail::REASON_LINEAGE_CHANGED)});
  const PushResult result = ValueOf(Push(worker, kVersion));
  EXPECT_FALSE(result.accepted);
  EXPECT_EQ(result.reason, Reason::kLineageChanged);
  EXPECT_EQ(daemon_.calls("Push"), 2);
}

TEST_F(WorkerSessionTest, SettleSaysWhenNobodyCanTell) {
  Worker worker = OpenWorker();
  daemon_.Script("Push", {{Fate::kServeAndHang}});
  EXPECT_FALSE(Push(worker, Newest(), absl::Milliseconds(300)).ok());
  ASSERT_TRUE(worker.in_doubt());
  daemon_.ForgetSessions();
  const absl::Status status = worker.Settle().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnknown) << status;
  EXPECT_FALSE(worker.in_doubt());
  EXPECT_FALSE(ValueOf(worker.Settle()).has_value());
}

TEST_F(WorkerSessionTest, AnotherPushGoesOnPastTheLostOne) {
  Worker worker = OpenWorker();
  daemon_.Script("Push", {{Fate::kServeAndHang}});
  EXPECT_FALSE(Push(worker, Newest(), absl::Milliseconds(300)).ok());
  daemon_.ForgetSessions();
  const PushResult second = ValueOf(Push(worker, Newest()));
  EXPECT_TRUE(second.accepted);
  EXPECT_FALSE(second.duplicate);
  EXPECT_EQ(daemon_.calls("Push"), 2);
}

TEST_F(WorkerSessionTest, WhoeverWaitsForATurnLearnsThatThereIsNone) {
  Worker worker = OpenWorker();
  daemon_.Script("CloseSession", {{Fate::kHang}});
  std::thread closer([&] { EXPECT_EQ(worker.Close(), absl::OkStatus()); });
  daemon_.AwaitCalls("CloseSession", 1);
  const absl::Time start = absl::Now();
  std::atomic<pid_t> waiting[2] = {0, 0};
  std::vector<std::thread> pushers;
  for (std::atomic<pid_t>& thread : waiting) {
    pushers.emplace_back([&] {
      thread = gettid();
      EXPECT_EQ(Push(worker, kVersion, absl::Seconds(60)).status().code(),
                absl::StatusCode::kFailedPrecondition);
    });
  }
  for (const std::atomic<pid_t>& thread : waiting) AwaitAsleep(thread);
  daemon_.EndHangs();
  closer.join();
  for (std::thread& pusher : pushers) pusher.join();
  // Not only when their own time was over.
  EXPECT_LT(absl::Now() - start, absl::Seconds(50));
}

TEST_F(WorkerSessionTest, AResumedSessionBringsItsLastResult) {
  const Model model = OpenModel();
  std::string id;
  {
    Worker worker = ValueOf(model.OpenWorker({.name = "w0"}));
    EXPECT_FALSE(worker.last_result().has_value());
    ValueOf(Push(worker, kVersion));
    EXPECT_EQ(worker.last_result()->folded_pushes, 1);
    // The process ends before it has this one's answer.
    daemon_.Script("Push", {{Fate::kServeAndHang}});
    EXPECT_FALSE(Push(worker, kVersion, absl::Milliseconds(300)).ok());
    EXPECT_EQ(worker.last_result()->folded_pushes, 1);
    id = worker.session_id();
  }
  const Worker worker =
      ValueOf(model.OpenWorker({.name = "w0", .session_id = id}));
  EXPECT_EQ(worker.last_sequence(), 2);
  ASSERT_TRUE(worker.last_result().has_value());
  EXPECT_TRUE(worker.last_result()->accepted);
  EXPECT_EQ(worker.last_result()->folded_pushes, 2);
}

TEST_F(WorkerSessionTest, APartOfTheModelIsNoVersionToPushFrom) {
  Worker worker = OpenWorker();
  daemon_.Publish(BytesOf(Ramp(17)));
  std::vector<float> parameters(17);
  ValueOf(worker.Pull(&parameters, {.tensors = {"w"}}));
  EXPECT_FALSE(worker.version().has_value());
  const Version whole = ValueOf(worker.Pull(&parameters)).version;
  daemon_.Publish(BytesOf(Ramp(17, 1)));
  EXPECT_NE(ValueOf(worker.Pull(&parameters, {.tensors = {"w"}})).version,
            whole);
  EXPECT_EQ(worker.version(), whole);
}

}  // namespace
}  // namespace accrue::client
