#include <algorithm>
#include <string>
#include <thread>
#include <vector>
#include <xxhash.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "accrue/client.h"
#include "tests/client/fake_daemon.h"
#include "tests/client/fixture.h"

namespace accrue::client {
namespace {

using grpc::StatusCode;
using v1::ErrorDetail;

class WorkerTest : public SdkTest {
 protected:
  absl::StatusOr<PushResult> Push(Worker& worker, float first = 0,
                                  absl::Duration timeout = absl::Seconds(60)) {
    gradient_ = Ramp(17, first);
    return worker.Push(gradient_, {.version = kVersion, .timeout = timeout});
  }

  std::vector<int64_t> FoldedSequences() const {
    std::vector<int64_t> sequences;
    for (const FoldedPush& push : daemon_.folded()) {
      sequences.push_back(push.header.sequence());
    }
    return sequences;
  }

  std::vector<float> gradient_;
};

TEST_F(WorkerTest, PushesCarryConsecutiveSequencesAndTheirGradient) {
  Worker worker = OpenWorker();
  for (int i = 0; i < 3; ++i) {
    const PushResult result = ValueOf(Push(worker, i));
    EXPECT_TRUE(result.accepted);
    EXPECT_FALSE(result.duplicate);
    EXPECT_EQ(result.folded_pushes, i + 1);
    ASSERT_EQ(result.groups.size(), 1);
    EXPECT_EQ(result.groups[0].k, 4);
    EXPECT_EQ(result.groups[0].position, i + 1);
    EXPECT_EQ(daemon_.folded().back().payload, BytesOf(Ramp(17, i)));
  }
  EXPECT_THAT(FoldedSequences(), testing::ElementsAre(1, 2, 3));
  EXPECT_EQ(worker.last_sequence(), 3);
}

TEST_F(WorkerTest, OptionsTravelInTheHeader) {
  Worker worker = OpenWorker();
  gradient_ = Ramp(17);
  ValueOf(worker.Push(gradient_, {.version = kVersion,
                                  .micro_steps = 3,
                                  .weight = 1.5,
                                  .scale = 1024,
                                  .loss = 0.25}));
  const v1::PushHeader header = daemon_.folded()[0].header;
  EXPECT_EQ(header.model(), "small");
  EXPECT_EQ(header.session_id(), worker.session_id());
  EXPECT_EQ(header.version().lineage(), kVersion.lineage);
  EXPECT_EQ(header.version().number(), 3);
  EXPECT_EQ(header.encoding(), v1::ENCODING_F32);
  EXPECT_EQ(header.payload_bytes(), 68);
  EXPECT_EQ(header.micro_steps(), 3);
  EXPECT_EQ(header.weight(), 1.5);
  EXPECT_EQ(header.scale(), 1024);
  EXPECT_EQ(header.loss(), 0.25);
  EXPECT_EQ(header.checksum(), XXH3_64bits(gradient_.data(), 68));
}

TEST_F(WorkerTest, WhatIsNotSetIsNotSent) {
  ClientOptions options = QuickOptions();
  options.checksum_max_bytes = 0;
  Worker worker = OpenWorker(options);
  ValueOf(Push(worker));
  const v1::PushHeader header = daemon_.folded()[0].header;
  EXPECT_FALSE(header.has_weight());
  EXPECT_FALSE(header.has_loss());
  EXPECT_FALSE(header.has_checksum());
}

TEST_F(WorkerTest, TheVersionIsThatOfTheLastPullUnlessGiven) {
  Worker worker = OpenWorker();
  gradient_ = Ramp(17);
  EXPECT_EQ(worker.Push(gradient_).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(daemon_.calls("Push"), 0);
  daemon_.Publish(BytesOf(Ramp(17)));
  std::vector<float> parameters(17);
  const PullResult pulled = ValueOf(worker.Pull(&parameters));
  EXPECT_EQ(worker.version(), pulled.version);
  ValueOf(worker.Push(gradient_));
  EXPECT_EQ(daemon_.folded()[0].header.version().number(),
            pulled.version.number);
}

TEST_F(WorkerTest, AGradientMayComeTensorByTensorAndIn16Bits) {
  Worker worker = OpenWorker();
  const std::vector<std::vector<float>> tensors = {Ramp(12), Ramp(5, 12)};
  ValueOf(worker.Push(tensors, {.version = kVersion}));
  EXPECT_EQ(daemon_.folded()[0].payload, BytesOf(Ramp(17)));

  const std::vector<uint16_t> words(17, 0x3f80);
  for (const Encoding encoding : {Encoding::kBf16, Encoding::kF16}) {
    ValueOf(
        worker.Push(Payload::Encoded(encoding, words), {.version = kVersion}));
    const FoldedPush folded = daemon_.folded().back();
    EXPECT_EQ(static_cast<int>(folded.header.encoding()),
              static_cast<int>(encoding));
    EXPECT_EQ(folded.payload,
              std::string(reinterpret_cast<const char*>(words.data()), 34));
  }
}

TEST_F(WorkerTest, ALargeGradientGoesInChunks) {
  Worker worker = OpenWorker();
  const std::vector<float> large = Ramp(2'400'000);
  ValueOf(worker.Push(large, {.version = kVersion}));
  const FoldedPush folded = daemon_.folded()[0];
  EXPECT_EQ(folded.payload, BytesOf(large));
  EXPECT_THAT(folded.chunk_bytes,
              testing::ElementsAre(64 << 10, 4 << 20, 4 << 20,
                                   9'600'000 - (8 << 20) - (64 << 10)));
}

TEST_F(WorkerTest, ARefusalThatIsPartOfTrainingIsAResult) {
  Worker worker = OpenWorker();
  const struct {
    StatusCode code;
    ErrorDetail::Reason wire;
    Reason reason;
  } kRefusals[] = {
      {StatusCode::INVALID_ARGUMENT, ErrorDetail::REASON_NON_FINITE,
       Reason::kNonFinite},
      {StatusCode::ABORTED, ErrorDetail::REASON_STALE, Reason::kStale},
      {StatusCode::ABORTED, ErrorDetail::REASON_LINEAGE_CHANGED,
       Reason::kLineageChanged},
      {StatusCode::ABORTED, ErrorDetail::REASON_QUOTA, Reason::kQuota},
      {StatusCode::ABORTED, ErrorDetail::REASON_MICRO_STEPS,
       Reason::kMicroSteps},
  };
  for (const auto& refusal : kRefusals) {
    daemon_.Script("Push", {Refuse(refusal.code, refusal.wire)});
    const PushResult result = ValueOf(Push(worker));
    EXPECT_FALSE(result.accepted);
    EXPECT_EQ(result.reason, refusal.reason);
    EXPECT_EQ(result.version.number, 7);
    EXPECT_EQ(result.version.lineage.size(), 32);
    EXPECT_FALSE(result.message.empty());
  }
  // None of them has used up the sequence.
  ValueOf(Push(worker));
  EXPECT_THAT(FoldedSequences(), testing::ElementsAre(1));
}

TEST_F(WorkerTest, WhatMayPassIsRetried) {
  Worker worker = OpenWorker();
  const Fate kPassing[] = {
      Refuse(StatusCode::UNAVAILABLE, ErrorDetail::REASON_DRAINING),
      Refuse(StatusCode::UNAVAILABLE, ErrorDetail::REASON_UNSPECIFIED),
      Refuse(StatusCode::RESOURCE_EXHAUSTED, ErrorDetail::REASON_INGEST_MEMORY),
      Refuse(StatusCode::RESOURCE_EXHAUSTED, ErrorDetail::REASON_LIMIT),
      Refuse(StatusCode::DEADLINE_EXCEEDED, ErrorDetail::REASON_SLOW_PUSH),
      Refuse(StatusCode::ABORTED, ErrorDetail::REASON_SUPERSEDED),
      {Fate::kPlainStatus, {StatusCode::UNAVAILABLE}},
      {Fate::kPlainStatus, {StatusCode::CANCELLED}},
  };
  int64_t folded = 0;
  for (const Fate& fate : kPassing) {
    const int before = daemon_.calls("Push");
    daemon_.Script("Push", {fate});
    EXPECT_TRUE(ValueOf(Push(worker)).accepted);
    EXPECT_EQ(daemon_.calls("Push"), before + 2);
    EXPECT_EQ(daemon_.folded().size(), ++folded);
  }
  EXPECT_EQ(worker.last_sequence(), folded);
}

TEST_F(WorkerTest, WhatWillNotPassIsNot) {
  Worker worker = OpenWorker();
  const struct {
    StatusCode code;
    ErrorDetail::Reason reason;
  } kFinal[] = {
      {StatusCode::INVALID_ARGUMENT, ErrorDetail::REASON_WRONG_SHAPE},
      {StatusCode::INVALID_ARGUMENT, ErrorDetail::REASON_CHECKSUM},
      {StatusCode::INVALID_ARGUMENT, ErrorDetail::REASON_PARTIAL},
      {StatusCode::INVALID_ARGUMENT, ErrorDetail::REASON_SEQUENCE_REUSED},
      {StatusCode::FAILED_PRECONDITION, ErrorDetail::REASON_SEQUENCE_OLD},
      {StatusCode::FAILED_PRECONDITION, ErrorDetail::REASON_NOT_INITIALIZED},
      {StatusCode::FAILED_PRECONDITION, ErrorDetail::REASON_POISONED},
      {StatusCode::NOT_FOUND, ErrorDetail::REASON_MODEL_UNKNOWN},
      {StatusCode::OUT_OF_RANGE, ErrorDetail::REASON_FUTURE},
      {StatusCode::INTERNAL, ErrorDetail::REASON_DEVICE_FAULT},
      {StatusCode::PERMISSION_DENIED, ErrorDetail::REASON_UNSPECIFIED},
  };
  int attempts = 0;
  for (const auto& refusal : kFinal) {
    daemon_.Script("Push", {Refuse(refusal.code, refusal.reason)});
    const absl::Status status = Push(worker).status();
    EXPECT_EQ(static_cast<int>(status.code()), refusal.code);
    EXPECT_EQ(static_cast<int>(GetReason(status)), refusal.reason);
    EXPECT_EQ(GetErrorDetail(status)->subject, "the subject");
    EXPECT_EQ(daemon_.calls("Push"), ++attempts);
    EXPECT_FALSE(worker.in_doubt());
  }
  EXPECT_TRUE(daemon_.folded().empty());
  ValueOf(Push(worker));
  EXPECT_THAT(FoldedSequences(), testing::ElementsAre(1));
}

TEST_F(WorkerTest, TheDaemonsRetryAfterIsWaitedFor) {
  Worker worker = OpenWorker();
  daemon_.Script("Push", {Refuse(StatusCode::RESOURCE_EXHAUSTED,
                                 ErrorDetail::REASON_INGEST_MEMORY,
                                 /*retry_after_ms=*/200)});
  const absl::Time start = absl::Now();
  ValueOf(Push(worker));
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(200));
}

TEST_F(WorkerTest, ABusyDaemonsErrorIsReturnedWhenTimeIsOver) {
  Worker worker = OpenWorker();
  daemon_.Script("Push", {Refuse(StatusCode::RESOURCE_EXHAUSTED,
                                 ErrorDetail::REASON_INGEST_MEMORY,
                                 /*retry_after_ms=*/500)});
  const absl::Status status = Push(worker, 0, absl::Milliseconds(400)).status();
  EXPECT_EQ(GetReason(status), Reason::kIngestMemory);
  EXPECT_FALSE(worker.in_doubt());
}

TEST_F(WorkerTest, ALostAnswerIsAskedForInsteadOfPushingTwice) {
  Worker worker = OpenWorker();
  daemon_.Script("Push", {{Fate::kServeAndCut}});
  const PushResult result = ValueOf(Push(worker));
  EXPECT_TRUE(result.accepted);
  EXPECT_TRUE(result.duplicate);
  EXPECT_EQ(result.folded_pushes, 1);
  EXPECT_EQ(daemon_.calls("Push"), 1);
  EXPECT_EQ(daemon_.calls("OpenSession"), 2);
  ValueOf(Push(worker));
  EXPECT_THAT(FoldedSequences(), testing::ElementsAre(1, 2));
}

TEST_F(WorkerTest, ItKeepsAskingUntilItKnows) {
  Worker worker = OpenWorker();
  daemon_.Script("Push", {{Fate::kServeAndCut}});
  daemon_.Script("OpenSession", {{Fate::kCut}, {Fate::kServeAndCut}});
  EXPECT_TRUE(ValueOf(Push(worker)).duplicate);
  EXPECT_EQ(daemon_.calls("Push"), 1);
  EXPECT_EQ(daemon_.folded().size(), 1);
}

TEST_F(WorkerTest, APushThatNeverArrivedIsSentAgain) {
  Worker worker = OpenWorker();
  daemon_.Script("Push", {{Fate::kCut}});
  const PushResult result = ValueOf(Push(worker));
  EXPECT_TRUE(result.accepted);
  EXPECT_FALSE(result.duplicate);
  EXPECT_EQ(daemon_.calls("Push"), 2);
  EXPECT_THAT(FoldedSequences(), testing::ElementsAre(1));
}

TEST_F(WorkerTest, HalfAPushIsSentAgainWhole) {
  Worker worker = OpenWorker();
  const std::vector<float> large = Ramp(8 << 20);
  daemon_.Script("Push", {{Fate::kCutHalfWay}, {Fate::kCutHalfWay}});
  EXPECT_TRUE(ValueOf(worker.Push(large, {.version = kVersion})).accepted);
  EXPECT_EQ(daemon_.calls("Push"), 3);
  ASSERT_EQ(daemon_.folded().size(), 1);
  EXPECT_EQ(daemon_.folded()[0].payload, BytesOf(large));
}

TEST_F(WorkerTest, AForgottenSessionIsOpenedAnew) {
  Worker worker = OpenWorker();
  ValueOf(Push(worker));
  const std::string first = worker.session_id();
  daemon_.ForgetSessions();
  EXPECT_TRUE(ValueOf(Push(worker)).accepted);
  EXPECT_NE(worker.session_id(), first);
  EXPECT_THAT(FoldedSequences(), testing::ElementsAre(1, 1));
}

TEST_F(WorkerTest, ASessionThatIsForgottenAgainAndAgainEndsWithTheTimeout) {
  Worker worker = OpenWorker();
  daemon_.Script(
      "Push",
      std::vector<Fate>(10000, Refuse(StatusCode::NOT_FOUND,
                                      ErrorDetail::REASON_SESSION_UNKNOWN)));
  EXPECT_FALSE(Push(worker, 0, absl::Milliseconds(200)).ok());
  EXPECT_LT(daemon_.calls("Push"), 1000);
}

TEST_F(WorkerTest, ALostSessionStaysLost) {
  Worker worker = OpenWorker();
  daemon_.Script("Push", {Refuse(StatusCode::ABORTED,
                                 ErrorDetail::REASON_SESSION_FENCED)});
  EXPECT_EQ(GetReason(Push(worker).status()), Reason::kSessionFenced);
  // Without asking again: the daemon may have forgotten, and the name now
  // belongs to another.
  EXPECT_EQ(GetReason(Push(worker).status()), Reason::kSessionFenced);
  EXPECT_EQ(daemon_.calls("Push"), 1);
  EXPECT_EQ(daemon_.calls("OpenSession"), 1);
}

TEST_F(WorkerTest, ATimeoutThatFoldedCanBeSettled) {
  Worker worker = OpenWorker();
  daemon_.Script("Push", {{Fate::kServeAndHang}});
  const absl::Time start = absl::Now();
  const absl::Status status = Push(worker, 0, absl::Milliseconds(300)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  // Its own time, and as much again for a busy machine.
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
  ASSERT_TRUE(worker.in_doubt());
  const std::optional<PushResult> settled = ValueOf(worker.Settle());
  ASSERT_TRUE(settled.has_value());
  EXPECT_TRUE(settled->accepted);
  EXPECT_EQ(settled->folded_pushes, 1);
  EXPECT_FALSE(worker.in_doubt());
  EXPECT_FALSE(ValueOf(worker.Settle()).has_value());
  ValueOf(Push(worker));
  EXPECT_THAT(FoldedSequences(), testing::ElementsAre(1, 2));
}

TEST_F(WorkerTest, ATimeoutThatDidNotFoldCanBeSettled) {
  Worker worker = OpenWorker();
  daemon_.Script("Push", {{Fate::kHang}});
  EXPECT_EQ(Push(worker, 0, absl::Milliseconds(300)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(worker.in_doubt());
  EXPECT_FALSE(ValueOf(worker.Settle()).has_value());
  ValueOf(Push(worker));
  EXPECT_THAT(FoldedSequences(), testing::ElementsAre(1));
}

TEST_F(WorkerTest, TheNextPushSettlesTheOneInDoubt) {
  Worker worker = OpenWorker();
  daemon_.Script("Push", {{Fate::kServeAndHang}});
  EXPECT_FALSE(Push(worker, 0, absl::Milliseconds(300)).ok());
  const PushResult second = ValueOf(Push(worker, 100));
  EXPECT_TRUE(second.accepted);
  EXPECT_FALSE(second.duplicate);
  EXPECT_EQ(second.folded_pushes, 2);
  EXPECT_EQ(daemon_.folded()[1].payload, BytesOf(Ramp(17, 100)));
  EXPECT_THAT(FoldedSequences(), testing::ElementsAre(1, 2));
}

TEST_F(WorkerTest, ADaemonThatIsAwayForTheWholeTimeoutIsUnavailable) {
  Worker worker = OpenWorker();
  daemon_.StopListening();
  daemon_.CutConnections();
  const absl::Time start = absl::Now();
  const absl::Status status = Push(worker, 0, absl::Milliseconds(300)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
}

TEST_F(WorkerTest, AsynchronousPushesKeepTheirOrder) {
  Worker worker = OpenWorker();
  std::vector<std::vector<float>> gradients;
  for (int i = 0; i < 5; ++i) gradients.push_back(Ramp(17, i));
  std::vector<PendingPush> pending;
  for (const auto& gradient : gradients) {
    pending.push_back(worker.PushAsync(gradient, {.version = kVersion}));
  }
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(ValueOf(pending[i].Wait()).folded_pushes, i + 1);
    EXPECT_EQ(daemon_.folded()[i].payload, BytesOf(gradients[i]));
  }
}

TEST_F(WorkerTest, APullRunsBesideAPush) {
  Worker worker = OpenWorker();
  daemon_.Publish(BytesOf(Ramp(17)));
  daemon_.Script("Push", {{Fate::kServeAndHang}});
  gradient_ = Ramp(17);
  PendingPush pending = worker.PushAsync(
      gradient_, {.version = kVersion, .timeout = absl::Seconds(2)});
  daemon_.AwaitCalls("Push", 1);
  EXPECT_FALSE(pending.done());
  std::vector<float> parameters(17);
  ValueOf(worker.Pull(&parameters));
  EXPECT_EQ(parameters, Ramp(17));
  EXPECT_EQ(pending.Wait().status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST_F(WorkerTest, WaitingForAnothersTurnCountsAgainstTheTimeout) {
  Worker worker = OpenWorker();
  daemon_.Script("Push", {{Fate::kServeAndHang}});
  gradient_ = Ramp(17);
  PendingPush pending = worker.PushAsync(
      gradient_, {.version = kVersion, .timeout = absl::Seconds(2)});
  daemon_.AwaitCalls("Push", 1);
  const absl::Status status = Push(worker, 0, absl::Milliseconds(50)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_EQ(daemon_.calls("Push"), 1);
}

TEST_F(WorkerTest, AClosedWorkerPushesNoMore) {
  Worker worker = OpenWorker();
  ValueOf(Push(worker));
  EXPECT_EQ(worker.Close(), absl::OkStatus());
  EXPECT_EQ(daemon_.calls("CloseSession"), 1);
  EXPECT_EQ(Push(worker).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(daemon_.folded().size(), 1);
}

TEST_F(WorkerTest, ARestartedProcessResumesItsSession) {
  const Model model = OpenModel();
  std::string id;
  {
    Worker worker = ValueOf(model.OpenWorker({.name = "w0"}));
    ValueOf(Push(worker));
    id = worker.session_id();
  }
  Worker worker = ValueOf(model.OpenWorker({.name = "w0", .session_id = id}));
  EXPECT_EQ(worker.last_sequence(), 1);
  ValueOf(Push(worker));
  EXPECT_THAT(FoldedSequences(), testing::ElementsAre(1, 2));
  EXPECT_EQ(
      GetReason(
          model.OpenWorker({.name = "w0", .session_id = "nonsense"}).status()),
      Reason::kSessionUnknown);
  EXPECT_EQ(model.OpenWorker({.session_id = id}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(WorkerTest, DefaultNamesDiffer) {
  const Model model = OpenModel();
  const Worker a = ValueOf(model.OpenWorker());
  const Worker b = ValueOf(model.OpenWorker());
  EXPECT_NE(a.name(), b.name());
  EXPECT_THAT(a.name(), testing::HasSubstr(absl::StrCat("-", getpid(), "-")));
}

TEST_F(WorkerTest, ManyWorkersOfOneClientPushAtOnce) {
  const Model model = OpenModel();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      Worker worker = ValueOf(model.OpenWorker());
      const std::vector<float> gradient = Ramp(100'000);
      for (int n = 0; n < 10; ++n) {
        EXPECT_TRUE(
            ValueOf(worker.Push(gradient, {.version = kVersion})).accepted);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(daemon_.folded().size(), 80);
  EXPECT_EQ(daemon_.connections(), 1);
}

TEST(UnixSocketTest, AWorkerPushesOverAUnixSocket) {
  const std::string path =
      absl::StrCat(testing::TempDir(), "/accrue-sdk-", getpid(), ".sock");
  FakeDaemon daemon({.unix_socket = path});
  EXPECT_EQ(daemon.target(), "unix:" + path);
  const Client client =
      ValueOf(Client::Connect(daemon.target(), QuickOptions()));
  Worker worker =
      ValueOf(ValueOf(client.CreateOrOpen(SmallSpec())).OpenWorker());
  const std::vector<float> gradient = Ramp(17);
  EXPECT_TRUE(ValueOf(worker.Push(gradient, {.version = Version()})).accepted);
  unlink(path.c_str());
}

}  // namespace
}  // namespace accrue::client
